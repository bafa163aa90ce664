package consensus

import (
	"context"
	"sync"
)

// leadership is whether this node leads: raft says so, and the disk answers.
// Safe for concurrent use.
type leadership struct {
	mu        sync.Mutex
	elected   bool // by raft's account
	withdrawn bool // the disk hangs
	turn      uint64
	changed   chan struct{} // closed with the next turn
}

func newLeadership() *leadership { return &leadership{changed: make(chan struct{})} }

// elect takes raft's word. It counts a turn also when raft says the same twice:
// a leadership lost and regained in between is another one.
func (l *leadership) elect(leads bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elected = leads
	l.nextLocked()
}

// withdraw ends the leadership for as long as the disk does not answer.
func (l *leadership) withdraw(gone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.withdrawn = gone
	l.nextLocked()
}

func (l *leadership) nextLocked() {
	l.turn++
	close(l.changed)
	l.changed = make(chan struct{})
}

// gone reports whether this node has withdrawn.
func (l *leadership) gone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.withdrawn
}

func (l *leadership) now() (leads bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.elected && !l.withdrawn, l.changed
}

// run calls work whenever this node leads. Its context ends with the leadership,
// and the next one does not begin before work has returned.
func (l *leadership) run(ctx context.Context, work func(context.Context)) {
	for ctx.Err() == nil {
		leads, changed := l.now()
		if leads {
			l.term(ctx, changed, work)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (l *leadership) term(ctx context.Context, ended <-chan struct{}, work func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { work(ctx) })
	select {
	case <-ended:
	case <-ctx.Done():
	}
	cancel()
	wg.Wait()
}
