package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// gossip is what all nodes of a test see of each other. Safe for concurrent use.
type gossip struct {
	mu      sync.Mutex
	members []Member
	changed chan struct{}
}

func newGossip() *gossip { return &gossip{changed: make(chan struct{})} }

func (g *gossip) Members() []Member {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Member(nil), g.members...)
}

func (g *gossip) Changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changed
}

// set puts a member in, or changes it.
func (g *gossip) set(m Member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.Since = time.Now()
	close(g.changed)
	g.changed = make(chan struct{})
	for i, o := range g.members {
		if o.ID == m.ID {
			if o.Alive == m.Alive {
				m.Since = o.Since
			}
			g.members[i] = m
			return
		}
	}
	g.members = append(g.members, m)
}

// nodes are the peers of one test.
type nodes struct {
	t      testing.TB
	gossip *gossip
	net    *MemoryNetwork // nil: TCP
	dir    string
	timing Timing
	change func(*Config)
	by     map[string]*Peer
}

func newNodes(t testing.TB, net *MemoryNetwork) *nodes {
	return &nodes{t: t, gossip: newGossip(), net: net, dir: t.TempDir(), by: make(map[string]*Peer)}
}

func (n *nodes) config(id string) Config {
	cfg := Config{
		NodeID: id, Name: "name-" + id,
		Dir:      filepath.Join(n.dir, id),
		Listen:   "127.0.0.1:0",
		JoinOnly: true, // the tests of this file bootstrap by themselves
		Members:  n.gossip,
		Timing:   n.timing,
		Logger:   slog.New(slog.DiscardHandler),
	}
	if os.Getenv("CONSENSUS_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", id)
	}
	if n.net != nil {
		cfg.Listen, cfg.Network = id+":0", n.net.Host(id)
	}
	if n.change != nil {
		n.change(&cfg)
	}
	return cfg
}

// mustOpen starts a node, with the state of its directory, and has gossip see it.
func (n *nodes) mustOpen(id string) *Peer {
	n.t.Helper()
	p, err := Open(n.t.Context(), n.config(id))
	if err != nil {
		n.t.Fatalf("open %s: %v", id, err)
	}
	n.by[id] = p
	n.gossip.set(Member{ID: id, Name: "name-" + id, Raft: p.Addr(), Alive: true})
	n.t.Cleanup(func() { n.stop(id) })
	return p
}

// stop closes a node, if it runs, without handing over a leadership.
func (n *nodes) stop(id string) {
	p := n.by[id]
	if p == nil {
		return
	}
	delete(n.by, id)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p.lead.withdraw(true) // as killed: nothing is handed over
	if err := p.Close(ctx); err != nil {
		n.t.Errorf("close %s: %v", id, err)
	}
	n.gossip.set(Member{ID: id, Name: "name-" + id, Raft: p.Addr()})
}

// mustForm opens nodes of these ids and bootstraps them.
func (n *nodes) mustForm(ids ...string) *Peer {
	n.t.Helper()
	var servers []Server
	for _, id := range ids {
		servers = append(servers, Server{ID: id, Address: n.mustOpen(id).Addr(), Voter: true})
	}
	if err := n.by[ids[0]].bootstrap(n.t.Context(), servers); err != nil {
		n.t.Fatal(err)
	}
	return n.mustLead()
}

// mustName waits until the leader has named the network, and returns the name.
func (n *nodes) mustName(p *Peer) string {
	n.t.Helper()
	n.eventually("network id", func() (bool, string) { return p.FSM().View().NetworkID != "", "" })
	return p.FSM().View().NetworkID
}

// mustLead waits until one of the nodes leads, and says so by committing.
func (n *nodes) mustLead() *Peer {
	n.t.Helper()
	var leader *Peer
	n.eventually("a leader", func() (bool, string) {
		state := ""
		for id, p := range n.by {
			s := p.Status()
			state += fmt.Sprintf(" %s:%+v", id, s)
			if s.Role == RoleLeader && p.Confirm(n.t.Context()) == nil {
				leader = p
				return true, ""
			}
		}
		return false, state
	})
	return leader
}

// eventually waits for a condition; its text is printed when it does not come.
func (n *nodes) eventually(what string, ok func() (bool, string)) {
	n.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		done, state := ok()
		if done {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("no %s after 20s: %s", what, state)
		}
		pause(context.Background(), 5*time.Millisecond)
	}
}

// mustPropose has a cluster of that name made.
func mustPropose(t testing.TB, p *Peer, name string) {
	t.Helper()
	if err := propose(t.Context(), p, name); err != nil {
		t.Fatalf("propose %s: %v", name, err)
	}
}

func propose(ctx context.Context, p *Peer, name string) error {
	_, err := p.Propose(ctx, fsm.Command{Body: fsm.ClusterPut{Name: fsm.ClusterName(name)}})
	return err
}

// has reports whether p's table has the cluster.
func has(p *Peer, name string) bool {
	_, ok := p.FSM().View().Table.Clusters[fsm.ClusterName(name)]
	return ok
}

func (n *nodes) mustHave(p *Peer, name string) {
	n.t.Helper()
	n.eventually("cluster "+name, func() (bool, string) {
		return has(p, name), fmt.Sprintf("%+v", p.Status())
	})
}

func other(n *nodes, leader *Peer) *Peer {
	for _, id := range []string{"n1", "n2", "n3"} {
		if p := n.by[id]; p != nil && p != leader {
			return p
		}
	}
	return nil
}
