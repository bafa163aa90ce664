package consensus

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// await asks raft for a future and waits for it, but not beyond ctx: asking may
// block, and so may the future, for as long as raft's main loop does or longer
// (hashicorp/raft#498). After ctx the outcome is unknown; the goroutine that
// still waits ends with the future.
func await(ctx context.Context, ask func() raft.Future) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- ask().Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asks counts what raft is being asked. Raft forgets, when it shuts down, what is in
// its lines still, and who waits for that would wait for ever. Safe for concurrent use.
type asks struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when there are none and will be none
}

func newAsks() *asks { return &asks{idle: make(chan struct{})} }

// await is the function await for a running raft: raft.ErrRaftShutdown after close.
func (a *asks) await(ctx context.Context, ask func() raft.Future) error {
	return await(ctx, func() raft.Future {
		if !a.begin() {
			return failed{raft.ErrRaftShutdown}
		}
		defer a.end()
		return failed{ask().Error()}
	})
}

func (a *asks) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.n++
	}
	return !a.closed
}

func (a *asks) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n--
	a.settleLocked()
}

// close admits no more, and returns once those under way are answered, or after limit: raft
// may hang, with its disk.
func (a *asks) close(limit time.Duration) {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		a.settleLocked()
	}
	a.mu.Unlock()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-a.idle:
	case <-t.C:
	}
}

func (a *asks) settleLocked() {
	if a.closed && a.n == 0 {
		close(a.idle)
	}
}

// pause waits, and reports whether it could before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
