package consensus

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// forms lets time pass and compares the networks that there are after it.
func forms(t *testing.T, v *village, d time.Duration, want ...[]string) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if diff := cmp.Diff(want, v.networks()); diff != "" {
		t.Errorf("after %s: -want +got\n%s", d, diff)
	}
}

func says(t *testing.T, n *villager, want string) {
	t.Helper()
	synctest.Wait()
	if got := n.why(); !strings.Contains(got, want) {
		t.Errorf("node %s says %q, want %q", n.self, got, want)
	}
}

func TestThreeFormANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		three := v.start("3", 3, false)
		forms(t, v, time.Minute)
		says(t, three, "forming: 1 of 3 (n3)")
		two := v.start("2", 3, false)
		forms(t, v, time.Minute)
		says(t, two, "forming: 2 of 3 (n2, n3)")
		one := v.start("1", 3, false)
		forms(t, v, time.Second, []string{"1", "2", "3"})
		says(t, one, "")
		if n := two.asked + three.asked; n != 0 {
			t.Errorf("those who do not have the lowest id asked %d times", n)
		}
		one.settles("net")
		forms(t, v, time.Minute, []string{"1", "2", "3"})
		says(t, two, "waiting to be taken in by the network of n1")
		two.settles("net")
		forms(t, v, time.Minute, []string{"1", "2", "3"})
		if why := two.why(); why != "" {
			t.Errorf("a node with a network says %q", why)
		}
	})
}

func TestLowestOfManyForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.lost = func(string, string) bool { return true }
		for _, id := range []string{"5", "4", "3", "2", "1"} {
			v.start(id, 3, false)
		}
		forms(t, v, time.Minute)
		says(t, v.byID["1"], "n2 cannot be asked: connection refused")
		says(t, v.byID["4"], "forming: 3 of 3 (n1, n2, n3), begun by n1")
		v.mu.Lock()
		v.lost = nil
		v.mu.Unlock()
		forms(t, v, 2*time.Second, []string{"1", "2", "3"})
	})
}

func TestOneFormsAloneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.start("1", 1, false)
		forms(t, v, 0, []string{"1"})
	})
}

func TestJoinOnlyNeverForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		one := v.start("1", 1, true)
		says(t, one, "waiting for a node to join: none answers")
		v.start("2", 0, false)
		forms(t, v, time.Hour)
		says(t, one, "waiting for a network to join: n2 has none either")
		v.start("3", 1, false).settles("net")
		says(t, one, "waiting to be taken in by the network of n3")
	})
}

func TestExpectMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		one, two := v.start("1", 2, false), v.start("2", 5, false)
		v.start("3", 2, false)
		forms(t, v, time.Hour)
		says(t, one, "expect mismatch with n2: it expects 5, this node 2")
		says(t, two, "expect mismatch with n1: it expects 2, this node 5")
	})
}

func TestTwoOfOneNameDoNotForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		one := v.start("1", 2, false)
		one.crowd.put(Member{ID: "2", Name: "n1", Raft: "h2:1", HTTP: "h2:2", Alive: true, Expect: 2})
		forms(t, v, time.Hour)
		says(t, one, "two nodes in sight are named n1")
	})
}

func TestUnknownRaftAddressWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		one := v.start("1", 2, false)
		one.crowd.put(Member{ID: "2", Name: "n2", HTTP: "h2:2", Alive: true, Expect: 2})
		forms(t, v, time.Hour)
		says(t, one, "n2 has not said where its raft listens")
	})
}

func TestSlowAnswersAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.delay = func(string, string) time.Duration { return askFor + time.Second }
		one := v.start("1", 2, false)
		v.start("2", 2, false)
		forms(t, v, time.Hour)
		says(t, one, "n2 cannot be asked: context deadline exceeded")
	})
}

// A yes that comes when the promise may be over is none.
func TestLateAnswersAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.stubborn = true
		v.delay = func(string, string) time.Duration { return promiseFor + time.Second }
		one := v.start("1", 2, false)
		v.start("2", 2, false)
		forms(t, v, 10*time.Minute)
		says(t, one, "asking the others took too long")
		time.Sleep(time.Minute) // for what is still being asked
	})
}

// Gossip sees everybody, but one cannot be asked.
func TestHalfCutOffDoesNotForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.lost = func(_, to string) bool { return to == "3" }
		for _, id := range []string{"1", "2", "3"} {
			v.start(id, 3, false)
		}
		forms(t, v, time.Hour)
		says(t, v.byID["1"], "n3 cannot be asked")
	})
}

// The node that asks sees other nodes than one of those that it asks.
func TestTwoListsDoNotForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.lost = func(string, string) bool { return true }
		for _, id := range []string{"1", "2", "3", "4"} {
			v.start(id, 3, false)
		}
		v.byID["2"].sees("3", "4")
		v.mu.Lock()
		v.lost = nil
		v.mu.Unlock()
		forms(t, v, time.Hour)
		says(t, v.byID["1"], "n2 does not agree: it sees 3 of 3: n2, n3, n4")
		says(t, v.byID["2"], "n3 does not agree: it sees 4 of 3: n1, n2, n3, n4")
	})
}

// The node that bootstrapped is lost with its disk before anybody heard of it.
func TestFormerWipedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		for _, id := range []string{"1", "2", "3"} {
			v.start(id, 3, false)
		}
		forms(t, v, time.Second, []string{"1", "2", "3"})
		v.byID["1"].dies()
		v.start("4", 3, false)
		forms(t, v, 20*time.Second, []string{"1", "2", "3"})
		says(t, v.byID["2"], "forming: promised to node 1")
		forms(t, v, 15*time.Second, []string{"1", "2", "3"}, []string{"2", "3", "4"})
	})
}

// Wiped later, it sees the network that it founded and waits for it.
func TestFormerWipedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		for _, id := range []string{"1", "2", "3"} {
			v.start(id, 3, false)
		}
		forms(t, v, time.Second, []string{"1", "2", "3"})
		v.byID["2"].settles("net")
		v.byID["3"].settles("net")
		v.byID["1"].dies()
		again := v.start("0", 3, false)
		forms(t, v, time.Hour, []string{"1", "2", "3"})
		says(t, again, "waiting to be taken in by the network of n2, n3")
	})
}

// A node that knows its network but has no raft state follows it and never
// founds another, also when nobody is there.
func TestKnownNetworkIsNotFoundedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.start("2", 3, false).settles("net")
		one := v.start("1", 3, false)
		v.mu.Lock()
		one.own = "net"
		v.mu.Unlock()
		forms(t, v, time.Minute)
		says(t, one, "")
		v.byID["2"].dies()
		v.start("3", 3, false)
		v.start("4", 3, false)
		forms(t, v, time.Hour)
		says(t, one, "waiting for a node of network net: none is in sight")
	})
}

func TestKnownNetworkOfOneIsNotFoundedAgain(t *testing.T) {
	v := newVillage(t)
	n := &villager{v: v, crowd: newCrowd(member("1")), own: "net"}
	n.former = &former{self: "1", expect: 1, members: n.crowd, logger: slog.New(slog.DiscardHandler), networkID: n.network, bootstrap: n.founds}
	if why := n.round(t.Context()); why != "waiting for a node of network net: none is in sight" {
		t.Errorf("says %q", why)
	}
	if len(v.networks()) > 0 {
		t.Error("a second network was founded")
	}
}

func TestStateOnDiskAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVillage(t)
		v.start("2", 2, false).settles("")
		one := v.start("1", 2, false)
		one.settles("")
		forms(t, v, time.Hour)
		if one.asked != 0 {
			t.Errorf("asked %d times", one.asked)
		}
	})
}

func TestAnswer(t *testing.T) {
	list := []string{"1", "2", "3"}
	for _, test := range []struct {
		name string
		q    Query
		when func(*villager)
		want string // of the reason; empty: yes
	}{
		{"agrees", Query{From: "1", Expect: 3, Members: list}, nil, ""},
		{"agrees in whatever order", Query{From: "1", Expect: 3, Members: []string{"3", "1", "2"}}, nil, ""},
		{"state", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.state = true }, "part of a network already"},
		{"network", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.own = "net" }, "part of a network already"},
		{"network in sight", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.crowd.put(Member{ID: "9", Name: "n9", Alive: true, HasState: true}) }, "it sees the network of n9"},
		{"join only", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.joinOnly = true }, "was told to join"},
		{"expect", Query{From: "1", Expect: 4, Members: list}, nil, "it expects 3, not 4"},
		{"other list", Query{From: "1", Expect: 3, Members: []string{"1", "2", "4"}}, nil, "it sees 3 of 3: n1, n2, n3"},
		{"too few in sight", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.crowd.forget("3") }, "it sees 2 of 3: n1, n2"},
		{"dead in sight", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.crowd.change("3", func(m *Member) { m.Alive = false }) }, "it sees 2 of 3: n1, n2"},
		{"nobody asked for, nobody in sight", Query{From: "1", Expect: 3}, func(n *villager) { n.crowd.forget("1"); n.crowd.forget("2"); n.crowd.forget("3") }, "it sees 0 of 3"},
		{"leaving in sight", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.crowd.change("3", func(m *Member) { m.Leaving = true }) }, "it sees 2 of 3: n1, n2"},
		{"not the lowest", Query{From: "3", Expect: 3, Members: list}, nil, "another node has a lower id"},
		{"promised", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.promise("0") }, "promised to node 0"},
		{"promised to the same", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.promise("1") }, ""},
		{"asks itself, but for less", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.begin() }, ""},
		{"founding", Query{From: "1", Expect: 3, Members: list}, func(n *villager) { n.begin(); n.commit() }, "founding a network"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVillage(t)
				v.lost = func(string, string) bool { return true }
				for _, id := range list {
					v.start(id, 3, false)
				}
				n := v.byID["2"]
				n.stop()
				if test.when != nil {
					test.when(n)
				}
				a := n.answer(test.q)
				if a.OK != (test.want == "") || !strings.Contains(a.Reason, test.want) {
					t.Errorf("answers %+v, want %q", a, test.want)
				}
				if a.Expect != 3 || a.HasState != n.state || a.NetworkID != n.own {
					t.Errorf("says of itself %+v", a)
				}
			})
		})
	}
}

// A node that asks gives no promise to one with a higher id, and is bound to
// one with a lower id from its promise on.
func TestPromiseWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &former{self: "2"}
		if why := f.begin(); why != "" {
			t.Fatal(why)
		}
		if why := f.promise("3"); why != "it is asking for itself" {
			t.Errorf("to a higher id: %q", why)
		}
		if why := f.promise("1"); why != "" {
			t.Errorf("to a lower id: %q", why)
		}
		if why := f.commit(); why != "forming: promised to node 1 in the meantime" {
			t.Errorf("its own asking: %q", why)
		}
		f.release()
		if why := f.begin(); why != "forming: promised to node 1" {
			t.Errorf("again: %q", why)
		}
		time.Sleep(promiseFor)
		if why := f.begin(); why != "" {
			t.Errorf("when the promise is over: %q", why)
		}
	})
}

// Whatever the nodes see of each other and whatever gets lost, no node is ever
// in the lists of two networks, as long as a promise is longer than a network
// takes to make itself known to its voters.
func TestNoNodeIsBootstrappedTwice(t *testing.T) {
	formed := 0
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			formed += chaos(t, seed)
		})
	}
	if formed < 50 {
		t.Errorf("only %d networks were formed in all", formed)
	}
}

func chaos(t *testing.T, seed uint64) int {
	v := newVillage(t)
	r, wire := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2)) // wire: under v's lock
	loss := r.Float64() * 0.6
	v.lost = func(string, string) bool { return wire.Float64() < loss }
	v.delay = func(string, string) time.Duration { return time.Duration(wire.IntN(3000)) * time.Millisecond }
	v.adopted = promiseFor - askFor
	var all []string
	for i := range 3 + r.IntN(4) {
		id := fmt.Sprint(i)
		all = append(all, id)
		v.start(id, 2+r.IntN(2)*r.IntN(2), false)
	}
	for range 40 {
		id := all[r.IntN(len(all))]
		other := all[r.IntN(len(all))]
		alive := r.IntN(3) > 0
		if id != other {
			v.byID[id].crowd.change(other, func(m *Member) { m.Alive = alive })
		}
		time.Sleep(time.Duration(r.IntN(2000)) * time.Millisecond)
	}
	seen := make(map[string]bool)
	for _, list := range v.networks() {
		for _, id := range list {
			if seen[id] {
				t.Errorf("node %s is in two of %v", id, v.networks())
			}
			seen[id] = true
		}
	}
	return len(v.networks())
}

func TestPromisesOfLongAgoFoundNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &former{self: "2"}
		if why := f.begin(); why != "" {
			t.Fatal(why)
		}
		time.Sleep(promiseFor)
		if why := f.commit(); why == "" {
			t.Error("it founds a network with nodes that may be bound no more")
		}
		if f.founding {
			t.Error("it is founding")
		}
	})
}
