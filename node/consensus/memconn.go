package consensus

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memoryConn is one end of a connection in memory.
type memoryConn struct {
	in, out       *pipe
	local, remote address
	net           *MemoryNetwork

	mu       sync.Mutex
	deadline time.Time     // for Read; Write never waits
	changed  chan struct{} // closed when deadline changes
	closed   bool
}

// newMemoryConns makes both ends of a connection from host to an address.
func newMemoryConns(n *MemoryNetwork, there way, host, to string) (ours, theirs *memoryConn) {
	out := newPipe(there)
	in := newPipe(way{there.to, there.from})
	from := address(net.JoinHostPort(host, "1"))
	ours = &memoryConn{in: in, out: out, local: from, remote: address(to), net: n, changed: make(chan struct{})}
	theirs = &memoryConn{in: out, out: in, local: address(to), remote: from, net: n, changed: make(chan struct{})}
	return ours, theirs
}

// Read implements net.Conn.
func (c *memoryConn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		closed, deadline, changed := c.closed, c.deadline, c.changed
		c.mu.Unlock()
		if closed {
			return 0, net.ErrClosed
		}
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		cut, _, ways := c.net.look(c.in.way)
		n, next, more, err := 0, time.Time{}, c.in.waiting(), error(nil)
		if !cut {
			n, next, more, err = c.in.take(b)
		}
		if n > 0 || err != nil {
			return n, err
		}
		wait(changed, ways, more, deadline, next)
	}
}

// wait returns when a channel is closed or the earlier of the times has come.
func wait(a, b, c <-chan struct{}, times ...time.Time) {
	var soonest time.Time
	for _, t := range times {
		if !t.IsZero() && (soonest.IsZero() || t.Before(soonest)) {
			soonest = t
		}
	}
	var due <-chan time.Time
	if !soonest.IsZero() {
		timer := time.NewTimer(time.Until(soonest))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-a:
	case <-b:
	case <-c:
	case <-due:
	}
}

// Write implements net.Conn. It never waits: raft has few requests under way.
func (c *memoryConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	_, delay, _ := c.net.look(c.out.way)
	return c.out.put(b, time.Now().Add(delay))
}

// Close implements net.Conn. The other end reads what is on its way, and then the end.
func (c *memoryConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	c.out.end()
	return nil
}

// SetDeadline implements net.Conn.
func (c *memoryConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline implements net.Conn.
func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.deadline = t
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *memoryConn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (c *memoryConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *memoryConn) RemoteAddr() net.Addr { return c.remote }

// pipe is one direction of a connection. Safe for concurrent use.
type pipe struct {
	way way

	mu     sync.Mutex
	parts  []part
	ended  bool
	signal chan struct{} // closed when something was put or the end has come
}

// part is what was written at once, and when it arrives.
type part struct {
	b  []byte
	at time.Time
}

func newPipe(w way) *pipe { return &pipe{way: w, signal: make(chan struct{})} }

func (p *pipe) put(b []byte, at time.Time) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts = append(p.parts, part{append([]byte(nil), b...), at})
	p.wakeLocked()
	return len(b), nil
}

func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.wakeLocked()
}

func (p *pipe) wakeLocked() {
	close(p.signal)
	p.signal = make(chan struct{})
}

func (p *pipe) waiting() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signal
}

// take reads what has arrived. With nothing it tells when the next part will
// arrive, zero when there is none, and is closed when there is one.
func (p *pipe) take(b []byte) (n int, next time.Time, more <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parts) == 0 {
		if p.ended {
			return 0, time.Time{}, nil, io.EOF
		}
		return 0, time.Time{}, p.signal, nil
	}
	first := &p.parts[0]
	if time.Now().Before(first.at) {
		return 0, first.at, p.signal, nil
	}
	n = copy(b, first.b)
	if first.b = first.b[n:]; len(first.b) == 0 {
		p.parts = p.parts[1:]
	}
	return n, time.Time{}, nil, nil
}
