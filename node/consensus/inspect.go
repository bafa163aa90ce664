package consensus

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Inspection is what a node's directory holds.
type Inspection struct {
	LastIndex, LastTerm uint64 // of the log, or of the snapshot when that is newer
	Term                uint64 // the latest that the node has seen
	SnapshotIndex       uint64 // 0: there is none
	Servers             []Server
	// View is the state with everything in the log applied, also what may not
	// have been committed.
	View fsm.View
}

// Inspect reads the directory of a node that does not run. It changes nothing.
// ErrRunning when the node runs, ErrNoState when there is nothing to read.
func Inspect(dir string) (Inspection, error) {
	o, err := openOffline(dir, true)
	if err != nil {
		return Inspection{}, fmt.Errorf("inspect %s: %w", dir, err)
	}
	in, err := o.inspect()
	return in, errors.Join(err, o.store.Close())
}

// offline is the state of a node that does not run.
type offline struct {
	store store
	snaps *raft.FileSnapshotStore
}

// openOffline opens what must be there already.
func openOffline(dir string, readOnly bool) (*offline, error) {
	path := filepath.Join(dir, storeFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoState
	}
	s, err := openBoltMode(path, readOnly)
	if err != nil {
		return nil, err
	}
	snaps, err := raft.NewFileSnapshotStore(dir, keptSnapshots, io.Discard)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &offline{store: s, snaps: snaps}, nil
}

// inspect restores the newest good snapshot into a fresh FSM, and applies the log to it.
func (o *offline) inspect() (Inspection, error) {
	var in Inspection
	known, err := raft.HasExistingState(o.store, o.store, o.snaps)
	if err != nil {
		return in, err
	}
	if !known {
		return in, ErrNoState
	}
	if in.Term, err = o.store.GetUint64([]byte("CurrentTerm")); err != nil {
		return in, err
	}
	machine := fsm.New()
	if err := o.restore(machine, &in); err != nil {
		return in, err
	}
	if err := o.replay(machine, &in); err != nil {
		return in, err
	}
	if in.LastIndex == 0 {
		return in, ErrNoState // it has voted, and nothing more
	}
	in.View = machine.View()
	return in, nil
}

func (o *offline) restore(machine *fsm.FSM, in *Inspection) error {
	metas, err := o.snaps.List() // newest first
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range metas {
		_, r, err := o.snaps.Open(m.ID)
		if err == nil {
			err = machine.Restore(r) // which may close it
			_ = r.Close()            // it was only read
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshot %s: %w", m.ID, err))
			continue
		}
		in.SnapshotIndex, in.LastIndex, in.LastTerm = m.Index, m.Index, m.Term
		in.Servers = serversOf(m.Configuration)
		return nil
	}
	return errors.Join(errs...)
}

func (o *offline) replay(machine *fsm.FSM, in *Inspection) error {
	first, err := o.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := o.store.LastIndex()
	if err != nil {
		return err
	}
	for i := max(first, in.SnapshotIndex+1); i > 0 && i <= last; i++ {
		var l raft.Log
		if err := o.store.GetLog(i, &l); err != nil {
			return fmt.Errorf("log entry %d: %w", i, err)
		}
		switch l.Type {
		case raft.LogCommand:
			machine.Apply(&l)
		case raft.LogConfiguration:
			in.Servers = serversOf(raft.DecodeConfiguration(l.Data))
		default: // raft's own
		}
		in.LastIndex, in.LastTerm = l.Index, l.Term
	}
	return machine.Failed()
}
