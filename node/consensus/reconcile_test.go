package consensus

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bucket-relay/bucket-relay/fsm"
)

func TestLoopGrowsANetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := newFakeSeat(t, "1", "1"), newCrowd(member("1"))
		r, _ := lead(t, f, c, nil)
		after(t, f, time.Second, "init net", "put n1")
		c.put(member("2"))
		after(t, f, time.Second, "put n2", "nonvoter 2 at h2:1")
		after(t, f, time.Hour)
		if why := (*r.reasons.Load())["2"]; !strings.HasPrefix(why, "spare") {
			t.Errorf("the reason why 2 is no voter is %q", why)
		}
		c.put(member("3"))
		after(t, f, 9*time.Second, "put n3", "nonvoter 3 at h3:1")
		after(t, f, 3*time.Second, "voter 2 at h2:1", "voter 3 at h3:1")
		after(t, f, time.Hour)
	})
}

// after lets time pass and compares what was done in it.
func after(t *testing.T, f *fakeSeat, d time.Duration, want ...string) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	if diff := cmp.Diff(want, f.took()); diff != "" {
		t.Errorf("within %s: -want +got\n%s", d, diff)
	}
}

// orderly is a fake of voters that are all in good order.
func orderly(t *testing.T, ids ...string) (*fakeSeat, *crowd) {
	f, c := newFakeSeat(t, ids[0], ids...), newCrowd()
	f.state.NetworkID = "net"
	for _, id := range ids {
		m := member(id)
		c.put(m)
		f.state.Nodes = append(f.state.Nodes, fsm.Node{ID: m.ID, Name: m.Name, HTTP: m.HTTP})
	}
	return f, c
}

func TestLoopSwapsADeadVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1", "2", "3")
		c.put(member("4"))
		lead(t, f, c, nil)
		after(t, f, time.Minute, "put n4", "nonvoter 4 at h4:1")
		kill(f, c, "3")
		after(t, f, 29*time.Second)
		after(t, f, 2*time.Second, "voter 4 at h4:1", "demote 3")
		revive(f, c, "3")
		after(t, f, time.Hour)
		kill(f, c, "3")
		after(t, f, 170*time.Minute)
		after(t, f, 20*time.Minute, "remove 3", "delete 3")
	})
}

func kill(f *fakeSeat, c *crowd, id string) {
	f.with(func() { f.contact[id] = time.Hour })
	c.change(id, func(m *Member) { m.Alive = false })
}

func revive(f *fakeSeat, c *crowd, id string) {
	f.with(func() { f.contact[id] = 0 })
	c.change(id, func(m *Member) { m.Alive = true })
}

// A voter that gossip takes for dead, but that answers raft, keeps its vote.
func TestLoopBelievesRaft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1", "2", "3")
		c.put(member("4"))
		lead(t, f, c, nil)
		after(t, f, time.Minute, "put n4", "nonvoter 4 at h4:1")
		c.change("3", func(m *Member) { m.Alive = false })
		after(t, f, time.Hour)
		f.with(func() { f.contact["3"] = time.Hour })
		after(t, f, 29*time.Second)
		after(t, f, 12*time.Second, "voter 4 at h4:1", "demote 3")
	})
}

func TestLoopHeedsGossipAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1", "2", "3")
		lead(t, f, c, nil)
		after(t, f, time.Minute)
		c.change("2", func(m *Member) { m.Raft = "elsewhere:1" })
		after(t, f, 20*time.Millisecond, "voter 2 at elsewhere:1")
	})
}

func TestLoopRetriesAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f, c := orderly(t, "1")
		f.fail["put n2"] = errors.New("no such luck")
		lead(t, f, c, slog.New(slog.NewTextHandler(&log, nil)))
		synctest.Wait()
		c.put(member("2"))
		after(t, f, 900*time.Millisecond, "put n2 failed", "nonvoter 2 at h2:1")
		after(t, f, time.Second, "put n2 failed")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(f.took()); n < 15 || n > 30 {
			t.Errorf("tried %d times in ten minutes", n)
		}
		if n := strings.Count(log.String(), "no such luck"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
		f.with(func() { delete(f.fail, "put n2") })
		after(t, f, 31*time.Second, "put n2")
	})
}

// What has no effect, here a transfer after which the leader is the same, is not
// done again and again without a pause.
func TestLoopDoesNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1", "2", "3")
		lead(t, f, c, nil)
		synctest.Wait()
		c.change("1", func(m *Member) { m.Leaving = true })
		after(t, f, 900*time.Millisecond, "transfer to 2")
		after(t, f, 30*time.Second, "transfer to 2", "transfer to 2", "transfer to 2", "transfer to 2")
	})
}

func TestLoopWaitsForTheBarrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1")
		c.put(member("2"))
		begin := time.Now()
		f.atBarrier = func() error {
			if time.Since(begin) < 5*time.Second {
				return errors.New("not yet")
			}
			return nil
		}
		lead(t, f, c, nil)
		after(t, f, 4900*time.Millisecond)
		after(t, f, time.Second, "put n2", "nonvoter 2 at h2:1")
	})
}

// A nonvoter that gossip sees but raft does not reach keeps nobody from trying
// for its place, and is left alone: it would not learn that it is out.
func TestLoopTriesAnotherNonvoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1", "2", "3", "4")
		for _, id := range []string{"5", "6"} {
			c.put(member(id))
		}
		f.with(func() { f.contact["5"] = -1 })
		r, _ := lead(t, f, c, nil)
		after(t, f, time.Second, "put n5", "put n6", "nonvoter 5 at h5:1")
		if why := (*r.reasons.Load())["5"]; why != "gives the leader no answer over raft" {
			t.Errorf("the reason of 5 is %q", why)
		}
		if why := (*r.reasons.Load())["6"]; !strings.HasPrefix(why, "follows the table") {
			t.Errorf("the reason of 6 is %q", why)
		}
		after(t, f, 58*time.Second)
		after(t, f, 3*time.Second, "nonvoter 6 at h6:1", "voter 6 at h6:1")
		after(t, f, time.Hour)
		f.with(func() { f.contact["5"] = 0 })
		after(t, f, 2*time.Second, "remove 5")
	})
}

// A server that gossip does not know is given its full time by every new leader.
func TestLoopBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1", "2", "3")
		c.forget("3")
		f.contact["3"] = time.Hour
		r, stop := lead(t, f, c, nil)
		after(t, f, 170*time.Minute)
		stop()
		if r.reasons.Load() != nil {
			t.Error("reasons are left of a leadership that is over")
		}
		lead(t, f, c, nil)
		after(t, f, 170*time.Minute)
		after(t, f, 20*time.Minute, "remove 3", "demote 2", "delete 3")
	})
}

func TestLoopDropsSilentCollectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, c := orderly(t, "1")
		// The clock of whoever led before was an hour behind, or ahead.
		for id, skew := range map[fsm.CollectorID]time.Duration{"behind": -time.Hour, "ahead": time.Hour} {
			f.beating[id] = fsm.Beat{Last: time.Now().Add(skew), Every: 2 * time.Second}
		}
		beat := func() {
			f.with(func() { f.beating["alive"] = fsm.Beat{Last: time.Now(), Every: 2 * time.Second} })
		}
		beat()
		lead(t, f, c, nil)
		time.Sleep(4 * time.Second)
		beat()
		after(t, f, 1900*time.Millisecond)
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if n := len(f.took()); n != 2 {
			t.Errorf("%d collectors dropped after three intervals, want two", n)
		}
		for range 20 {
			beat()
			after(t, f, 2*time.Second)
		}
		last := time.Now().Add(-2 * time.Second).UnixMilli()
		after(t, f, 3900*time.Millisecond)
		after(t, f, 200*time.Millisecond, "drop alive silent since "+itoa(last))
	})
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestLoopIsNotKeptBusyByWhatIsOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeSeat(t, "n1", "n1")
		f.beating["c1"] = fsm.Beat{Last: time.Now(), Every: time.Second}
		r := &reconciler{seat: f, timing: Timing{}.withDefaults(), memory: newMemory()}
		s := situation{now: time.Now(), self: "n1", timing: r.timing}
		r.memory.look(&s, f.beats())
		if got := r.wait(newPicture(s)); got != 3*time.Second+time.Millisecond {
			t.Errorf("it looks again after %s", got)
		}
		s.now = s.now.Add(10 * time.Second) // it could not be removed
		if got := r.wait(newPicture(s)); got != lookAgain {
			t.Errorf("overdue, it looks again after %s", got)
		}
	})
}
