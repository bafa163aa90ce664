package consensus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// wedge watches for a leader that refuses commands because of a transfer of the
// leadership that never ends (hashicorp/raft#696). Safe for concurrent use.
type wedge struct {
	ask   func(context.Context) error // has raft take an entry
	limit time.Duration               // how long it may refuse

	mu    sync.Mutex
	since time.Time // of the first refusal; zero: it does not refuse
}

// begin notes a refusal, or that there may be one.
func (w *wedge) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		w.since = time.Now()
	}
}

// end notes that raft takes commands.
func (w *wedge) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = time.Time{}
}

// lasts tells for how long raft has refused, zero when it does not.
func (w *wedge) lasts() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since.IsZero() {
		return 0
	}
	return time.Since(w.since)
}

// check returns ErrWedged when raft has refused for too long. After a refusal it
// asks raft itself, so that it does not depend on who else sends commands.
func (w *wedge) check(ctx context.Context) error {
	if w.lasts() == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	if err := w.ask(ctx); !errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		w.end() // it takes commands, or leads no more
		return nil
	}
	if w.lasts() > w.limit {
		return ErrWedged
	}
	return nil
}
