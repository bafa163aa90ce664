package membership

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// networkOf opens the pools of a network with nodes from..to, seeded by the first.
func networkOf(l *lab, id string, from, to int) []*Pool {
	l.t.Helper()
	var pools []*Pool
	for i := from; i <= to; i++ {
		pools = append(pools, l.open(i, address(i), func(c *Config) {
			c.Meta.NetworkID = id
			c.Seeds = []string{address(from)}
		}))
	}
	l.within(time.Minute, "the network forms", func() bool { return allSee(pools, to-from+1) })
	return pools
}

func TestAnotherNetworkIsRefusedByBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		x, y := networkOf(l, networkX, 1, 3), networkOf(l, networkY, 4, 6)
		y[0].SetSeeds([]string{address(1)})
		l.within(40*time.Second, "both sides say so", func() bool { return reasonOf(x[0], 4) != "" && reasonOf(y[0], 1) != "" })
		for _, reason := range []string{reasonOf(x[0], 4), reasonOf(y[0], 1)} {
			if !strings.Contains(reason, networkX) || !strings.Contains(reason, networkY) {
				t.Errorf("reason %q does not name both networks", reason)
			}
		}
		time.Sleep(5 * time.Minute) // it is tried again and again
		if !allSee(x, 3) || !allSee(y, 3) {
			t.Error("the networks were glued together")
		}
		if r := x[0].Refusals()[0]; r.Name != "n4" || r.Address != address(4) || r.Fatal || time.Since(r.At) > time.Minute {
			t.Errorf("%+v", r)
		}
		if n := strings.Count(l.log.String(), "node refused"); n > 20 {
			t.Errorf("logged %d times", n)
		}
		y[0].SetSeeds(nil)
		time.Sleep(keepRefusal + time.Minute)
		if len(x[0].Refusals()) > 0 {
			t.Error("a refusal that is over is still shown")
		}
	})
}

// A lone node of another network gets no further than a whole one, by a join or
// by what others tell.
func TestANewNodeOfAnotherNetworkIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		x := networkOf(l, networkX, 1, 3)
		stray := l.open(9, address(9), func(c *Config) { c.Meta.NetworkID, c.Seeds = networkY, []string{address(2)} })
		l.within(time.Second, "both sides say so", func() bool { return reasonOf(x[1], 9) != "" && reasonOf(stray, 2) != "" })
		time.Sleep(time.Minute)
		if !strings.Contains(stray.Reason(), "another network") {
			t.Errorf("the stray's reason is %q", stray.Reason())
		}
		if !allSee(x, 3) || alive(stray) != 1 {
			t.Error("it was let in")
		}
	})
}

// A node without a network hears of two, decides for one, and is lost to the other.
func TestANodeThatFindsItsNetworkForgetsTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		x, y := networkOf(l, networkX, 1, 2), networkOf(l, networkY, 4, 5)
		e := l.open(9, address(9), func(c *Config) { c.Seeds = []string{address(1), address(4)} })
		l.within(5*time.Second, "it is let in by both", func() bool { return allSee(x, 3) && allSee(y, 3) && alive(e) == 5 })
		time.Sleep(time.Minute)
		if !allSee(x, 3) || !allSee(y, 3) {
			t.Fatal("the networks hear of each other through it")
		}
		e.Update(func(m *Meta) { m.NetworkID = networkX })
		if alive(e) != 3 {
			t.Error("the nodes of the other network are still shown")
		}
		l.within(15*time.Second, "it is of the one network only", func() bool {
			return allSee(x, 3) && alive(e) == 3 && state(y[0], 9) == "" && reasonOf(y[0], 9) != "" && reasonOf(e, 4) != ""
		})
		f := l.open(10, address(10), func(c *Config) { c.Meta.NetworkID, c.Seeds = networkX, []string{address(9)} })
		l.within(15*time.Second, "others join through it all the same", func() bool { return alive(f) == 4 })
		time.Sleep(time.Minute)
		if !allSee(x, 4) || !allSee(y, 2) {
			t.Errorf("x sees %d, y sees %d", alive(x[0]), alive(y[0]))
		}
	})
}

func TestTwoNodesOfOneNameClashOnAllSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(2)
		pools[0].Update(func(m *Meta) { m.HasState = true })
		pools[1].Update(func(m *Meta) { m.HasState = true })
		newer := l.open(0, address(3), func(c *Config) { c.Meta.Name = "N1" }) // the lower id does not help it
		pools = append(pools, newer)
		l.within(time.Second, "all say so", func() bool {
			for _, p := range pools {
				if !strings.Contains(reasonOf(p, 0), nodeID(1)) || reasonOf(p, 1) != "" {
					return false
				}
			}
			return true
		})
		if r := newer.Refusals()[0]; !r.Fatal || r.Name != "N1" || r.Address != address(3) || r.At.IsZero() {
			t.Errorf("the newer is not told that it must not be ready: %+v", r)
		}
		if r := pools[0].Refusals()[0]; r.Fatal {
			t.Errorf("the elder is told that it must not be ready: %+v", r)
		}
		time.Sleep(time.Minute)
		if !strings.Contains(l.log.String(), "name is taken") {
			t.Error("the clash was not logged")
		}
		l.net.Kill(address(3))
		l.within(5*time.Second, "a dead node claims no name", func() bool { return len(pools[0].Refusals()) == 0 })
	})
}

func TestACopyOfANodeIsToldSo(t *testing.T) {
	t.Run("of the same generation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, address(1))
			pools := l.form(2)
			clone := l.open(2, address(22), nil)
			l.within(20*time.Second, "all say so", func() bool {
				return reasonOf(pools[0], 2) != "" && reasonOf(clone, 2) != ""
			})
			if r := clone.Refusals()[0]; !r.Fatal || !strings.Contains(r.Reason, address(2)) || !strings.Contains(r.Reason, address(22)) {
				t.Errorf("%+v", r)
			}
		})
	})
	t.Run("started once more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, address(1))
			pools := l.form(2)
			clone := l.open(2, address(22), func(c *Config) { c.Meta.Generation = 2 })
			l.within(20*time.Second, "the older knows", func() bool { return reasonOf(pools[1], 2) != "" })
			if r := pools[1].Refusals()[0]; !r.Fatal || !strings.Contains(r.Reason, address(22)) {
				t.Errorf("%+v", r)
			}
			if member(pools[0], 2).Address != address(22) || len(clone.Refusals()) > 0 {
				t.Error("the newer start does not count")
			}
		})
	})
}

// speak makes a pool tell bytes of itself that it would never encode.
func (p *Pool) speak(meta []byte) {
	p.mu.Lock()
	p.meta = meta
	p.mu.Unlock()
	wake(p.dirty)
	synctest.Wait()
}

// What cannot be read is kept out and said.
func TestUnreadableMetadataIsRefusedWithTheReason(t *testing.T) {
	for name, meta := range map[string][]byte{
		"a newer program": {2, 0, 1, 2, 3}, "bytes": []byte("hello"), "empty": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, address(1))
				pools := l.form(2)
				odd := l.open(3, address(3), func(c *Config) { c.Seeds = nil })
				odd.speak(meta)
				odd.SetSeeds([]string{address(1)})
				l.within(20*time.Second, "it is said", func() bool { return reasonOf(pools[0], 3) != "" })
				t.Log(reasonOf(pools[0], 3))
				if r := pools[0].Refusals()[0]; r.NodeID != nodeID(3) || r.Address != address(3) || r.Fatal {
					t.Errorf("%+v", r)
				}
				time.Sleep(time.Minute)
				if !allSee(pools, 2) {
					t.Error("it was let in")
				}
			})
		})
	}
}

// Whoever sends rubbish in a node's name must not make it call itself not ready.
func TestRubbishInOnesOwnNameIsNotFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newLab(t).open(1, address(1), nil)
		n := &memberlist.Node{Name: nodeID(1) + ".99", Addr: net.IPv4(10, 0, 9, 9), Meta: []byte("rubbish")}
		if err := (callbacks{p}).NotifyAlive(n); err == nil {
			t.Fatal("let in")
		}
		if r := p.Refusals(); len(r) != 1 || r[0].Fatal {
			t.Errorf("%+v", r)
		}
	})
}

func TestMetadataOfALaterRevisionIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(2)
		odd := l.open(3, address(3), nil)
		odd.speak(append(append([]byte{1, 7}, odd.meta[2:]...), "more to come"...))
		time.Sleep(15 * time.Second)
		if !allSee(pools, 3) || len(pools[0].Refusals()) > 0 {
			t.Errorf("a later revision is refused: %+v", pools[0].Refusals())
		}
	})
}
