package consensus

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// meter is a network that counts what a node sends and receives.
type meter struct {
	Network
	sent, received, writes atomic.Int64 // bytes, bytes, calls of Write: one for each request or answer
}

func (m *meter) Listen(ctx context.Context, at string) (net.Listener, error) {
	l, err := m.Network.Listen(ctx, at)
	return meteredListener{l, m}, err
}

func (m *meter) Dial(ctx context.Context, to string) (net.Conn, error) {
	c, err := m.Network.Dial(ctx, to)
	return metered{c, m}, err
}

type meteredListener struct {
	net.Listener
	meter *meter
}

func (l meteredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return metered{c, l.meter}, err
}

type metered struct {
	net.Conn
	meter *meter
}

func (c metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meter.received.Add(int64(n))
	return n, err
}

func (c metered) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meter.sent.Add(int64(n))
	c.meter.writes.Add(1)
	return n, err
}

// traffic is what a leader has to do with a number of nodes.
type traffic struct {
	sent, received, writes float64       // per second
	others                 int64         // bytes of all nodes that are no servers
	slowest                time.Duration // from a write's acknowledgement until all voters have it
}

// mustMeasure has a network of so many nodes, five of them voters, and one write a second.
func mustMeasure(t *testing.T, size int, long time.Duration) (got traffic) {
	t.Helper()
	inSim(t, Timing{}, func(t *testing.T, s *sim) {
		meters := make(map[string]*meter)
		s.change = func(c *Config) {
			meters[c.NodeID] = &meter{Network: c.Network}
			c.Network = meters[c.NodeID]
		}
		s.mustBegin(ids5()...)
		s.gossip.hold(true)
		for i := len(s.by) + 1; i <= size; i++ {
			s.mustStart(fmt.Sprintf("n%d", i), 0)
		}
		s.gossip.hold(false)
		s.until(time.Minute, "catalogue of all", func() bool { return len(s.catalogue()) == size })
		pause(t.Context(), 15*time.Second) // whoever could become a voter would be one
		if shape := s.shape(); shape != "n1 n2 n3 n4 n5" {
			t.Errorf("the servers are %s", shape)
		}
		leader := s.leader()
		m := meters[leader.cfg.NodeID]
		sent, received, writes := m.sent.Load(), m.received.Load(), m.writes.Load()
		begin := time.Now()
		for i := 0; time.Since(begin) < long; i++ {
			got.slowest = max(got.slowest, s.mustReachVoters(i))
			pause(t.Context(), time.Second)
		}
		per := time.Since(begin).Seconds()
		got.sent, got.received = float64(m.sent.Load()-sent)/per, float64(m.received.Load()-received)/per
		got.writes = float64(m.writes.Load()-writes) / per
		for id, m := range meters {
			if len(id) > 2 || id > "n5" {
				got.others += m.sent.Load() + m.received.Load()
			}
		}
		if s.leader() != leader {
			t.Error("the leader has changed meanwhile")
		}
	})
	return got
}

// mustReachVoters makes one write and returns how long it took from its acknowledgement until
// all voters have it.
func (s *sim) mustReachVoters(i int) time.Duration {
	s.t.Helper()
	name := numbered("scale", i)
	if err := s.put(s.t.Context(), ids5()[i%5], name); err != nil {
		s.t.Fatal(err)
	}
	begin := time.Now()
	for _, id := range ids5() {
		for !has(s.by[id], string(name)) {
			pause(s.t.Context(), time.Millisecond)
		}
	}
	return time.Since(begin)
}

// Followers of the table are none of raft's business: with 200 nodes its leader sends and
// receives what it does with ten.
func TestSimRaftDoesNotFeelTheNumberOfNodes(t *testing.T) {
	t.Parallel()
	long := either(15*time.Second, 5*time.Minute)
	few, many := mustMeasure(t, 10, long), mustMeasure(t, either(200, 1000), long)
	for _, got := range []traffic{few, many} {
		t.Logf("the leader sends %.0f B/s and receives %.0f B/s, %.0f requests/s; all voters have a write after %s",
			got.sent, got.received, got.writes, got.slowest)
		if got.others != 0 {
			t.Errorf("nodes that are no servers have %d bytes of raft's traffic", got.others)
		}
		if got.slowest > 100*time.Millisecond {
			t.Errorf("not all voters have a write after %s", got.slowest)
		}
	}
	for name, ratio := range map[string]float64{
		"sent": many.sent / few.sent, "received": many.received / few.received, "requests": many.writes / few.writes,
	} {
		t.Logf("%s: %.2f", name, ratio)
		if ratio > 1.2 {
			t.Errorf("with %s nodes %.2f times as much as with ten: %s", either("200", "1000"), ratio, name)
		}
	}
}
