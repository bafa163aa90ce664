package node

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// A refused file of a cluster without a mode stays with the collector that is
// owed it: the other one has it already.
func TestEmptyModeOwesEachCollectorACopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", "", "a", "b"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("a", &dead))
		b.start()
		files := numbered("f", 20)
		b.drop(files...)
		b.pass(2 * time.Minute)
		if n := len(b.net.offersTo("b")); n != len(files) {
			t.Errorf("b was offered %d files, want each once", n)
		}
		dead.Store(false)
		b.pass(2 * time.Minute)
		b.wantHas("a", files...)
		b.wantHas("b", files...)
		b.wantEmpty()
		b.stop()
	})
}

// A claim of an all cluster of one collector is bound to nobody, so that one
// that comes gets a copy too, whichever way the mode is spelled then.
func TestEmptyModeBindsNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", "", "a"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("a", &dead))
		b.start()
		b.drop("one")
		b.pass(time.Minute)
		if left := b.left(); len(left) != 1 || strings.Contains(left[0], "@a") {
			t.Fatalf("the outbox has %v, want a claim that is bound to nobody", left)
		}
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeAll, "a", "b"))})
		b.pass(time.Minute)
		b.wantHas("b", "one")
		dead.Store(false)
		b.pass(time.Minute)
		b.wantHas("a", "one")
		b.wantEmpty()
		b.stop()
	})
}

// The spelling of the mode is no reason to plan a file anew.
func TestDebtsStandWhenTheModeIsSpelledOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", "", "a"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("a", &dead))
		b.start()
		b.drop("one")
		b.pass(time.Minute)
		debtOf := func() *debt {
			b.up.mu.Lock()
			defer b.up.mu.Unlock()
			for _, t := range b.up.active {
				return t.debts[0]
			}
			return nil
		}
		before := debtOf()
		b.up.setRoutes(routes{rules: mustParseRules(t, `"c"`), table: tableOf(cluster("c", fsm.ModeAll, "a"))})
		b.pass(time.Second)
		if after := debtOf(); before == nil || after != before {
			t.Errorf("the debt is %p, want %p as before", after, before)
		}
		b.stop()
	})
}

func TestCourierOfAClusterWithoutAMode(t *testing.T) {
	a, b := newFakeCollector(t, "a", nil), newFakeCollector(t, "b", nil)
	if d := sendTo(t, "", "", 0, []string{"x"}, a, b)[0]; len(d.Receipts) != 2 {
		t.Errorf("receipts %v, errors %v; want those of a and b", d.Receipts, d.Errors)
	}
}
