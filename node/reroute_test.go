package node

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// refusesAt makes one collector unreachable while down is true.
func refusesAt(collector string, down *atomic.Bool) func(string, httpapi.Offer, bool) error {
	return func(to string, _ httpapi.Offer, _ bool) error {
		if to == collector && down.Load() {
			return failWith(httpapi.Refused, httpapi.CodeUnreachable)
		}
		return nil
	}
}

// benchWithParked leaves more files waiting for the dead collector a of cluster
// c than fit into memory. Nobody has any of them.
func benchWithParked(t *testing.T, down *atomic.Bool) (*bench, []string) {
	b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"), cluster("o", fsm.ModeAll, "y"))
	b.cfg.Window = 1
	down.Store(true)
	b.net.set(refusesAt("a", down))
	b.start()
	first, second := numbered("f", 200), numbered("g", 256)
	b.drop(first...)
	b.pass(5 * time.Second)
	b.drop(second...)
	b.pass(40 * time.Second)
	return b, append(first, second...)
}

// What is parked for the only collector of a cluster nobody has: when that
// collector leaves, all of it goes to the one that comes in its place.
func TestParkedFilesOutliveTheirCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b, files := benchWithParked(t, &down)
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeAll, "d"))})
		b.pass(2 * time.Minute)
		b.wantHas("d", files...)
		b.wantEmpty()
		b.stop()
	})
}

// A collector that moves to another cluster takes nothing of its old one along.
func TestParkedFilesStayInTheirCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		b, files := benchWithParked(t, &down)
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(
			cluster("c", fsm.ModeAll, "x", "z"), cluster("o", fsm.ModeAll, "a"))})
		b.pass(time.Minute)
		down.Store(false)
		b.pass(2 * time.Minute)
		b.wantHas("x", files...)
		b.wantHas("z", files...)
		b.wantHas("a")
		b.wantEmpty()
		b.stop()
	})
}

func TestFileInMemoryStaysInItsCluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"), cluster("o", fsm.ModeAll, "x"))
		var down atomic.Bool
		down.Store(true)
		b.net.set(refusesAt("a", &down))
		b.start()
		b.drop("one")
		b.pass(time.Minute)
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeAll, "x"), cluster("o", fsm.ModeAll, "a"))})
		b.pass(time.Minute)
		down.Store(false)
		b.pass(time.Minute)
		b.wantHas("x", "one")
		b.wantHas("a")
		b.wantEmpty()
		b.stop()
	})
}

// A retried dead letter is for the collector that lacks it, whatever is reloaded
// meanwhile: the others published it under its old id.
func TestReloadLeavesARetryToItsCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if to == "a" {
				return failWith(httpapi.Permanent, "too-large")
			}
			return nil
		})
		b.start()
		b.drop("one")
		b.pass(time.Minute)
		dead, err := b.ob.Dead(t.Context(), 0)
		if err != nil || len(dead) != 1 {
			t.Fatal(dead, err)
		}
		var down atomic.Bool
		down.Store(true)
		b.net.set(refusesAt("a", &down))
		if err := b.ob.Retry(t.Context(), dead[0].ID); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Minute)
		b.up.setRoutes(b.r)
		b.pass(time.Minute)
		down.Store(false)
		b.pass(time.Minute)
		b.wantHas("b", "one")
		b.wantHas("a", "one")
		b.wantEmpty()
		b.stop()
	})
}
