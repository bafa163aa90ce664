package membership

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestCloseIsAStopAndLeaveIsForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(7)
		began := time.Now()
		if err := pools[6].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("Close took %v", took)
		}
		if err := pools[5].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest := pools[:5]
		l.within(time.Second, "all know", func() bool { return allSee(rest, 5) })
		for i, p := range rest {
			if m := member(p, 7); m.State != StateLeft || m.Intent != IntentStop {
				t.Errorf("node %d sees the stopped one as %s, %q", i+1, m.State, m.Intent)
			}
			if m := member(p, 6); m.State != StateLeft || m.Intent != IntentLeave {
				t.Errorf("node %d sees the one that left as %s, %q", i+1, m.State, m.Intent)
			}
		}
		if s := pools[5].Self(); s.State != StateLeft || s.Intent != IntentLeave {
			t.Errorf("it sees itself as %s, %q", s.State, s.Intent)
		}
		time.Sleep(2 * time.Minute) // nothing brings it back: not the join loop, here or there
		if !allSee(rest, 5) || alive(pools[5]) != 5 {
			t.Error("the one that left is back, or blind")
		}
		if err := pools[5].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		rest[0].expire(time.Now().Add(keepLeft))
		if state(rest[0], 6) != "" || state(rest[0], 7) != StateLeft {
			t.Error("after an hour the one that left is to be gone, the one that stopped is not")
		}
		again := l.open(7, address(7), func(c *Config) { c.Meta.Generation = 2 })
		l.within(time.Second, "back after a stop", func() bool { return allSee(append(rest, again), 6) })
		if m := member(rest[0], 7); m.Intent != IntentNone {
			t.Errorf("it still intends to %s", m.Intent)
		}
	})
}

// The word of the update must not take the place of the intent.
func TestAStopRightAfterAnUpdateIsSeenAsAStop(t *testing.T) {
	for range 30 {
		synctest.Test(t, func(t *testing.T) {
			l := newLab(t, address(1))
			pools := l.form(3)
			time.Sleep(time.Second)
			pools[2].Update(func(m *Meta) { m.Role = RoleVoter })
			l.within(time.Second, "the update", func() bool { return member(pools[0], 3).Role == RoleVoter })
			pools[2].Update(func(m *Meta) { m.Role = RoleNonvoter })
			if err := pools[2].Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			l.within(time.Second, "the end", func() bool { return allSee(pools[:2], 2) })
			for _, p := range pools[:2] {
				if m := member(p, 3); m.Intent != IntentStop || m.State != StateLeft || m.Role != RoleNonvoter {
					t.Errorf("seen as %s, %q, %q", m.State, m.Intent, m.Role)
				}
			}
		})
	}
}

func TestLeaveAndCloseInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(2)
		for range 2 {
			if err := pools[1].Leave(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if err := pools[1].Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := pools[1].Leave(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Leave after Close: %v, want ErrClosed", err)
		}
		pools[1].Update(func(m *Meta) { m.Expect = 3 })
		pools[1].SetSeeds(nil)
		pools[1].Forget(nodeID(1))
		if m := member(pools[0], 2); m.State != StateLeft || m.Intent != IntentLeave {
			t.Errorf("Close made of leave %s, %q", m.State, m.Intent)
		}
		if len(pools[1].Members()) != 2 {
			t.Error("what was known last is gone")
		}
	})
}

func TestAnIntentToLeaveOutlivesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(2)
		pools[1].Update(func(m *Meta) { m.Intent = IntentLeave })
		if err := pools[1].Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.within(time.Second, "it left", func() bool { return member(pools[0], 2).Intent == IntentLeave && state(pools[0], 2) == StateLeft })
	})
}

// Close does not wait for others that are not there, nor for a dial under way.
func TestCloseIsBoundedWhenNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(3)
		l.net.Part([]string{address(1)}, []string{address(2), address(3)})
		time.Sleep(30 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		if err := pools[0].Close(ctx); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > streamTimeout+time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestStoppedAndFailedAreKeptForThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		tab := newTable(Member{Meta: testMeta(1)})
		for i := 2; i <= 4; i++ {
			tab.comes(Member{Meta: testMeta(i), Address: address(i)}, now)
		}
		tab.others[nodeID(3)].Intent = IntentStop
		tab.others[nodeID(4)].Intent = IntentLeave
		for i := 2; i <= 4; i++ {
			tab.goes(testMeta(i).gossipName(), now)
		}
		shown := func(after time.Duration) (n int) {
			tab.expire(now.Add(after))
			return len(tab.others)
		}
		if shown(time.Hour) != 3 || shown(time.Hour+1) != 2 || shown(72*time.Hour) != 2 || shown(72*time.Hour+1) != 0 {
			t.Error("kept too long or not long enough")
		}
	})
}
