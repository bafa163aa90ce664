package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// crowd is a view of gossip that tests change.
type crowd struct {
	mu      sync.Mutex
	members []Member
	changed chan struct{}
}

func newCrowd(members ...Member) *crowd {
	return &crowd{members: members, changed: make(chan struct{})}
}

func (c *crowd) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.members)
}

func (c *crowd) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// put enters a member or replaces it, dated now.
func (c *crowd) put(m Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Since = time.Now()
	c.members = slices.DeleteFunc(c.members, func(o Member) bool { return o.ID == m.ID })
	c.members = append(c.members, m)
	close(c.changed)
	c.changed = make(chan struct{})
}

// forget takes a member out.
func (c *crowd) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = slices.DeleteFunc(c.members, func(o Member) bool { return o.ID == id })
	close(c.changed)
	c.changed = make(chan struct{})
}

// change alters one member.
func (c *crowd) change(id string, how func(*Member)) {
	for _, m := range c.Members() {
		if m.ID == id {
			how(&m)
			c.put(m)
		}
	}
}

func member(id string) Member {
	return Member{ID: id, Name: "n" + id, Raft: "h" + id + ":1", HTTP: "h" + id + ":2", Alive: true}
}

// fakeSeat is raft and the FSM as the loop sees them, on one node.
type fakeSeat struct {
	t    *testing.T
	self string

	mu        sync.Mutex
	busy      bool // a change is under way
	index     uint64
	servers   []Server
	state     fsm.View
	beating   map[fsm.CollectorID]fsm.Beat
	contact   map[string]time.Duration
	done      []string
	fail      map[string]error // by what done would say
	atBarrier func() error
}

func newFakeSeat(t *testing.T, self string, voters ...string) *fakeSeat {
	f := &fakeSeat{t: t, self: self, index: 1, contact: make(map[string]time.Duration), fail: make(map[string]error), beating: make(map[fsm.CollectorID]fsm.Beat)}
	for _, id := range voters {
		f.servers = append(f.servers, Server{ID: id, Address: "h" + id + ":1", Voter: true})
	}
	return f
}

func (f *fakeSeat) myTurn(context.Context) (func(), error) { return func() {}, nil }

func (f *fakeSeat) barrier(context.Context) error {
	if f.atBarrier != nil {
		return f.atBarrier()
	}
	return nil
}

func (f *fakeSeat) configuration() ([]Server, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.servers), f.index
}

func (f *fakeSeat) Health() (Health, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var h Health
	for _, s := range f.servers {
		h.Servers = append(h.Servers, ServerHealth{ID: s.ID, Voter: s.Voter, Alive: true, LastContact: f.contact[s.ID]})
	}
	return h, nil
}

func (f *fakeSeat) view() fsm.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.state
	v.Nodes = slices.Clone(v.Nodes)
	return v
}

func (f *fakeSeat) beats() map[fsm.CollectorID]fsm.Beat {
	f.mu.Lock()
	defer f.mu.Unlock()
	copied := make(map[fsm.CollectorID]fsm.Beat)
	for id, b := range f.beating {
		copied[id] = b
	}
	return copied
}

// change does one thing that takes a while, and fails the test when another is under way.
func (f *fakeSeat) change(ctx context.Context, what string, prevIndex uint64, how func()) error {
	f.mu.Lock()
	if f.busy {
		f.t.Errorf("%s while another change is under way", what)
	}
	f.busy = true
	f.mu.Unlock()
	pause(ctx, 10*time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = false
	if err := f.fail[what]; err != nil {
		f.done = append(f.done, what+" failed")
		return err
	}
	if prevIndex != 0 && prevIndex != f.index {
		return errors.New("configuration changed")
	}
	if prevIndex != 0 {
		f.index++
	}
	f.done = append(f.done, what)
	how()
	return nil
}

func (f *fakeSeat) set(s Server) func() {
	return func() {
		i := slices.IndexFunc(f.servers, func(o Server) bool { return o.ID == s.ID })
		if i < 0 {
			f.servers = append(f.servers, s)
			return
		}
		f.servers[i] = s
	}
}

func (f *fakeSeat) addNonvoter(ctx context.Context, s Server, i uint64) error {
	return f.change(ctx, "nonvoter "+s.ID+" at "+s.Address, i, f.set(s))
}

func (f *fakeSeat) addVoter(ctx context.Context, s Server, i uint64) error {
	return f.change(ctx, "voter "+s.ID+" at "+s.Address, i, f.set(s))
}

func (f *fakeSeat) demote(ctx context.Context, s Server, i uint64) error {
	return f.change(ctx, "demote "+s.ID, i, f.set(s))
}

func (f *fakeSeat) removeServer(ctx context.Context, s Server, i uint64) error {
	return f.change(ctx, "remove "+s.ID, i, func() {
		f.servers = slices.DeleteFunc(f.servers, func(o Server) bool { return o.ID == s.ID })
	})
}

func (f *fakeSeat) Transfer(ctx context.Context, to string) error {
	return f.change(ctx, "transfer to "+to, 0, func() {})
}

func (f *fakeSeat) apply(ctx context.Context, c fsm.Command) (fsm.Result, error) {
	var what string
	var how func()
	switch b := c.Body.(type) {
	case fsm.NetworkInit:
		what, how = "init "+b.NetworkID, func() { f.state.NetworkID = b.NetworkID }
	case fsm.NodePut:
		what, how = "put "+b.Node.Name, func() {
			f.state.Nodes = slices.DeleteFunc(f.state.Nodes, func(n fsm.Node) bool { return n.ID == b.Node.ID })
			f.state.Nodes = append(f.state.Nodes, b.Node)
		}
	case fsm.NodeDelete:
		what, how = "delete "+b.ID, func() {
			f.state.Nodes = slices.DeleteFunc(f.state.Nodes, func(n fsm.Node) bool { return n.ID == b.ID })
		}
	case fsm.CollectorDelete:
		what, how = fmt.Sprintf("drop %s silent since %d", b.ID, b.IfSilentSinceMS), func() { delete(f.beating, b.ID) }
	default:
		f.t.Errorf("unexpected command %T", b)
	}
	return fsm.Result{Changed: true}, f.change(ctx, what, 0, how)
}

// took returns what was done since the last call.
func (f *fakeSeat) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	done := f.done
	f.done = nil
	return done
}

// with alters the fake under its lock.
func (f *fakeSeat) with(how func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how()
}

// loopTiming gives the dead three hours, so that the tests need not go through days.
var loopTiming = Timing{DeadAfter: 3 * time.Hour}.withDefaults()

// lead runs the loop until the test ends, or stop is called.
func lead(t *testing.T, f *fakeSeat, c *crowd, logger *slog.Logger) (r *reconciler, stop func()) {
	t.Helper()
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	r = &reconciler{
		seat: f, self: f.self, timing: loopTiming, members: c,
		newID: func() string { return "net" }, logger: logger, reasons: new(atomic.Pointer[map[string]string]),
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.loop(ctx) })
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return r, stop
}
