package consensus

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// machine is the FSM as raft sees it: it notes how far it got, and stops the
// node when the FSM cannot go on. Raft calls Apply, Snapshot and Restore from
// one goroutine; the other methods are safe for concurrent use.
type machine struct {
	*fsm.FSM
	failed func(error)

	mu       sync.Mutex
	applied  uint64        // index of the last command or configuration applied
	config   uint64        // index of the last configuration applied; 0: not known
	last     time.Time     // the latest time that a command carried
	progress chan struct{} // closed when applied grows
}

var _ raft.ConfigurationStore = (*machine)(nil)

func newMachine(f *fsm.FSM, failed func(error)) *machine {
	return &machine{FSM: f, failed: failed, progress: make(chan struct{})}
}

// Apply implements raft.FSM.
func (m *machine) Apply(l *raft.Log) any {
	out := m.FSM.Apply(l)
	m.check()
	if m.Failed() != nil {
		return out // nothing was applied, and nobody may take it for that
	}
	c, err := fsm.Decode(l.Data)
	if err != nil {
		c.Time = time.Time{} // an entry that is no command
	}
	m.advance(l.Index, c.Time)
	return out
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	if err := m.FSM.Restore(r); err != nil {
		return err
	}
	var last time.Time
	for _, b := range m.Beats() {
		if b.Last.After(last) {
			last = b.Last
		}
	}
	m.advance(m.View().Applied, last)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config = 0 // the snapshot's may be newer than the one noted
	return nil
}

// StoreConfiguration implements raft.ConfigurationStore: raft itself does not
// tell the index of its configuration.
func (m *machine) StoreConfiguration(index uint64, _ raft.Configuration) {
	m.mu.Lock()
	m.config = index // before advance wakes those that wait for it
	m.mu.Unlock()
	m.advance(index, time.Time{})
}

func (m *machine) appliedIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

func (m *machine) configIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.config
}

func (m *machine) advance(index uint64, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = index
	if at.After(m.last) {
		m.last = at
	}
	close(m.progress)
	m.progress = make(chan struct{})
}

func (m *machine) check() {
	if err := m.Failed(); err != nil {
		m.failed(err)
	}
}

// stamp is the time for the next command: now, or just after the latest one when
// the clock stands behind it.
func (m *machine) stamp(now time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	now = now.UTC().Truncate(time.Millisecond)
	if next := m.last.Add(time.Millisecond); now.Before(next) {
		now = next
	}
	m.last = now
	return now
}

// wait returns once what is at index is applied: a command or a configuration,
// since the machine is not told of other entries.
func (m *machine) wait(ctx context.Context, index uint64) error {
	for {
		m.mu.Lock()
		applied, progress := m.applied, m.progress
		m.mu.Unlock()
		if applied >= index {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
