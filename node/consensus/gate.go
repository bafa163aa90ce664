package consensus

import (
	"context"
	"sync"
	"time"
)

// gate keeps entries for one peer back for a moment. Raft reads a server's entry
// without a lock after each request with entries, and writes it when its address
// changes, so no such request may be about to end then. Safe for concurrent use.
type gate struct {
	mu   sync.Mutex
	held map[string]*hold // by node id
}

type hold struct {
	once     sync.Once
	arrived  chan struct{} // closed when a request waits
	released chan struct{}
}

// pass waits while the peer is held, but not after closing is closed. Every
// request with entries passes here just before it is sent.
func (g *gate) pass(id string, closing <-chan struct{}) {
	g.mu.Lock()
	h := g.held[id]
	g.mu.Unlock()
	if h == nil {
		return
	}
	h.once.Do(func() { close(h.arrived) })
	select {
	case <-h.released:
	case <-closing:
	}
}

// hold keeps back what is to be sent to the peer until release is called, and
// returns when the next request waits, or after patience: there was none then.
func (g *gate) hold(ctx context.Context, id string, patience time.Duration) (release func()) {
	h := &hold{arrived: make(chan struct{}), released: make(chan struct{})}
	g.mu.Lock()
	if g.held == nil {
		g.held = make(map[string]*hold)
	}
	before := g.held[id]
	g.held[id] = h
	g.mu.Unlock()
	if before != nil { // the changes of a configuration are not in line: the last one holds
		close(before.released)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-h.arrived:
	case <-ctx.Done():
	}
	return func() { g.release(id, h) }
}

func (g *gate) release(id string, h *hold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held[id] == h {
		delete(g.held, id)
		close(h.released)
	}
}
