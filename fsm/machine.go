package fsm

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"sync"

	"github.com/hashicorp/raft"
)

// Outcome is what applying a log entry yields, as the response of raft's future.
type Outcome struct {
	Result Result
	Err    error // one of the errors of this package; the state is as it was
}

// FSM is the replicated state: raft applies committed commands to it, and
// everybody else reads immutable views of it. Apply, Snapshot and Restore are
// for raft, which calls them one after the other; every other method may be
// called at any time from any goroutine. None does I/O while it holds the lock.
type FSM struct {
	mu      sync.RWMutex
	s       *state
	failed  error
	changed chan struct{} // closed and replaced when Table, Nodes or NetworkID change
}

// New returns an empty state.
func New() *FSM { return &FSM{s: newState(), changed: make(chan struct{})} }

// Apply implements raft.FSM. It returns an *Outcome, which belongs to the caller.
//
// A request whose ReqID is among the last 4096 is answered as it was then, with
// the index of then, and changes nothing.
//
// A command that this version does not understand, to the last byte, makes the
// FSM fail for good: its outcome is ErrUnknownCommand, as is that of every
// command after it, and none of them is applied: see Failed. Entries that are
// no commands, which raft keeps to itself, are passed over.
func (f *FSM) Apply(entry *raft.Log) any {
	if entry.Type != raft.LogCommand {
		return &Outcome{}
	}
	cmd, err := Decode(entry.Data)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil && err != nil {
		f.failed = fmt.Errorf("log entry %d: %w", entry.Index, err)
	}
	if f.failed != nil {
		return &Outcome{Err: f.failed}
	}
	out := f.applyLocked(entry.Index, cmd)
	return &out
}

func (f *FSM) applyLocked(index uint64, cmd Command) Outcome {
	f.s.applied = index
	if out, ok := f.s.requests.get(cmd.ReqID); ok {
		return out
	}
	res, err := f.s.apply(index, cmd)
	res.Index = f.s.tableIndex
	out := Outcome{Result: res, Err: err}
	f.s.requests.put(cmd.ReqID, out)
	if res.Changed {
		f.announceLocked()
	}
	return out
}

func (f *FSM) announceLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// View returns the state as it is after the last command. The first view after
// a change copies the clusters that have changed; others cost nothing.
func (f *FSM) View() View {
	f.mu.RLock()
	v, shown := f.s.view(), f.s.isShown()
	f.mu.RUnlock()
	if shown {
		return v
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s.show()
	return f.s.view()
}

// Changed returns a channel that is closed when Table, Nodes or NetworkID of
// the view change next. Take it before the view, so that no change is missed.
func (f *FSM) Changed() <-chan struct{} {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.changed
}

// Beats returns what is known of the heartbeats of every external collector.
func (f *FSM) Beats() map[CollectorID]Beat {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return maps.Clone(f.s.beats)
}

// Hash returns a digest of the whole state – table, nodes, heartbeats and
// answered requests – and the index of the last command in it. Two replicas at
// the same index have the same digest. It costs as much as writing a snapshot.
func (f *FSM) Hash() (index uint64, sum [sha256.Size]byte) {
	f.mu.Lock()
	frozen := f.s.freeze()
	f.mu.Unlock()
	sum, _ = frozen.write(io.Discard) // which takes everything
	return frozen.Applied, sum
}

// Failed returns why this replica can't go on: ErrUnknownCommand, wrapped, after
// a log entry that it does not understand. The node must stop.
func (f *FSM) Failed() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.failed
}
