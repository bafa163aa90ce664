package consensus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cluster is a network of whole peers on an in-memory transport. What a node
// does around its peer is done here: it tells gossip what its peer has become,
// and passes questions on.
type cluster struct {
	*nodes
	names  map[string]string // id → name where it is not the usual one
	serves sync.Map          // id → *Peer, for questions, which come from other goroutines
}

func inCluster(t *testing.T, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{nodes: newNodes(t, NewMemoryNetwork()), names: make(map[string]string)}
		test(t, c)
		for id := range c.by {
			c.stop(id)
		}
	})
}

// start opens a node; expect 0 means that it only joins.
func (c *cluster) start(id string, expect int) *Peer {
	c.t.Helper()
	cfg := c.config(id)
	cfg.Expect, cfg.JoinOnly = expect, expect == 0
	cfg.HTTP = func() string { return "http-" + id }
	cfg.Ask = c.ask
	if name := c.names[id]; name != "" {
		cfg.Name = name
	}
	p, err := Open(c.t.Context(), cfg)
	if err != nil {
		c.t.Fatalf("open %s: %v", id, err)
	}
	c.by[id] = p
	c.serves.Store(id, p)
	c.gossip.set(Member{
		ID: id, Name: cfg.Name, Raft: p.Addr(), HTTP: cfg.HTTP(), Expect: expect,
		HasState: p.hasState(), Alive: true, Since: time.Now(),
	})
	go c.tell(id, p)
	return p
}

// tell keeps what gossip says of a node's state up to date until its peer closes.
func (c *cluster) tell(id string, p *Peer) {
	for {
		changed := p.Changed()
		s := p.Status()
		c.see(id, func(m *Member) { m.HasState, m.NetworkID = s.HasState, s.NetworkID })
		select {
		case <-changed:
		case <-p.ctx.Done():
			return
		}
	}
}

// see changes what gossip says of a node, if anything changes.
func (c *cluster) see(id string, how func(*Member)) {
	for _, m := range c.gossip.Members() {
		if m.ID != id {
			continue
		}
		was := m
		how(&m)
		if m.Alive != was.Alive {
			m.Since = time.Now()
		}
		if m != was {
			c.gossip.set(m)
		}
	}
}

func (c *cluster) ask(_ context.Context, http string, q Query) (Answer, error) {
	p, ok := c.serves.Load(strings.TrimPrefix(http, "http-"))
	if !ok || p.(*Peer).ctx.Err() != nil {
		return Answer{}, errors.New("connection refused")
	}
	return p.(*Peer).Answer(q), nil
}

// kill ends a node at once; gossip takes a second to notice.
func (c *cluster) kill(id string) {
	var was Member
	c.see(id, func(m *Member) { was = *m })
	c.stop(id) // which also has gossip see it
	c.gossip.set(was)
	time.Sleep(time.Second)
	c.see(id, func(m *Member) { m.Alive = false })
}

// leave has a node say that it leaves, and go when it is out.
func (c *cluster) leave(id string) {
	c.t.Helper()
	c.see(id, func(m *Member) { m.Leaving = true })
	c.until(10*time.Second, id+" to be out", func() bool {
		return c.leader() != nil && !strings.Contains(c.shape(), id) && !slices.Contains(c.catalogue(), id)
	})
	c.stop(id)
	c.see(id, func(m *Member) { m.Leaving = true })
}

// leader is who leads; nil when nobody does.
func (c *cluster) leader() *Peer {
	for _, p := range c.by {
		if p.Status().Role == RoleLeader {
			return p
		}
	}
	return nil
}

// shape is the leader's configuration, such as "n1 n2 n3 (n4)"; nonvoters are
// in parentheses.
func (c *cluster) shape() string {
	p := c.leader()
	if p == nil {
		return ""
	}
	var all []string
	for _, s := range p.Servers() {
		if s.Voter {
			all = append(all, s.ID)
		}
	}
	for _, s := range p.Servers() {
		if !s.Voter {
			all = append(all, "("+s.ID+")")
		}
	}
	return strings.Join(all, " ")
}

func (c *cluster) catalogue() []string {
	var ids []string
	if p := c.leader(); p != nil {
		for _, n := range p.FSM().View().Nodes {
			ids = append(ids, n.ID)
		}
	}
	return ids
}

// until waits for a condition, on the fake clock.
func (c *cluster) until(limit time.Duration, what string, ok func() bool) {
	c.t.Helper()
	for begin := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > limit {
			c.t.Fatalf("no %s after %s: %s\n%s", what, limit, c.shape(), c.state())
		}
	}
}

func (c *cluster) state() string {
	text := ""
	for id, p := range c.by {
		text += fmt.Sprintf("%s: %+v\n", id, p.Status())
	}
	if p := c.leader(); p != nil {
		text += fmt.Sprintf("reasons: %v\ncatalogue: %v\n", p.Reasons(), c.catalogue())
	}
	return text
}

// becomes waits for a shape.
func (c *cluster) becomes(limit time.Duration, want string) {
	c.t.Helper()
	c.until(limit, "shape "+want, func() bool { return c.shape() == want })
}

// stays makes sure that a shape holds.
func (c *cluster) stays(d time.Duration, want string) {
	c.t.Helper()
	for range 20 {
		time.Sleep(d / 20)
		if got := c.shape(); got != want {
			c.t.Fatalf("the shape %s has become %s\n%s", want, got, c.state())
		}
	}
}
