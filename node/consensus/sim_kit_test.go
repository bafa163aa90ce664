package consensus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// sim is a network of whole peers, each of which sees of the others what the
// network between them lets through: raft, gossip, and the requests that nodes
// pass on for their clients. Its nodes crash and come back with their disks.
//
// The methods of a client (see sim_client_test.go) may be called at any time; the
// others are for the goroutine of the test.
type sim struct {
	*cluster
	gossip *rumours
	disks  map[string]*faulty
	apart  time.Duration       // how far a node is from another while nothing is wrong
	seen   map[uint64][32]byte // what the state was, at the indexes that were looked at

	mu    sync.Mutex
	up    map[string]*Peer
	acked map[fsm.ClusterName]bool
}

// inSim runs a test in a bubble.
func inSim(t *testing.T, timing Timing, test func(t *testing.T, s *sim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := NewMemoryNetwork()
		s := &sim{
			cluster: &cluster{nodes: newNodes(t, net)},
			gossip:  newRumours(net),
			disks:   make(map[string]*faulty),
			apart:   time.Millisecond,
			seen:    make(map[uint64][32]byte),
			up:      make(map[string]*Peer),
			acked:   make(map[fsm.ClusterName]bool),
		}
		s.timing = timing
		go s.gossip.spreadLoop(t.Context())
		t.Cleanup(func() {
			for _, id := range s.running() {
				s.crash(id)
			}
		})
		test(t, s)
	})
}

// full reports whether the long forms of the tests are to run.
func full() bool { return os.Getenv("BUCKET_RELAY_FULL") == "1" }

// either is the first in a short run and the second in a full one.
func either[T any](short, long T) T {
	if full() {
		return long
	}
	return short
}

// mustSeed returns what BUCKET_RELAY_SEED says, or a new seed, and prints it. The same
// seed has the same faults and requests at the same times; how the goroutines
// take turns, and raft's own dice, it does not fix.
func mustSeed(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("BUCKET_RELAY_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("BUCKET_RELAY_SEED: %v", err)
		}
	}
	t.Logf("BUCKET_RELAY_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// mustStart starts a node, with the disk that it had before. Expect 0 means that
// it only joins.
func (s *sim) mustStart(id string, expect int) *Peer {
	s.t.Helper()
	cfg := s.config(id)
	cfg.Members, cfg.Expect, cfg.JoinOnly = s.gossip.join(id), expect, expect == 0
	cfg.HTTP, cfg.Ask = func() string { return id }, s.askFrom(id)
	if s.disks[id] == nil {
		s.disks[id] = newFaulty()
		s.bringNear(id)
	}
	cfg.disk.open = func(string) (store, error) { return s.disks[id], nil }
	cfg.disk.probe = func(*os.File) error { return nil }
	p, err := Open(s.t.Context(), cfg)
	if err != nil {
		s.t.Fatalf("open %s: %v", id, err)
	}
	s.by[id] = p
	s.mu.Lock()
	s.up[id] = p
	s.mu.Unlock()
	s.gossip.say(Member{ID: id, Name: cfg.Name, Raft: p.Addr(), HTTP: id, Expect: expect, HasState: p.hasState(), Alive: true})
	go s.tellLoop(id, p)
	return p
}

// tellLoop has gossip know what a node has become, until its peer closes. That one gives up
// is a failure: nothing that happens here is beyond mending.
func (s *sim) tellLoop(id string, p *Peer) {
	for {
		changed := p.Changed()
		status := p.Status()
		s.gossip.amend(id, func(m *Member) { m.HasState, m.NetworkID = status.HasState, status.NetworkID })
		select {
		case <-changed:
		case err := <-p.Failed():
			s.t.Errorf("%s has given up: %v", id, err)
		case <-p.ctx.Done():
			return
		}
	}
}

// crash ends a node at once. Gossip notices a moment later.
func (s *sim) crash(id string) {
	s.mu.Lock()
	delete(s.up, id)
	s.mu.Unlock()
	s.stop(id)
	s.gossip.amend(id, func(m *Member) { m.Alive = false })
}

// mustBegin founds a network of as many voters as there are ids, of which it returns
// the leader.
func (s *sim) mustBegin(ids ...string) *Peer {
	s.t.Helper()
	for _, id := range ids {
		s.mustStart(id, len(ids))
	}
	s.until(time.Minute, "catalogue", func() bool { return len(s.catalogue()) == len(ids) })
	return s.leader()
}

// running lists the nodes that are up, sorted.
func (s *sim) running() []string { return sortedKeys(s.by) }

// bringNear has everything between a node and all others take as long as it does when
// nothing is wrong.
func (s *sim) bringNear(id string) {
	s.net.change(func() {
		for other := range s.disks {
			s.net.delays[way{id, other}], s.net.delays[way{other, id}] = s.apart, s.apart
		}
	})
}

// setDelay has everything between two nodes take so long, each way.
func (s *sim) setDelay(a, b string, d time.Duration) {
	s.net.Delay(a, b, d)
	s.net.Delay(b, a, d)
}

// note notes what was acknowledged.
func (s *sim) note(name fsm.ClusterName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked[name] = true
}

// mustAgree looks at the state of every node as it is now. Two that have got equally
// far have the same.
func (s *sim) mustAgree() {
	s.t.Helper()
	for _, id := range s.running() {
		index, sum := s.by[id].FSM().Hash()
		if before, known := s.seen[index]; known && before != sum {
			s.t.Fatalf("%s has another state at index %d than a node before\n%s", id, index, s.state())
		}
		s.seen[index] = sum
	}
}

// mustSettle waits until all servers have got equally far, and makes sure that they
// have the same state, and all that was acknowledged.
func (s *sim) mustSettle(limit time.Duration) {
	s.t.Helper()
	var leader *Peer
	s.until(limit, "leader", func() bool {
		leader = s.leader()
		return leader != nil && leader.Confirm(s.t.Context()) == nil
	})
	s.until(limit, "agreement", func() bool {
		want, sum := leader.FSM().Hash()
		for _, server := range leader.Servers() {
			p := s.by[server.ID]
			if p == nil || p.FSM().View().Applied != want {
				return false
			}
			if _, got := p.FSM().Hash(); got != sum {
				s.t.Fatalf("%s has another state than the leader at index %d", server.ID, want)
			}
		}
		return true
	})
	for _, server := range leader.Servers() {
		s.mustHaveAll(server.ID)
	}
}

// mustHaveAll makes sure that a node has all that was acknowledged.
func (s *sim) mustHaveAll(id string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	clusters := s.up[id].FSM().View().Table.Clusters
	for name := range s.acked {
		if _, ok := clusters[name]; !ok {
			s.t.Errorf("%s has lost %s, which was acknowledged", id, name)
		}
	}
}

// askFrom puts the former's questions to other nodes.
func (s *sim) askFrom(from string) func(context.Context, string, Query) (Answer, error) {
	return func(ctx context.Context, to string, q Query) (Answer, error) {
		return call(ctx, s, from, to, func(p *Peer) (Answer, error) { return p.Answer(q), nil })
	}
}

// peer is a node's peer; nil while the node is down.
func (s *sim) peer(id string) *Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up[id]
}

func ids5() []string { return []string{"n1", "n2", "n3", "n4", "n5"} }

func numbered(prefix string, i int) fsm.ClusterName {
	return fsm.ClusterName(fmt.Sprintf("%s-%d", prefix, i))
}
