package membership

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A pool of 200 nodes: who gossips what, how fast a change is everywhere, and
// what the gossip costs at rest. DESIGN.md has the numbers.
func TestTwoHundredNodes(t *testing.T) {
	n := 200
	if raceOn {
		n = 50
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1), address(2), address(3))
		quiet := func(c *Config) { c.Logger = slog.New(slog.DiscardHandler) }
		began := time.Now()
		var pools []*Pool
		for i := 1; i <= n; i++ {
			pools = append(pools, l.open(i, address(i), quiet))
		}
		l.within(30*time.Second, "all see all", func() bool { return allSee(pools, n) })
		t.Logf("%d nodes that start together see each other after %v", n, time.Since(began))

		time.Sleep(10 * time.Second)         // the news of the start are old by then
		perNode := l.rate(n, 48*time.Second) // one full exchange a node
		t.Logf("at rest: %.0f bytes/s and %.1f packets/s a node, %.0f bytes for a full exchange", perNode.bytes, perNode.packets, perNode.perStream)

		pools[0].Update(func(m *Meta) { m.Role, m.Expect = RoleLeader, 3 })
		knows := func(p *Pool) bool { return member(p, 1).Expect == 3 }
		took := l.within(2*time.Second, "all know", func() bool {
			return !slices.ContainsFunc(pools, func(p *Pool) bool { return !knows(p) })
		})
		t.Logf("a change is known to all after %v", took)

		l.net.Kill(address(n))
		took = l.within(5*time.Second, "all see it fail", func() bool { return allSee(pools[:n-1], n-1) })
		t.Logf("a dead node is known to all after %v", took)
		closeAll(t, pools)
	})
}

// What gossip costs three nodes at rest.
func TestTrafficOfThree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		l.form(3)
		time.Sleep(5 * time.Second)
		r := l.rate(3, 10*time.Minute)
		t.Logf("at rest: %.0f bytes/s and %.1f packets/s a node, %.0f bytes for a full exchange", r.bytes, r.packets, r.perStream)
		if r.bytes > 4096 {
			t.Errorf("%.0f bytes/s a node", r.bytes)
		}
	})
}

// rate is what a node sends in a second.
type rate struct{ bytes, packets, perStream float64 }

// rate measures what n nodes send, with 28 bytes of headers for a packet and,
// roughly, 400 for a stream.
func (l *lab) rate(n int, during time.Duration) rate {
	before := l.net.Traffic()
	time.Sleep(during)
	after := l.net.Traffic()
	packets := float64(after.Packets - before.Packets)
	bytes := float64(after.PacketBytes-before.PacketBytes+after.StreamBytes-before.StreamBytes) +
		28*packets + 400*float64(after.Streams-before.Streams)
	per := during.Seconds() * float64(n)
	streams := max(float64(after.Streams-before.Streams), 1)
	return rate{bytes / per, packets / per, float64(after.StreamBytes-before.StreamBytes) / streams}
}

// closeAll closes many pools at the same time.
func closeAll(t *testing.T, pools []*Pool) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond) // told to nobody
	defer cancel()
	for _, p := range pools {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}
