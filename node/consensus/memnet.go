package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// MemoryNetwork is a network in memory, for tests: every part of it waits on
// channels and timers only, so that it runs under testing/synctest. It behaves
// as TCP does: what is written on a cut way is held back, not lost, until the
// way is healed or the connection closed; and what is dialled across a cut waits.
// Safe for concurrent use.
type MemoryNetwork struct {
	mu        sync.Mutex
	listeners map[string]*memoryListener // by host:port
	cuts      map[way]bool
	delays    map[way]time.Duration
	changed   chan struct{} // closed at every change of the ways
	port      int           // the last one that was given out
}

// way is from one host to another.
type way struct{ from, to string }

// NewMemoryNetwork makes a network without hosts.
func NewMemoryNetwork() *MemoryNetwork {
	return &MemoryNetwork{
		listeners: make(map[string]*memoryListener),
		cuts:      make(map[way]bool),
		delays:    make(map[way]time.Duration),
		changed:   make(chan struct{}),
		port:      10000,
	}
}

// Host is the network as the host of that name sees it. It listens at addresses
// of that host only.
func (n *MemoryNetwork) Host(name string) Network { return memoryHost{n, name} }

// Cut cuts the way from one host to another; the way back stays.
func (n *MemoryNetwork) Cut(from, to string) {
	n.change(func() { n.cuts[way{from, to}] = true })
}

// Heal mends every way.
func (n *MemoryNetwork) Heal() {
	n.change(func() { clear(n.cuts) })
}

// Delay has everything from one host to another take so long, from now on.
func (n *MemoryNetwork) Delay(from, to string, d time.Duration) {
	n.change(func() { n.delays[way{from, to}] = d })
}

func (n *MemoryNetwork) change(do func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	do()
	close(n.changed)
	n.changed = make(chan struct{})
}

// look tells how a way is, and is closed when that changes.
func (n *MemoryNetwork) look(w way) (cut bool, delay time.Duration, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cuts[w], n.delays[w], n.changed
}

type memoryHost struct {
	net  *MemoryNetwork
	name string
}

// Listen implements Network.
func (h memoryHost) Listen(_ context.Context, at string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		return nil, err
	}
	if host != h.name {
		return nil, fmt.Errorf("listen %s: the host is %s", at, h.name)
	}
	n := h.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		n.port++
		at = net.JoinHostPort(host, fmt.Sprint(n.port))
	}
	if n.listeners[at] != nil {
		return nil, fmt.Errorf("listen %s: in use", at)
	}
	l := &memoryListener{net: n, at: at, dials: make(chan net.Conn), closed: make(chan struct{})}
	n.listeners[at] = l
	return l, nil
}

// Dial implements Network. It takes both ways, and is refused when nobody listens.
func (h memoryHost) Dial(ctx context.Context, to string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(to)
	if err != nil {
		return nil, err
	}
	there, back := way{h.name, host}, way{host, h.name}
	for _, w := range []way{there, back} {
		if err := h.net.pass(ctx, w); err != nil {
			return nil, fmt.Errorf("dial %s: %w", to, err)
		}
	}
	h.net.mu.Lock()
	l := h.net.listeners[to]
	h.net.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %s: %w", to, errRefused)
	}
	ours, theirs := newMemoryConns(h.net, there, h.name, to)
	select {
	case l.dials <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: %w", to, errRefused)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
	}
}

var errRefused = errors.New("connection refused")

// pass waits until one packet has gone that way.
func (n *MemoryNetwork) pass(ctx context.Context, w way) error {
	for {
		cut, delay, changed := n.look(w)
		if !cut {
			if delay == 0 || pause(ctx, delay) {
				return ctx.Err()
			}
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// memoryListener is one host:port that is listened at.
type memoryListener struct {
	net    *MemoryNetwork
	at     string
	dials  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.dials:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.at)
		l.net.mu.Unlock()
		close(l.closed)
	})
	return nil
}

// Addr implements net.Listener.
func (l *memoryListener) Addr() net.Addr { return address(l.at) }
