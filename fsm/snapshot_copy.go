package fsm

import (
	"fmt"
	"io"
)

// Target is the state that a snapshot is made ready to take the place of.
type Target struct {
	NetworkID string // that the snapshot will be of
	// Index is the log entry that it will be the state after, and the index of its
	// table, so that whoever waits for a change sees one.
	Index uint64
	// Collectors stay in the table although the snapshot knows nothing of them, or
	// something else: they are there, and files are owed to them. One of the
	// snapshot that has the address of one of these makes room for it.
	Collectors []Collector
	// Beats are the heartbeats of the external ones among them.
	Beats map[CollectorID]Beat
}

// CopySnapshot writes the snapshot in r to w for a network that takes over another
// state than its own: an earlier one, or that of another network. The errors
// are those of Restore, and of w.
func CopySnapshot(w io.Writer, r io.Reader, to Target) error {
	s, err := readState(r)
	if err != nil {
		return err
	}
	for _, c := range to.Collectors {
		if err := s.keep(to.Index, c, to.Beats[c.ID]); err != nil {
			return fmt.Errorf("keep collector %s: %w", c.ID, err)
		}
	}
	s.networkID, s.applied, s.tableIndex = to.NetworkID, to.Index, to.Index
	_, err = s.freeze().write(w)
	return err
}

// keep puts a collector in the table, whatever stands in its place.
func (s *state) keep(index uint64, c Collector, beat Beat) error {
	if old, known := s.collector("", c.ID); known {
		s.deleteCollector(index, old)
	}
	if id, taken := s.index.at(plainHost(c.Address), c.Port); taken {
		other, _ := s.collector("", id)
		s.deleteCollector(index, other)
	}
	_, err := s.collectorPut(index, beat.Last, CollectorPut{
		ID: c.ID, Cluster: c.Cluster, Node: c.Node, Address: c.Address, Port: c.Port,
		External: c.External, EveryMS: beat.Every.Milliseconds(),
	})
	if err != nil || c.State != StateDraining {
		return err
	}
	_, err = s.collectorState(index, CollectorState{ID: c.ID, State: StateDraining})
	return err
}
