package node

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// draining has some collectors of a cluster drain.
func draining(cl fsm.Cluster, ids ...fsm.CollectorID) fsm.Cluster {
	cl.Collectors = slices.Clone(cl.Collectors)
	for i, c := range cl.Collectors {
		if slices.Contains(ids, c.ID) {
			cl.Collectors[i].State = fsm.StateDraining
		}
	}
	return cl
}

// What was claimed before a collector began to drain is delivered to it, in
// memory or parked, also when another change has the claims read again, or the
// node is started anew; what comes later is not.
func TestDrainingCollectorGetsWhatItWasOwed(t *testing.T) {
	for _, after := range []string{"the drain alone", "another member", "a reload", "a restart", "a restart without a table"} {
		t.Run(after, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
				b.r.rules = mustRulesTo(t, "c")
				b.cfg.Window = 1
				var dead atomic.Bool
				dead.Store(true)
				b.net.set(refusesAt("a", &dead))
				b.start()
				old := append(numbered("f", 200), numbered("g", 200)...)
				b.drop(old[:200]...)
				b.pass(10 * time.Second)
				b.drop(old[200:]...)
				b.pass(10 * time.Second)
				if b.parkedFor("a") == 0 {
					t.Fatal("nothing is parked for a")
				}
				b.r.table = tableOf(draining(cluster("c", fsm.ModeAll, "a", "b"), "a"))
				b.up.setRoutes(b.r)
				b.pass(time.Second)
				fresh := numbered("new", 50)
				switch after {
				case "another member":
					b.drop(fresh...)
					b.pass(time.Second)
					b.r.table = tableOf(draining(cluster("c", fsm.ModeAll, "a", "b", "d"), "a"))
					b.up.setRoutes(b.r)
				case "a reload":
					b.drop(fresh...)
					b.pass(time.Second)
					b.up.setRoutes(routes{rules: mustRulesTo(t, "c"), table: b.r.table})
				case "a restart":
					b.stop()
					b.start()
					b.drop(fresh...)
				case "a restart without a table":
					table := b.r.table
					b.stop()
					b.r.table = fsm.Table{}
					b.start()
					b.pass(time.Second)
					b.r.table = table
					b.up.setRoutes(b.r)
					b.drop(fresh...)
				default:
					b.drop(fresh...)
				}
				b.pass(10 * time.Second)
				dead.Store(false)
				b.pass(2 * time.Minute)
				b.wantHas("a", old...)
				b.wantHas("b", append(slices.Clone(old), fresh...)...)
				b.wantEmpty()
				b.stop()
			})
		})
	}
}

// What is bound to a collector of a one or key cluster goes there even when all
// of them drain, while a new file waits where it is.
func TestDrainingCollectorGetsWhatIsBoundToIt(t *testing.T) {
	for _, mode := range []fsm.Mode{fsm.ModeOne, fsm.ModeKey} {
		for _, after := range []string{"the drain alone", "a reload", "a restart"} {
			t.Run(string(mode)+" "+after, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, `"c"`, cluster("c", mode, "a"))
					b.r.rules = mustRulesTo(t, "c")
					var dead atomic.Bool
					dead.Store(true)
					b.net.set(refusesAt("a", &dead))
					b.start()
					b.drop("old")
					b.pass(10 * time.Second)
					b.r.table = tableOf(draining(cluster("c", mode, "a"), "a"))
					b.up.setRoutes(b.r)
					b.pass(10 * time.Second)
					switch after {
					case "a reload":
						b.up.setRoutes(routes{rules: mustRulesTo(t, "c"), table: b.r.table})
					case "a restart":
						b.stop()
						b.start()
					}
					b.drop("new")
					b.pass(10 * time.Second)
					dead.Store(false)
					b.pass(time.Minute)
					b.wantHas("a", "old")
					if left := b.left(); !slices.Equal(left, []string{"new"}) {
						t.Errorf("left in the outbox: %v, want the new file", left)
					}
					b.stop()
				})
			})
		}
	}
}

// A file that another collector refuses is something new for one that drains.
func TestRefusedFileIsNotHandedToADrainingCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, draining(cluster("c", fsm.ModeOne, "a", "b"), "a"))
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("b", &dead))
		b.start()
		b.drop(numbered("f", 20)...)
		b.pass(time.Minute)
		dead.Store(false)
		b.pass(time.Minute)
		b.wantHas("a")
		b.wantHas("b", numbered("f", 20)...)
		b.stop()
	})
}

// A file for several clusters keeps the collector of the one cluster that it has.
func TestDrainingCollectorKeepsAFileForSeveralClusters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `["c", "o"]`, cluster("c", fsm.ModeOne, "a", "b"), cluster("o", fsm.ModeAll, "x"))
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Unknown, httpapi.CodeCut) })
		b.start()
		files := numbered("f", 40)
		b.drop(files...)
		b.pass(10 * time.Second)
		b.r.table = tableOf(draining(cluster("c", fsm.ModeOne, "a", "b"), "a"), cluster("o", fsm.ModeAll, "x"))
		b.up.setRoutes(b.r)
		b.stop()
		b.net.set(nil) // before the start: a that fails once more would not be chosen
		b.start()
		b.pass(20 * time.Second)
		for _, o := range b.net.offersTo("b") {
			if o.dup {
				t.Errorf("%s is offered to b as a possible duplicate", o.name)
			}
		}
		if a, c := len(b.net.got("a")), len(b.net.got("b")); a < 5 || a+c != len(files) {
			t.Errorf("a has %d and b %d of %d files", a, c, len(files))
		}
		b.wantEmpty()
		b.stop()
	})
}

// What a collector that drained when a file was claimed was not owed, it did not
// get, and the letter of the file must not say so.
func TestObituarySparesADrainingCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, draining(cluster("c", fsm.ModeAll, "a", "b"), "a"))
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Permanent, "too-large") })
		b.start()
		b.drop("one")
		b.pass(time.Minute)
		dead, err := b.ob.Dead(t.Context(), 0)
		if err != nil || len(dead) != 1 {
			t.Fatal(dead, err)
		}
		if why := dead[0].Obituary; len(why.Delivered) > 0 || !slices.Equal(why.Owed, []string{"b"}) {
			t.Errorf("delivered to %v, owed to %v; want nobody and b", why.Delivered, why.Owed)
		}
		b.stop()
	})
}

// The order of claims is that within an epoch; epochs themselves have none.
func TestDrainCoversOlderClaims(t *testing.T) {
	newest := claimKey{epoch: 7, seq: 10}
	for name, tc := range map[string]struct {
		before, running bool // known before; drained already
		claim           claimKey
		want            bool
	}{
		"an earlier run":              {true, false, claimKey{9, 99}, true},
		"the newest":                  {true, false, claimKey{7, 10}, true},
		"a newer one":                 {true, false, claimKey{7, 11}, false},
		"no claim":                    {true, false, claimKey{}, false},
		"a newcomer, an earlier run":  {false, false, claimKey{9, 99}, false},
		"a newcomer, an older claim":  {false, false, claimKey{7, 1}, false},
		"drained already, a newer":    {true, true, claimKey{7, 10}, false},
		"drained already, the oldest": {true, true, claimKey{7, 5}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var d drain
			if tc.running {
				d.set(true, true, claimKey{epoch: 7, seq: 5})
			}
			d.set(true, tc.before, newest)
			if got := d.covers(tc.claim, newest); got != tc.want {
				t.Errorf("covers %v: %t, want %t", tc.claim, got, tc.want)
			}
		})
	}
}

// A file that was admitted for a collector is for it, even if the collector
// began to drain before the claim was made.
func TestDrainCoversClaimsUnderWay(t *testing.T) {
	u, to := &uploader{}, &target{}
	to.drain.set(true, true, claimKey{epoch: 7, seq: 10})
	k := claimKey{epoch: 7, seq: 12}
	u.claimedLocked(k, plan{debts: []*debt{{to: to}}})
	if !to.drain.covers(k, u.newest) || to.drain.covers(claimKey{epoch: 7, seq: 13}, u.newest) {
		t.Errorf("the drain is %+v, want it up to %+v", to.drain, k)
	}
}
