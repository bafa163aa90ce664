package consensus

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// village is a few nodes without raft: what they ask each other takes time and
// may get lost, and what they bootstrap is written down.
type village struct {
	t    *testing.T
	byID map[string]*villager

	mu       sync.Mutex                          // held to change anything, byID too, once a node has started
	lost     func(from, to string) bool          // nil: nothing is
	delay    func(from, to string) time.Duration // nil: 5 ms
	stubborn bool                                // asking does not heed its context
	adopted  time.Duration                       // after a bootstrap the others hear of it; 0: never
	founded  [][]string
}

type villager struct {
	*former
	v      *village
	crowd  *crowd
	reason string
	asked  int
	state  bool
	own    string // network id
	stop   func()
}

func newVillage(t *testing.T) *village { return &village{t: t, byID: make(map[string]*villager)} }

// start runs a node. Everybody sees it, and it sees everybody.
func (v *village) start(id string, expect int, joinOnly bool) *villager {
	n := &villager{v: v, crowd: newCrowd()}
	m := member(id)
	m.Expect = expect
	if joinOnly {
		m.Expect = 0
	}
	n.crowd.put(m)
	for _, other := range v.byID {
		for _, seen := range other.crowd.Members() {
			if seen.ID == other.self {
				n.crowd.put(seen)
			}
		}
		other.crowd.put(m)
	}
	n.former = &former{
		self: id, expect: expect, joinOnly: joinOnly || expect == 0, members: n.crowd,
		logger: slog.New(slog.DiscardHandler),
		ask:    n.puts, hasState: n.has, networkID: n.network, bootstrap: n.founds, setReason: n.says,
	}
	v.mu.Lock()
	v.byID[id] = n
	v.mu.Unlock()
	ctx, cancel := context.WithCancel(v.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { n.loop(ctx) })
	n.stop = func() { cancel(); wg.Wait() }
	v.t.Cleanup(n.stop)
	return n
}

// dies stops a node; the others see it fail.
func (n *villager) dies() {
	n.stop()
	n.v.mu.Lock()
	delete(n.v.byID, n.self)
	n.v.mu.Unlock()
	for _, other := range n.v.byID {
		other.crowd.change(n.self, func(m *Member) { m.Alive = false })
	}
}

// sees limits a node's view to some others.
func (n *villager) sees(ids ...string) {
	for _, m := range n.crowd.Members() {
		if m.ID != n.self && !slices.Contains(ids, m.ID) {
			n.crowd.forget(m.ID)
		}
	}
}

// settles makes a node part of a network, for itself and in the eyes of all.
func (n *villager) settles(network string) {
	n.v.mu.Lock()
	n.state, n.own = true, network
	n.v.mu.Unlock()
	for _, other := range n.v.byID {
		other.crowd.change(n.self, func(m *Member) { m.HasState, m.NetworkID = true, network })
	}
}

func (n *villager) puts(ctx context.Context, http string, q Query) (Answer, error) {
	to := strings.TrimSuffix(strings.TrimPrefix(http, "h"), ":2")
	n.v.mu.Lock()
	n.asked++
	delay := 5 * time.Millisecond
	if n.v.delay != nil {
		delay = n.v.delay(n.self, to)
	}
	lost := n.v.lost != nil && n.v.lost(n.self, to)
	other := n.v.byID[to]
	n.v.mu.Unlock()
	if n.v.stubborn {
		ctx = context.Background()
	}
	if lost || other == nil {
		return Answer{}, errors.New("connection refused")
	}
	if !pause(ctx, delay/2) {
		return Answer{}, ctx.Err()
	}
	answer := other.answer(q)
	if !pause(ctx, delay/2) {
		return Answer{}, ctx.Err()
	}
	return answer, nil
}

func (n *villager) has() bool {
	n.v.mu.Lock()
	defer n.v.mu.Unlock()
	return n.state
}

func (n *villager) network() string {
	n.v.mu.Lock()
	defer n.v.mu.Unlock()
	return n.own
}

func (n *villager) founds(_ context.Context, servers []Server) error {
	n.v.mu.Lock()
	defer n.v.mu.Unlock()
	var list []string
	for _, s := range servers {
		if !s.Voter || s.Address != "h"+s.ID+":1" {
			n.v.t.Errorf("bootstrap with %v", s)
		}
		list = append(list, s.ID)
		if n.v.adopted > 0 {
			other := n.v.byID[s.ID]
			time.AfterFunc(n.v.adopted, func() {
				n.v.mu.Lock()
				defer n.v.mu.Unlock()
				other.state = true
			})
		}
	}
	n.v.founded = append(n.v.founded, list)
	n.state = true
	return nil
}

func (n *villager) says(reason string) {
	n.v.mu.Lock()
	defer n.v.mu.Unlock()
	n.reason = reason
}

func (n *villager) why() string {
	n.v.mu.Lock()
	defer n.v.mu.Unlock()
	return n.reason
}

func (v *village) networks() [][]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.founded)
}
