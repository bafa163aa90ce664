package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNodesWithTheSameSeedsFindEachOther(t *testing.T) {
	for _, n := range []int{3, 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, "n1:10090", "n2:10090", "n3", "nobody:10090")
				for i := 1; i <= 3; i++ {
					l.net.SetName(fmt.Sprintf("n%d", i), strings.TrimSuffix(address(i), ":10090"))
				}
				began := time.Now()
				pools := l.form(n)
				t.Logf("%d nodes formed in %v", n, time.Since(began))
				for i, p := range pools {
					if p.Self().NodeID != nodeID(i+1) || p.Addr() != address(i+1) || p.Reason() != "" {
						t.Errorf("node %d: %+v, reason %q", i+1, p.Self(), p.Reason())
					}
					if got := member(p, 2); got.Address != address(2) || got.HTTP() != "10.0.2.1:10088" || got.Raft() != "10.0.2.1:10089" {
						t.Errorf("node %d sees %+v", i+1, got)
					}
					ids := func(m Member) string { return m.NodeID }
					if !slices.IsSortedFunc(p.Members(), func(a, b Member) int { return strings.Compare(ids(a), ids(b)) }) {
						t.Errorf("node %d: members are not sorted", i+1)
					}
				}
			})
		})
	}
}

func TestALonelyNodeSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1), "gone:10090", address(9))
		p := l.open(1, address(1), nil)
		l.within(time.Second, "a reason", func() bool { return p.Reason() != "" })
		for _, want := range []string{"gone", "no such host", address(9), "connection refused"} {
			if !strings.Contains(p.Reason(), want) {
				t.Errorf("reason %q does not mention %q", p.Reason(), want)
			}
		}
		if strings.Contains(p.Reason(), address(1)) {
			t.Errorf("the own address is no problem: %q", p.Reason())
		}
		l.open(9, address(9), nil)
		l.within(20*time.Second, "no reason any more", func() bool { return p.Reason() == "" && alive(p) == 2 })
	})
}

func TestANodeWithoutSeedsIsContent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		p := l.open(1, address(1), nil)
		time.Sleep(time.Minute)
		if p.Reason() != "" || len(p.Members()) != 1 {
			t.Errorf("reason %q, members %v", p.Reason(), p.Members())
		}
	})
}

// A dead node is dead to all within 1.5 s as a rule, on fake time: nothing else
// keeps the processor busy.
func TestDetectionTime(t *testing.T) {
	for _, n := range []int{3, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			var all, first []time.Duration
			for range 40 {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t, address(1), address(2))
					var pools []*Pool
					for i := 1; i <= n; i++ {
						time.Sleep(rand.N(200 * time.Millisecond)) // or all would probe at the same instants
						pools = append(pools, l.open(i, address(i), nil))
					}
					time.Sleep(5*time.Second + rand.N(time.Second))
					victim := n
					l.net.Kill(address(victim))
					gone := func(p *Pool) bool { return state(p, victim) == StateFailed }
					others := pools[:n-1]
					soon := l.within(3*time.Second, "someone sees it", func() bool { return slices.ContainsFunc(others, gone) })
					late := l.within(3*time.Second, "all see it", func() bool {
						return !slices.ContainsFunc(others, func(p *Pool) bool { return !gone(p) })
					})
					first, all = append(first, soon), append(all, soon+late)
				})
			}
			slices.Sort(first)
			slices.Sort(all)
			t.Logf("n=%d, %d times: first p50 %v max %v, all p50 %v p90 %v max %v", n, len(all),
				first[len(first)/2], first[len(first)-1], all[len(all)/2], all[len(all)*9/10], all[len(all)-1])
			if all[len(all)*9/10] > 1500*time.Millisecond || all[len(all)-1] > 2*time.Second {
				t.Errorf("seen by all too late: p90 %v, want 1.5 s, max %v, want 2 s", all[len(all)*9/10], all[len(all)-1])
			}
		})
	}
}

func TestASuspectIsShownBeforeItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(3)
		since := member(pools[0], 3).Since
		l.net.Kill(address(3))
		l.within(time.Second, "suspect", func() bool { return state(pools[0], 3) == StateSuspect })
		if got := member(pools[0], 3).Since; !got.Equal(since) {
			t.Errorf("suspicion moved since from %v to %v", since, got)
		}
		l.within(2*time.Second, "failed", func() bool { return state(pools[0], 3) == StateFailed })
		if got := member(pools[0], 3).Since; !got.After(since) {
			t.Errorf("failed since %v, alive since %v", got, since)
		}
	})
}

func TestASuspectThatAnswersIsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(3)
		l.net.Part([]string{address(3)}, []string{address(1), address(2)})
		l.within(time.Second, "suspect", func() bool { return state(pools[0], 3) == StateSuspect })
		l.net.Heal()
		l.within(time.Second, "alive", func() bool { return state(pools[0], 3) == StateAlive })
		time.Sleep(5 * time.Second)
		if !allSee(pools, 3) {
			t.Errorf("the node was lost after all\n%s", l.log.tail(20))
		}
	})
}

func TestARestartAtANewAddressIsSeenWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1), address(2))
		pools := l.form(3)
		l.net.Kill(address(3))
		again := l.open(3, address(33), func(c *Config) { c.Meta.Generation = 2 })
		took := l.within(time.Second, "the new start", func() bool {
			return member(pools[0], 3).Generation == 2 && member(pools[1], 3).Generation == 2 && alive(again) == 3
		})
		t.Logf("seen after %v", took)
		time.Sleep(10 * time.Second) // the old start is found dead meanwhile
		for _, p := range append(pools[:2:2], again) {
			if m := member(p, 3); m.State != StateAlive || m.Address != address(33) || len(p.Members()) != 3 {
				t.Errorf("%+v among %d", m, len(p.Members()))
			}
			if r := p.Refusals(); len(r) > 0 {
				t.Errorf("a restart is no reason to refuse: %+v", r)
			}
		}
	})
}

func TestAllRestartedAtNewAddressesMeetAgainByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, "n1:10090", "all:10090")
		l.net.SetName("n1", "10.0.1.1")
		pools := l.form(3)
		for i, p := range pools {
			l.net.Kill(address(i + 1))
			if err := p.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		l.net.SetName("n1")
		var again []*Pool
		for i := 1; i <= 3; i++ {
			again = append(again, l.open(i, address(100+i), func(c *Config) { c.Meta.Generation = 2 }))
		}
		time.Sleep(time.Minute)
		if allSee(again, 2) {
			t.Fatal("they met although no name leads anywhere")
		}
		l.net.SetName("all", "10.0.99.1", "10.0.101.1", "10.0.102.1", "10.0.103.1") // as a service of containers
		took := l.within(20*time.Second, "all meet", func() bool { return allSee(again, 3) })
		t.Logf("met %v after the name led there", took)
	})
}

func TestARestoredNodeIsLetInWithALowerGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		a := l.open(1, address(1), nil)
		b := l.open(2, address(2), func(c *Config) { c.Meta.Generation = 9 })
		l.within(time.Minute, "both there", func() bool { return allSee([]*Pool{a, b}, 2) })
		l.net.Kill(address(2))
		l.within(3*time.Second, "failed", func() bool { return state(a, 2) == StateFailed })
		l.open(2, address(2), func(c *Config) { c.Meta.Generation = 5 })
		l.within(time.Second, "back", func() bool { return state(a, 2) == StateAlive && member(a, 2).Generation == 5 })
	})
}

func TestUpdatesSpreadAndAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(7)
		since := member(pools[6], 1).Since
		seen := make(map[int]bool)
		for i := range 100 {
			pools[0].Update(func(m *Meta) { m.Expect, m.Role, m.NodeID, m.Generation = i, RoleVoter, nodeID(77), 77 })
			time.Sleep(10 * time.Millisecond)
			seen[member(pools[6], 1).Expect] = true
		}
		if len(seen) > 15 {
			t.Errorf("100 changes in a second were told %d times", len(seen))
		}
		took := l.within(time.Second, "all know", func() bool {
			return !slices.ContainsFunc(pools, func(p *Pool) bool { m := member(p, 1); return m.Expect != 99 || m.Role != RoleVoter })
		})
		t.Logf("known to 7 after %v", took)
		m := member(pools[6], 1)
		if m.Generation != 1 || !m.Since.Equal(since) {
			t.Errorf("an update changed who it is, or since when: %+v, was since %v", m, since)
		}
		pools[0].Update(func(m *Meta) { m.Name = strings.Repeat("x", MaxNameBytes+1) })
		if got := pools[0].Self().Name; got != "n1" {
			t.Errorf("a name that is too long was taken: %q", got)
		}
	})
}

func TestChangedIsClosedAtEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		p := l.open(1, address(1), nil)
		changed := p.Changed()
		l.open(2, address(2), nil)
		<-changed
		l.within(time.Second, "two", func() bool { return alive(p) == 2 })
		changed = p.Changed()
		p.Update(func(*Meta) {}) // nothing
		time.Sleep(20 * time.Second)
		select {
		case <-changed:
			t.Error("nothing changed")
		default:
		}
		l.net.Kill(address(2))
		<-changed
	})
}

func TestForgetRemovesOnlyWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(2)
		l.net.Kill(address(2))
		l.within(3*time.Second, "failed", func() bool { return state(pools[0], 2) == StateFailed })
		pools[0].Forget(nodeID(1))
		if state(pools[0], 1) != StateAlive {
			t.Error("a node that is there was forgotten")
		}
		pools[0].Forget(nodeID(2))
		if state(pools[0], 2) != "" {
			t.Error("a node that failed was not forgotten")
		}
		l.open(2, address(2), func(c *Config) { c.Meta.Generation = 2 })
		l.within(time.Second, "it may come back", func() bool { return alive(pools[0]) == 2 })
	})
}
