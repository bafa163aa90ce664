package consensus

import (
	"context"
	"sync"
	"time"
)

// news keeps the last Status, so that whoever waits for another one is woken.
// Safe for concurrent use.
type news struct {
	look func() Status // returns at once; may not call news

	mu      sync.Mutex
	last    Status
	forming string // why there is no raft state yet, from the former
	wake    chan struct{}

	poked chan struct{} // room for one
}

func newNews(look func() Status) *news {
	return &news{look: look, wake: make(chan struct{}), poked: make(chan struct{}, 1)}
}

// status looks how things stand, and wakes those that wait if they have changed.
func (n *news) status() Status {
	s := n.look()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !s.HasState {
		s.Reason = n.forming
	}
	s.Since = n.last.Since
	if s.differs(n.last) {
		s.Since = time.Now()
		close(n.wake)
		n.wake = make(chan struct{})
	}
	n.last = s
	return s
}

// differs reports whether somebody may want to know.
func (s Status) differs(o Status) bool {
	return s.Role != o.Role || s.LeaderID != o.LeaderID || s.Reason != o.Reason ||
		s.HasState != o.HasState || s.NetworkID != o.NetworkID
}

// changed is closed with the next change.
func (n *news) changed() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wake
}

func (n *news) form(reason string) {
	n.mu.Lock()
	n.forming = reason
	n.mu.Unlock()
	n.poke()
}

// poke has watch look again.
func (n *news) poke() {
	select {
	case n.poked <- struct{}{}:
	default:
	}
}

// watch looks whenever it is poked, when changed is closed, and at every tick,
// until ctx ends.
func (n *news) watch(ctx context.Context, every time.Duration, tick func(), changed func() <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		other := changed()
		n.status()
		select {
		case <-n.poked:
		case <-other:
		case <-ticker.C:
			tick()
		case <-ctx.Done():
			return
		}
	}
}
