package node

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// down names the collectors whose nodes are not in sight.
func down(ids ...fsm.CollectorID) map[fsm.CollectorID]bool {
	out := map[fsm.CollectorID]bool{}
	for _, id := range ids {
		out[id] = true
	}
	return out
}

func TestDownCollectorIsChosenLast(t *testing.T) {
	for _, mode := range []fsm.Mode{fsm.ModeOne, fsm.ModeKey} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, `"c"`, cluster("c", mode, "a", "b"))
				b.start()
				b.up.setDown(down("a"))
				files := numbered("f", 200)
				for some := range slices.Chunk(files, 25) { // in less than downPause
					b.drop(some...)
					b.pass(downPause / 10)
				}
				b.wantHas("b", files...)
				b.wantEmpty()
				b.stop()
			})
		})
	}
}

// A file that a collector which works refuses for the moment waits for it and is
// not wasted on one that is not in sight.
func TestRefusedFileWaitsRatherThanGoDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		var full atomic.Bool
		full.Store(true)
		b.net.set(func(to string, o httpapi.Offer, batch bool) error {
			if o.Name != "f0007" {
				return nil
			}
			return refusesAt("b", &full)(to, o, batch)
		})
		b.start()
		b.up.setDown(down("a"))
		b.drop("first")
		b.pass(100 * time.Millisecond)
		b.drop(numbered("f", 20)...)
		b.pass(downPause / 2)
		if n := len(b.net.offersTo("a")); n != 0 {
			t.Errorf("%d offers to a, whose node is not in sight", n)
		}
		full.Store(false)
		b.pass(time.Minute)
		b.wantEmpty()
		b.stop()
	})
}

// A refusal for good is an answer too.
func TestDownCollectorThatRefusesIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Permanent, "too-large") })
		b.start()
		b.up.setDown(down("a"))
		b.drop("one")
		b.pass(time.Second)
		if st := targetOf(t, b, "a"); st.State != httpapi.TargetOK {
			t.Errorf("a answers and is %s (%s)", st.State, st.Reason)
		}
		b.stop()
	})
}

// As long as it has not answered one file at a time is enough to ask it.
func TestDownCollectorIsSentOneFileAtATime(t *testing.T) {
	to := &target{kind: peerRelay, down: true}
	for range 10 {
		to.push(&debt{of: &tracked{}, to: to})
	}
	if n := len(to.take(time.Now(), 8)); n != 1 {
		t.Errorf("the first request has %d files, want 1", n)
	}
	to.smallSending++
	if again := to.take(time.Now(), 8); again != nil {
		t.Errorf("a second request begins beside the first, with %d files", len(again))
	}
}

// The set that was passed belongs to the caller, who goes on with it.
func TestDownIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		b.start()
		ids := down("a")
		b.up.setDown(ids)
		delete(ids, "a")
		b.up.setDown(ids)
		if st := targetOf(t, b, "a"); st.State != httpapi.TargetOK {
			t.Errorf("a is %s (%s) after it was taken out of the set", st.State, st.Reason)
		}
		b.stop()
	})
}

// A collector that comes into the table while its node is not in sight ranks last too.
func TestDownCollectorThatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "b"))
		b.start()
		b.up.setDown(down("a"))
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeOne, "a", "b"))})
		files := numbered("f", 200)
		b.drop(files...)
		b.pass(time.Second)
		b.wantHas("b", files...)
		b.stop()
	})
}

// What was surely not offered moves on at once and is no duplicate; what is
// under way stays with the collector that may have it.
func TestBoundFilesLeaveADownCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		b.net.hang = map[string]bool{"a": true}
		b.start()
		files := numbered("f", 100)
		b.drop(files...)
		b.pass(100 * time.Millisecond)
		if n := targetOf(t, b, "a").Queued; n < 10 {
			t.Fatalf("%d files wait for a, want some", n)
		}
		b.up.setDown(down("a"))
		b.pass(100 * time.Millisecond)
		if n := len(b.net.got("b")); n != len(files)-1 {
			t.Fatalf("b has %d files, want all but the one that a is being sent\n%s", n, b.state())
		}
		for _, o := range b.net.offersTo("b") {
			if o.dup {
				t.Fatalf("%s is marked as a possible duplicate, but was never offered", o.name)
			}
		}
		b.stop()
	})
}

// An all cluster keeps what it owes, serves the others, and goes on when the
// node is back: at once, although the collector failed for long.
func TestDownCollectorOfAllIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("a", &dead))
		b.start()
		b.up.setDown(down("a"))
		files := numbered("f", 50)
		b.drop(files...)
		b.pass(10 * time.Minute)
		b.wantHas("b", files...)
		b.wantHas("a")
		dead.Store(false)
		b.up.setDown(nil)
		b.pass(50 * time.Millisecond)
		b.wantHas("a", files...)
		b.wantEmpty()
		b.stop()
	})
}

// Gossip can be wrong: a file now and then goes to the collector all the same,
// and when it answers it gets its share.
func TestDownCollectorThatAnswersIsUsed(t *testing.T) {
	for _, mode := range []fsm.Mode{fsm.ModeOne, fsm.ModeKey} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, `"c"`, cluster("c", mode, "a", "b"))
				b.start()
				b.up.setDown(down("a"))
				for range 20 { // in a key cluster the probe is a file whose key is at home there
					b.pass(downPause / 5)
					b.drop(numbered("probe"+time.Now().Format("0405")+"-", 4)...)
				}
				b.up.setDown(down("a")) // the same again is no news
				b.pass(time.Second)
				before := len(b.net.got("a"))
				b.drop(numbered("f", 400)...)
				b.pass(time.Second)
				if n := len(b.net.got("a")) - before; n < 100 {
					t.Fatalf("a answers and got %d of 400 files\n%s", n, b.state())
				}
				if st := targetOf(t, b, "a"); st.State != httpapi.TargetOK {
					t.Errorf("a answers and is %s (%s)", st.State, st.Reason)
				}
				b.wantEmpty()
				b.stop()
			})
		})
	}
}

// A node that sees nobody, since its gossip is cut off, delivers as ever.
func TestAllDownByGossipStillDelivers(t *testing.T) {
	for _, mode := range []fsm.Mode{fsm.ModeAll, fsm.ModeOne, fsm.ModeKey} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, `"c"`, cluster("c", mode, "a", "b"))
				b.start()
				b.up.setDown(down("a", "b"))
				b.drop(numbered("f", 300)...)
				b.pass(time.Second)
				b.wantEmpty()
				b.stop()
			})
		})
	}
}

// Files that wait for a collector which refuses them try the one that gossip
// lost, also when no new file comes.
func TestWaitingFilesProbeADownCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("b", &dead))
		b.start()
		b.up.setDown(down("a"))
		files := numbered("f", 100)
		b.drop(files...)
		b.pass(2 * time.Minute)
		b.wantHas("a", files...)
		b.wantEmpty()
		b.stop()
	})
}

func TestReportOfADownCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("a", &dead))
		b.start()
		b.up.setDown(down("a"))
		if st := targetOf(t, b, "a"); st.State != httpapi.TargetBackoff || st.Reason != reasonDown {
			t.Errorf("before a try: %s (%s)", st.State, st.Reason)
		}
		b.drop("one")
		b.pass(time.Second)
		if st := targetOf(t, b, "a"); st.State != httpapi.TargetBackoff || !strings.Contains(st.Reason, "made up by the test") {
			t.Errorf("after a failure: %s (%s), want what failed", st.State, st.Reason)
		}
		b.stop()
	})
}

// targetOf is what the report says of one collector.
func targetOf(t *testing.T, b *bench, id string) httpapi.Target {
	t.Helper()
	r := uploaderRole{cfg: Uploader{Name: "out"}, outbox: b.ob, uploader: b.up}
	for _, target := range r.report().Targets {
		if target.Collector == id {
			return target
		}
	}
	t.Fatalf("the report has no collector %s", id)
	return httpapi.Target{}
}
