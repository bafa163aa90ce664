package node

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

func TestDownCollectorsAreThoseOfNodesOutOfSight(t *testing.T) {
	table := tableAt(1,
		fsm.Collector{ID: "a", Node: "n1"}, fsm.Collector{ID: "b", Node: "n2"}, fsm.Collector{ID: "c"},
		fsm.Collector{ID: "d", Node: "n1", External: true}, // repeats its heartbeat to anybody
	)
	for _, out := range []map[string]bool{nil, {}, {"n3": true}, {"n2": false}} {
		if down := downCollectors(table, out); len(down) > 0 {
			t.Errorf("with %v out of sight %v is down", out, down)
		}
	}
	down := downCollectors(table, map[string]bool{"n1": true})
	if got := slices.Sorted(maps.Keys(down)); !slices.Equal(got, []fsm.CollectorID{"a"}) {
		t.Errorf("down are %v", got)
	}
}

func TestReachIsWhatOthersDial(t *testing.T) {
	for _, c := range []struct{ address, advertise, want string }{
		{"10.0.0.1", "", "10.0.0.1"}, {"10.0.0.1", "n1.example", "10.0.0.1"},
		{"0.0.0.0", "n1.example", "n1.example"}, {"::", "10.0.0.5", "10.0.0.5"},
	} {
		n := &Node{cfg: Config{Advertise: c.advertise}}
		if got := n.reach(Collector{Address: c.address}); got != c.want {
			t.Errorf("%s, advertised as %q, is reached at %s", c.address, c.advertise, got)
		}
	}
}

// Registering begins once at a time: of loops that began twice one would never
// end. It does not begin again when the node stops or has left.
func TestRegisteringBeginsOnceAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &fakeRegistry{put: func(string, string, httpapi.Registration) (httpapi.Registered, error) {
			return httpapi.Registered{}, httpapi.ErrNoLeader
		}}
		r := registrarIn(t, t.TempDir(), 0, network, newAssignments(fsm.Table{}))
		if err := r.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		n := &Node{gone: make(chan struct{}), registrars: []*registrar{r}}
		n.startRegistering()
		n.startRegistering()
		synctest.Wait()
		if network.count() != 1 {
			t.Errorf("%d registrations", network.count())
		}
		n.stopRegistering() // a second loop would hold it up for ever
		for what, end := range map[string]func(n *Node){
			"it stops": func(n *Node) { n.closing = true }, "it has left": (*Node).leaveNow,
		} {
			n := &Node{gone: make(chan struct{}), registrars: []*registrar{r}}
			end(n)
			n.startRegistering()
			synctest.Wait()
			if network.count() != 1 {
				t.Errorf("registered although %s", what)
			}
		}
	})
}

// Of two requests to leave at the same time, one is refused: it would undo what
// the other does.
func TestOneLeavesAtATime(t *testing.T) {
	n := &Node{gone: make(chan struct{})}
	if err := n.beginLeave(); err != nil {
		t.Fatal(err)
	}
	if err := n.beginLeave(); !errors.Is(err, httpapi.ErrConflict) {
		t.Errorf("the second: %v", err)
	}
	n.endLeave()
	if err := n.beginLeave(); err != nil {
		t.Errorf("after the first has failed: %v", err)
	}
}

func TestReplaceCollectorKeepsTheOthers(t *testing.T) {
	a, b, c := &collectorRole{}, &collectorRole{}, &collectorRole{}
	n := &Node{}
	check := func(want ...*collectorRole) {
		t.Helper()
		if _, got := n.roles(); !slices.Equal(got, want) {
			t.Errorf("%d roles: %v, want %v", len(got), got, want)
		}
	}
	n.replaceCollector(nil, a)
	n.replaceCollector(nil, b)
	check(a, b)
	_, before := n.roles()
	n.replaceCollector(a, c)
	check(c, b)
	n.replaceCollector(c, nil)
	check(b)
	n.replaceCollector(a, nil) // it is there no more
	check(b)
	if !slices.Equal(before, []*collectorRole{a, b}) {
		t.Error("whoever looked before sees the change")
	}
}

func TestSightShowsThisNodeUntilThereIsGossip(t *testing.T) {
	self := consensus.Member{ID: "n", Alive: true}
	s := newSight(self)
	changed := s.Changed()
	if got := s.Members(); len(got) != 1 || got[0] != self {
		t.Errorf("alone: %+v", got)
	}
	pool, err := membership.Open(t.Context(), membership.Config{
		Meta: membership.Meta{NodeID: newNodeID(), Name: "n", Generation: 3, HTTPPort: 1, RaftPort: 2, Level: commandLevel}, Listen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close(t.Context()) }()
	s.attach(pool)
	<-changed
	got := s.Members()
	if len(got) != 1 || got[0].Generation != 3 || !got[0].Alive || got[0].Raft != "127.0.0.1:2" || got[0].HTTP != "127.0.0.1:1" {
		t.Errorf("with gossip: %+v", got)
	}
}

func TestMembersThatStopOrLeaveAreNotReckonedWith(t *testing.T) {
	for _, c := range []struct {
		state          membership.State
		intent         membership.Intent
		alive, leaving bool
	}{
		{membership.StateAlive, membership.IntentNone, true, false},
		{membership.StateSuspect, membership.IntentNone, true, false},
		{membership.StateFailed, membership.IntentNone, false, false},
		{membership.StateLeft, membership.IntentNone, false, false},
		{membership.StateAlive, membership.IntentStop, false, false},
		{membership.StateAlive, membership.IntentLeave, false, true},
	} {
		m := consensusMember(membership.Member{Meta: membership.Meta{Intent: c.intent}, State: c.state})
		if m.Alive != c.alive || m.Leaving != c.leaving {
			t.Errorf("%s with intent %q: %+v", c.state, c.intent, m)
		}
	}
}

// A table that the original's server told, or that of a start that knew no
// network, has an index of nobody's: the network's own is taken, however low.
func TestMemberTakesTheFirstTableOfItsNetwork(t *testing.T) {
	t.Parallel()
	file := memberFile(t, "n1", "127.0.0.1:0", "", "")
	data := filepath.Join(filepath.Dir(file), "data")
	raw, err := fsm.EncodeTable(tableAt(500_000))
	if err == nil {
		err = os.MkdirAll(data, 0o750)
	}
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(data, tableFile), string(raw))
	n := mustOpen(t, mustLoadFile(t, file))
	if table := n.Table(); len(table.Clusters) > 1 {
		t.Errorf("it starts from %+v", table)
	}
	eventually(t, "a leader", func() (bool, string) { return n.Status().Role == httpapi.RoleLeader, fmt.Sprintf("%+v", n.Status()) })
	if err := (memberAPI{n}).PutCluster(t.Context(), "mine", httpapi.ClusterSpec{Mode: fsm.ModeOne}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the table of the network", func() (bool, string) {
		table := n.Table()
		_, mine := table.Clusters["mine"]
		return mine && table.Index < 500_000, fmt.Sprintf("%+v", table)
	})
}
