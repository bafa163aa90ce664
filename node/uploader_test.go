package node

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

func TestAllGivesEveryCollectorACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		b.start()
		files := numbered("f", 300)
		b.drop(files...)
		b.pass(time.Second)
		b.wantHas("a", files...)
		b.wantHas("b", files...)
		b.wantEmpty()
		b.stop()
	})
}

// A dead collector of an all cluster holds up only what is owed to it, however
// much that is: beyond the window it is parked, and all of it arrives once the
// collector is back.
func TestDeadCollectorHoldsUpOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `name startsWith "x" ? "other" : "c"`,
			cluster("c", fsm.ModeAll, "a", "b"), cluster("other", fsm.ModeAll, "o"))
		b.cfg.Window = 1 // the least: one batch per collector
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if to == "b" {
				return failWith(httpapi.Refused, httpapi.CodeUnreachable)
			}
			return nil
		})
		b.start()
		files, others := numbered("f", 2000), numbered("x", 100)
		b.drop(files...)
		b.drop(others...)
		b.pass(20 * time.Second)
		b.wantHas("a", files...)
		b.wantHas("o", others...)
		if held := b.up.held("b"); held > 2*batchFiles {
			t.Errorf("%d items in memory for the dead collector, want at most %d", held, 2*batchFiles)
		}
		b.net.set(nil)
		b.pass(time.Minute)
		b.wantHas("b", files...)
		b.wantEmpty()
		if n := len(b.net.offersTo("a")); n != len(files) {
			t.Errorf("the healthy collector was offered %d items, want %d", n, len(files))
		}
		b.stop()
	})
}

func (u *uploader) held(id fsm.CollectorID) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.targets[id].held()
}

// A collector that takes files but hardly gets on holds up neither the files of
// other clusters behind its own in the directory, nor the memory.
func TestSlowCollectorHoldsUpOnlyItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `name startsWith "x" ? "other" : "c"`,
			cluster("c", fsm.ModeAll, "slow"), cluster("other", fsm.ModeAll, "o"))
		b.cfg.Window = 1 // the least: one batch per collector
		b.net.hang = map[string]bool{"slow": true}
		others := numbered("x", 700)
		b.drop(numbered("f", 2000)...)
		b.drop(others...)
		b.start()
		b.pass(3 * time.Second)
		b.wantHas("o", others...)
		if held := b.up.held("slow"); held > 2*batchFiles {
			t.Errorf("%d items in memory for the slow collector, want at most %d", held, 2*batchFiles)
		}
		b.stop()
	})
}

func TestRestartKeepsIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Unknown, httpapi.CodeCut) })
		b.start()
		b.drop("one", "two")
		b.pass(time.Minute)
		ids := map[string]string{}
		for _, o := range b.net.offersTo("a") {
			ids[o.name] = o.id
		}
		b.stop()
		b.net.set(nil)
		b.start()
		b.pass(time.Minute)
		b.wantHas("a", "one", "two")
		b.wantEmpty()
		for _, o := range b.net.offersTo("a") {
			if ids[o.name] != o.id {
				t.Errorf("%s was offered as %s and as %s", o.name, ids[o.name], o.id)
			}
		}
		b.stop()
	})
}

func TestUnknownClusterStaysUntilItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `ext == ".a" ? "none" : ext == ".b" ? "empty" : ext == ".n" ? nil : "c"`,
			cluster("c", fsm.ModeAll, "a"), cluster("empty", fsm.ModeAll))
		b.start()
		b.drop("1.a", "2.b", "3.n", "4.x")
		b.pass(time.Second)
		b.wantHas("a", "4.x")
		for _, reason := range []string{"cluster none is unknown", "cluster empty has no members"} {
			if s := b.state(); !strings.Contains(s, reason) {
				t.Errorf("%q is not told:\n%s", reason, s)
			}
		}
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(
			cluster("none", fsm.ModeAll, "n"), cluster("empty", fsm.ModeAll, "e"), cluster("c", fsm.ModeAll, "a"))})
		b.pass(time.Second)
		b.wantHas("n", "1.a")
		b.wantHas("e", "2.b")
		if left := b.left(); len(left) != 1 || left[0] != "3.n" {
			t.Errorf("left %v, want only 3.n", left)
		}
		b.stop()
	})
}

// Rules are applied again until a collector has accepted the item. It keeps its
// id: a collector that has it, with the answer lost, must know it again.
func TestNewRulesMoveWhatNobodyAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"old"`, cluster("old", fsm.ModeAll, "a", "b"), cluster("new", fsm.ModeAll, "n"))
		b.net.set(func(to string, o httpapi.Offer, _ bool) error {
			if to == "b" || o.Name == "moved" && to == "a" {
				return failWith(httpapi.Refused, "full")
			}
			return nil
		})
		b.start()
		b.drop("accepted")
		b.pass(time.Second)
		b.drop("moved")
		b.pass(time.Second)
		b.up.setRoutes(routes{rules: mustParseRules(t, `"new"`), table: b.r.table})
		b.pass(10 * time.Second)
		b.wantHas("n", "moved")
		b.wantHas("a", "accepted")
		b.net.set(nil)
		b.pass(time.Minute)
		b.wantHas("b", "accepted")
		b.wantEmpty()
		id := b.net.offersTo("n")[0].id
		for _, o := range b.net.offersTo("a") {
			if o.name == "moved" && o.id != id {
				t.Errorf("the re-routed item was %s and is %s", o.id, id)
			}
		}
		b.stop()
	})
}

// What is owed to a collector that left the table no longer is.
func TestCollectorThatLeavesIsOwedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if to == "b" {
				return failWith(httpapi.Refused, httpapi.CodeUnreachable)
			}
			return nil
		})
		b.start()
		files := numbered("f", 700)
		b.cfg.Window = 1
		b.drop(files...)
		b.pass(5 * time.Second)
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeAll, "a"))})
		b.pass(time.Minute)
		b.wantHas("a", files...)
		b.wantHas("b")
		b.wantEmpty()
		// It comes back, well, and is owed what is new.
		b.net.set(nil)
		b.up.setRoutes(b.r)
		b.drop("new")
		b.pass(time.Second)
		b.wantHas("b", "new")
		b.stop()
	})
}

// The collector of a one cluster leaves and there is no other: the file waits,
// although another cluster has it already, and goes to the next that comes.
func TestFileOutlivesTheOnlyCollectorOfItsCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := func(ids ...string) fsm.Table {
			return tableOf(cluster("c1", fsm.ModeAll, "a"), cluster("c2", fsm.ModeOne, ids...))
		}
		b := newBench(t, `["c1","c2"]`, cluster("c1", fsm.ModeAll, "a"), cluster("c2", fsm.ModeOne, "x"))
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if to == "x" {
				return failWith(httpapi.Refused, httpapi.CodeUnreachable)
			}
			return nil
		})
		b.start()
		b.drop("f1", "f2", "f3")
		b.pass(5 * time.Second)
		b.up.setRoutes(routes{rules: b.r.rules, table: one()})
		b.pass(time.Minute)
		if left := b.left(); len(left) != 3 {
			t.Fatalf("%d claims left, want 3: nobody of c2 has them", len(left))
		}
		if s := b.state(); !strings.Contains(s, "left its cluster") {
			t.Errorf("not told:\n%s", s)
		}
		b.up.setRoutes(routes{rules: b.r.rules, table: one("y")})
		b.pass(time.Minute)
		b.wantHas("y", "f1", "f2", "f3")
		b.wantHas("a", "f1", "f2", "f3")
		b.wantEmpty()
		b.stop()
	})
}

// A reload that changes nothing changes nothing for items that were parked.
func TestReloadKeepsWhatWasParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `["c1","c2"]`, cluster("c1", fsm.ModeAll, "a"), cluster("c2", fsm.ModeAll, "b"))
		b.cfg.Window = 1
		taken := 1 << 20
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if taken--; to == "b" && (taken > 1<<19 || taken < 0) {
				return failWith(httpapi.Refused, httpapi.CodeUnreachable)
			}
			return nil
		})
		b.start()
		files := numbered("f", 1500)
		b.drop(files...)
		b.pass(10 * time.Second)
		b.wantHas("a", files...)
		b.net.mu.Lock()
		taken = 600 // b takes some, with parked ones among them, and is gone again
		b.net.mu.Unlock()
		b.pass(time.Minute)
		b.up.setRoutes(b.r)
		b.pass(time.Minute)
		b.net.set(nil)
		b.pass(2 * time.Minute)
		b.wantHas("a", files...)
		b.wantHas("b", files...)
		b.wantEmpty()
		b.stop()
	})
}

// Items that are in memory for one dead collector and parked for another: when
// the second is back it gets them at once, and none of them is forgotten.
func TestTwoCollectorsDieInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		b.cfg.Window = 1
		down := map[string]bool{"b": true}
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if down[to] {
				return failWith(httpapi.Refused, httpapi.CodeUnreachable)
			}
			return nil
		})
		turn := func(id string, is bool) {
			b.net.mu.Lock()
			down[id] = is
			b.net.mu.Unlock()
		}
		b.start()
		first, second := numbered("f", 1200), numbered("g", 800)
		b.drop(first...)
		b.pass(20 * time.Second)
		b.wantHas("a", first...)
		turn("a", true)
		b.drop(second...)
		b.pass(20 * time.Second)
		turn("b", false)
		b.pass(2 * time.Minute)
		b.ob.Rescan()
		b.pass(2 * time.Minute)
		b.wantHas("b", append(first, second...)...)
		turn("a", false)
		b.pass(2 * time.Minute)
		b.wantHas("a", append(first, second...)...)
		b.wantEmpty()
		b.stop()
	})
}

func TestPermanentRefusalGoesToDeadWithReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		b.net.set(func(to string, o httpapi.Offer, _ bool) error {
			if to == "b" && o.Name == "bad" {
				return failWith(httpapi.Permanent, "too-large")
			}
			return nil
		})
		b.start()
		b.drop("bad", "good")
		b.pass(time.Second)
		b.wantHas("a", "bad", "good")
		b.wantHas("b", "good")
		dead, err := b.ob.Dead(t.Context(), 10)
		if err != nil || len(dead) != 1 {
			t.Fatalf("dead: %v %v", dead, err)
		}
		why := dead[0].Obituary
		if why.Code != "too-large" || why.Collector != "b" || len(why.Owed) != 1 || len(why.Delivered) != 1 {
			t.Errorf("reason %+v", why)
		}
		// A retry reaches only the one that lacks it, under a new id.
		b.net.set(nil)
		if err := b.ob.Retry(t.Context(), dead[0].ID); err != nil {
			t.Fatal(err)
		}
		poke(b.up.wake)
		b.pass(time.Second)
		b.wantHas("a", "bad", "good")
		b.wantHas("b", "bad", "good")
		b.wantEmpty()
		b.stop()
	})
}

func TestDigestMismatchIsTriedAgainThenDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.net.set(func(_ string, o httpapi.Offer, _ bool) error {
			if o.Name == "flipped" {
				return failWith(httpapi.Passing, codeDigestMismatch)
			}
			return nil
		})
		b.start()
		b.drop("flipped", "fine")
		b.pass(time.Minute)
		b.wantHas("a", "fine")
		if n := len(b.net.offersTo("a")); n != maxMismatches+1 {
			t.Errorf("%d offers, want %d", n, maxMismatches+1)
		}
		if left := b.left(); len(left) != 2 || !strings.Contains(left[0], "dead/") {
			t.Errorf("left %v, want the file and its reason in dead/", left)
		}
		b.stop()
	})
}

func TestSettledForAHeldFileIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Settled, httpapi.CodeSettled) })
		b.start()
		b.drop("held")
		b.pass(time.Minute)
		dead, err := b.ob.Dead(t.Context(), 10)
		if err != nil || len(dead) != 1 || dead[0].Obituary.Code != "settled" {
			t.Fatalf("dead: %+v %v", dead, err)
		}
		b.stop()
	})
}

// A file that a collector can't digest waits behind the others.
func TestPoisonedFileHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.net.set(func(_ string, o httpapi.Offer, _ bool) error {
			if o.Name == "poison" {
				return failWith(httpapi.Unknown, httpapi.CodeCut)
			}
			return nil
		})
		b.start()
		b.drop("poison")
		b.pass(time.Second)
		files := numbered("f", 500)
		b.drop(files...)
		b.pass(10 * time.Second)
		b.wantHas("a", files...)
		b.stop()
	})
}

// The original's collector gets bare PUTs, never a batch, and counts as
// at-least-once; a collector that was not spoken to yet gets one PUT first.
func TestOriginalCollectorGetsSinglePUTs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `["c","d"]`, cluster("c", fsm.ModeAll, "old"), cluster("d", fsm.ModeAll, "new"))
		b.net.bare = map[string]bool{"old": true}
		b.start()
		files := numbered("f", 200)
		b.drop(files...)
		b.pass(time.Second)
		b.wantHas("old", files...)
		b.wantHas("new", files...)
		b.wantEmpty()
		for _, o := range b.net.offersTo("old") {
			if o.batch {
				t.Fatalf("%s went to the original's collector in a batch", o.name)
			}
		}
		offers := b.net.offersTo("new")
		if offers[0].batch || !slices.ContainsFunc(offers, func(o offered) bool { return o.batch }) {
			t.Errorf("first offer in a batch: %v; want one PUT, then batches", offers[0].batch)
		}
		if s := b.state(); !strings.Contains(s, `"at_least_once": true`) {
			t.Errorf("not said:\n%s", s)
		}
		b.stop()
	})
}

func TestMaxAgeSetsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.cfg.MaxAge = time.Hour
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Refused, "full") })
		b.start()
		b.drop("late")
		b.pass(50 * time.Minute)
		if dead, _ := b.ob.Dead(t.Context(), 10); len(dead) != 0 {
			t.Fatalf("set aside too early: %+v", dead)
		}
		b.pass(20 * time.Minute)
		dead, err := b.ob.Dead(t.Context(), 10)
		if err != nil || len(dead) != 1 || dead[0].Obituary.Code != "max-age" || !strings.Contains(dead[0].Obituary.Reason, "full") {
			t.Fatalf("dead: %+v %v", dead, err)
		}
		b.stop()
	})
}

// A writer that still had the file open and wrote after it was delivered: the
// new content is sent as a new item, and the claim is not removed on the old
// receipt.
func TestFileChangedAfterDeliveryIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		var f *os.File
		b.net.set(func(_ string, o httpapi.Offer, _ bool) error {
			if f != nil {
				_, err := f.WriteString(" and more")
				_ = f.Close()
				f = nil
				return err
			}
			return nil
		})
		b.start()
		b.drop("log")
		b.pass(20 * time.Millisecond)
		var err error
		if f, err = os.OpenFile(filepath.Join(b.dir, "log"), os.O_RDWR|os.O_APPEND, 0); err != nil {
			t.Fatal(err)
		}
		// The lease shows the writer, so take it by a claim that does not look.
		b.stop()
		b.ready = "rename"
		b.start()
		b.pass(time.Minute)
		got := b.net.got("a")
		if len(got) != 2 || got[1] != "log=content of log and more" {
			t.Fatalf("got %q", got)
		}
		b.wantEmpty()
		b.stop()
	})
}

func TestMarksFollowWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.net.set(func(_ string, o httpapi.Offer, _ bool) error {
			if o.Name == "stuck" {
				return failWith(httpapi.Unknown, httpapi.CodeCut)
			}
			return nil
		})
		b.start()
		for _, n := range []string{"1", "2", "stuck", "4", "5", "6"} {
			b.drop(n)
			b.pass(time.Second)
		}
		b.pass(time.Minute)
		offers := b.net.offersTo("a")
		last := offers[len(offers)-1]
		if len(last.settled) != 1 || last.settled[0].Seq != 2 {
			t.Fatalf("last marks %+v, want up to 2: item 3 is pending", last.settled)
		}
		b.net.set(nil)
		b.pass(time.Minute)
		b.drop("7")
		b.pass(time.Second)
		offers = b.net.offersTo("a")
		last = offers[len(offers)-1]
		if len(last.settled) != 1 || last.settled[0].Seq != 6 {
			t.Fatalf("last marks %+v, want up to 6", last.settled)
		}
		b.stop()
	})
}
