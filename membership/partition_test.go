package membership

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func addresses(from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, address(i))
	}
	return out
}

// A network that was cut in two for so long that the library forgot the other
// half is whole again by the join loop, without a seed in it.
func TestALongPartitionHeals(t *testing.T) {
	for _, cut := range []time.Duration{10 * time.Second, 10 * time.Minute} {
		t.Run(cut.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLab(t, address(1))
				pools := l.form(7)
				for _, p := range pools {
					p.SetSeeds(nil)
				}
				l.net.Part(addresses(1, 4), addresses(5, 7))
				time.Sleep(cut)
				if !allSee(pools[:4], 4) || !allSee(pools[4:], 3) {
					t.Fatal("the halves still see each other")
				}
				l.net.Heal()
				took := l.within(maxRejoin, "whole again", func() bool { return allSee(pools, 7) })
				t.Logf("whole %v after the heal", took)
			})
		})
	}
}

// Two nodes that cannot send to each other in one direction stay members, since
// others carry the probes between them.
func TestACutBetweenTwoIsBridgedByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(5)
		l.net.Cut(address(1), address(2))
		for range 60 {
			time.Sleep(time.Second)
			if !allSee(pools, 5) {
				t.Fatalf("lost a member\n%s", l.log.tail(20))
			}
		}
	})
}

func TestWhereOnlyTCPGetsThroughTheReasonIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		pools := l.form(2)
		l.net.SetLoss(1) // packets only
		l.within(5*time.Second, "a reason", func() bool { return strings.Contains(member(pools[0], 2).Reason, "UDP") })
		time.Sleep(time.Minute)
		if !allSee(pools, 2) {
			t.Error("TCP did not keep them alive")
		}
		l.net.SetLoss(0)
		l.within(5*time.Second, "no reason", func() bool { return member(pools[0], 2).Reason == "" })
	})
}

func TestGossipBearsLossAndDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, address(1))
		l.net.SetDelay(20 * time.Millisecond)
		pools := l.form(5)
		l.net.SetLoss(0.05)
		flaps := 0
		for range 60 {
			time.Sleep(time.Second)
			if !allSee(pools, 5) {
				flaps++
			}
		}
		if flaps > 0 {
			t.Errorf("members lost in %d of 60 seconds", flaps)
		}
		pools[0].Update(func(m *Meta) { m.Expect = 5 })
		l.within(2*time.Second, "an update arrives", func() bool { return member(pools[4], 1).Expect == 5 })
	})
}
