package membership

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// conn is one side of a stream in a Network. Each direction is a queue without
// bound, since what is exchanged is small.
type conn struct {
	end     *endpoint
	peer    netip.AddrPort
	in, out *queue
}

// queue is one direction of a stream.
type queue struct {
	mu       sync.Mutex
	chunks   []chunk
	closed   bool // by either side
	broken   bool // something was lost on the way, so nothing later may arrive
	deadline time.Time
	changed  chan struct{} // closed and replaced at each change
}

// chunk is what one Write wrote, and when it arrives.
type chunk struct {
	at   time.Time
	data []byte
}

// newStream connects two endpoints. Their network's lock is held.
func newStream(a, b *endpoint) (mine, theirs *conn) {
	there, back := newQueue(), newQueue()
	mine = &conn{end: a, peer: b.at, in: back, out: there}
	theirs = &conn{end: b, peer: a.at, in: there, out: back}
	a.conns[mine], b.conns[theirs] = true, true
	return mine, theirs
}

func newQueue() *queue { return &queue{changed: make(chan struct{})} }

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, changed, next, err := c.in.take(p)
		if n > 0 || err != nil {
			return n, err
		}
		if next.IsZero() {
			<-changed
			continue
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take reads what has arrived. If that is nothing yet it returns what to wait
// for: a change, and the time next unless that is zero.
func (q *queue) take(p []byte) (n int, changed <-chan struct{}, next time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if !q.deadline.IsZero() && !now.Before(q.deadline) {
		return 0, nil, next, os.ErrDeadlineExceeded
	}
	next = q.deadline
	if len(q.chunks) > 0 {
		first := &q.chunks[0]
		if !now.Before(first.at) {
			n = copy(p, first.data)
			if first.data = first.data[n:]; len(first.data) == 0 {
				q.chunks = q.chunks[1:]
			}
			return n, nil, next, nil
		}
		if next.IsZero() || first.at.Before(next) {
			next = first.at
		}
	} else if q.closed && !q.broken {
		return 0, nil, next, io.EOF
	}
	return 0, q.changed, next, nil
}

// Write implements net.Conn. It never waits.
func (c *conn) Write(p []byte) (int, error) {
	n := c.end.net
	n.mu.Lock()
	cut := n.cutLocked(c.end.at, c.peer)
	at := time.Now().Add(n.delay)
	n.traffic.StreamBytes += uint64(len(p))
	n.mu.Unlock()
	q := c.out
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	if q.broken = q.broken || cut; !q.broken {
		q.chunks = append(q.chunks, chunk{at, append([]byte(nil), p...)})
		q.changedLocked()
	}
	return len(p), nil
}

// Close implements net.Conn. The other side reads what has been written, and then
// the end, unless something was lost: then it waits for its deadline.
func (c *conn) Close() error {
	n := c.end.net
	n.mu.Lock()
	delete(c.end.conns, c)
	cut := n.cutLocked(c.end.at, c.peer)
	n.mu.Unlock()
	for _, q := range []*queue{c.in, c.out} {
		q.mu.Lock()
		q.closed = true
		q.broken = q.broken || q == c.out && cut
		if q == c.in {
			q.chunks, q.broken = nil, false // nobody reads any more: whoever waits gets the end
		}
		q.changedLocked()
		q.mu.Unlock()
	}
	return nil
}

// SetDeadline implements net.Conn. Writes need none.
func (c *conn) SetDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.deadline = t
	c.in.changedLocked()
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { return c.SetDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.end.at) }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.peer) }

func (q *queue) changedLocked() {
	close(q.changed)
	q.changed = make(chan struct{})
}
