package node

import (
	"cmp"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// A network has many clusters. A change of one that this outbox has nothing to
// do with, and one of its own that leaves its debts as they are, has no claim
// read or planned again: b, which has all the files, is offered none of them.
func TestChangeElsewhereReadsNoClaims(t *testing.T) {
	moved, patient := cluster("c", fsm.ModeAll, "a", "b"), cluster("c", fsm.ModeAll, "a", "b")
	moved.Collectors[0].Address = "a2"
	patient.FailoverAfter = time.Hour
	unnamed := cluster("c", "", "a", "b") // the empty mode is all
	home := cluster("c", fsm.ModeAll, "a", "b")
	for name, table := range map[string]fsm.Table{
		"another cluster": tableOf(home, cluster("o", fsm.ModeAll, "x", "y")),
		"another mode":    tableOf(home, cluster("o", fsm.ModeOne, "x")),
		"address":         tableOf(moved, cluster("o", fsm.ModeAll, "x")),
		"draining":        tableOf(draining(cluster("c", fsm.ModeAll, "a", "b"), "b"), cluster("o", fsm.ModeAll, "x")),
		"failover":        tableOf(patient, cluster("o", fsm.ModeAll, "x")),
		"spelling":        tableOf(unnamed, cluster("o", fsm.ModeAll, "x")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, `"c"`, home, cluster("o", fsm.ModeAll, "x"))
				b.r.rules = mustRulesTo(t, "c")
				b.cfg.Window = 1
				var dead atomic.Bool
				dead.Store(true)
				b.net.set(refusesAt("a", &dead))
				b.start()
				for i := range 3 {
					b.drop(numbered(strconv.Itoa(i), 200)...)
					b.pass(10 * time.Second)
				}
				before := len(b.net.offersTo("b"))
				if n := b.parkedFor("a"); n < 100 || before != 600 {
					t.Fatalf("%d claims are parked for a, %d were offered to b", n, before)
				}
				for range 5 {
					b.up.setRoutes(routes{rules: b.r.rules, table: table})
					b.pass(10 * time.Second)
					b.up.setRoutes(b.r)
					b.pass(10 * time.Second)
				}
				if n := len(b.net.offersTo("b")) - before; n != 0 {
					t.Errorf("%d files were offered to b again", n)
				}
				dead.Store(false)
				b.pass(time.Minute)
				b.wantEmpty()
				b.stop()
			})
		})
	}
}

// What is parked goes to the address that its collector has now, at once.
func TestParkedFilesFollowAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		b, files := benchWithParked(t, &dead)
		c := cluster("c", fsm.ModeAll, "a")
		c.Collectors[0].Address = "a2"
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(c, cluster("o", fsm.ModeAll, "y"))})
		b.pass(time.Second)
		b.wantHas("a2", files...)
		b.wantEmpty()
		b.stop()
	})
}

// Files and claims that wait because every collector drains go on when one
// takes files again.
func TestFilesWaitForTheEndOfDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, draining(cluster("c", fsm.ModeOne, "a"), "a"))
		b.r.rules = mustRulesTo(t, "c")
		b.start()
		b.drop("new")
		b.pass(time.Minute)
		b.wantHas("a")
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeOne, "a"))})
		b.pass(time.Second)
		b.wantHas("a", "new")
		b.wantEmpty()
		b.stop()
	})
}

// Claims that are for none of the collectors there are, since these came draining,
// are read again when one takes files.
func TestClaimsWaitForTheEndOfDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a"))
		b.r.rules = mustRulesTo(t, "c")
		var dead atomic.Bool
		dead.Store(true)
		b.net.set(refusesAt("a", &dead))
		b.start()
		b.drop("claimed")
		b.pass(time.Minute)
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(draining(cluster("c", fsm.ModeAll, "b"), "b"))})
		b.pass(time.Minute)
		b.wantHas("b")
		b.up.setRoutes(routes{rules: b.r.rules, table: tableOf(cluster("c", fsm.ModeAll, "b"))})
		b.pass(time.Second)
		b.wantHas("b", "claimed")
		b.wantEmpty()
		b.stop()
	})
}

func TestBearing(t *testing.T) {
	named, free := mustRulesTo(t, "c"), mustParseRules(t, `"c"`)
	keyed := cluster("c", fsm.ModeKey, "a", "b")
	keyed.Key = regexp.MustCompile("^.")
	rekeyed := keyed
	rekeyed.Key = regexp.MustCompile("^..")
	base := tableOf(cluster("c", fsm.ModeAll, "a", "b"), cluster("o", fsm.ModeAll, "x"))
	elsewhere := tableOf(cluster("c", fsm.ModeAll, "a", "b"), cluster("o", fsm.ModeAll, "x", "y"))
	filter := regexp.MustCompile("f")
	for name, tt := range map[string]struct {
		old, next routes
		want      bearing
	}{
		"the first":     {routes{}, routes{rules: named, table: base}, bearsDisk},
		"nothing":       {routes{gen: 1, rules: named, table: base}, routes{rules: named, table: base}, bearsNothing},
		"elsewhere":     {routes{gen: 1, rules: named, table: base}, routes{rules: named, table: elsewhere}, bearsNothing},
		"by expression": {routes{gen: 1, rules: free, table: base}, routes{rules: free, table: elsewhere}, bearsDisk},
		"rules":         {routes{gen: 1, rules: named, table: base}, routes{rules: mustRulesTo(t, "c"), table: base}, bearsDisk},
		"filter":        {routes{gen: 1, rules: named, table: base}, routes{rules: named, filter: filter, table: base}, bearsDisk},
		"member":        {routes{gen: 1, rules: named, table: base}, routes{rules: named, table: tableOf(cluster("c", fsm.ModeAll, "a", "b", "d"))}, bearsDisk},
		"no member":     {routes{gen: 1, rules: named, table: base}, routes{rules: named, table: tableOf(cluster("c", fsm.ModeAll))}, bearsDisk},
		"no cluster":    {routes{gen: 1, rules: named, table: tableOf(cluster("c", fsm.ModeAll))}, routes{rules: named, table: tableOf()}, bearsDisk},
		"mode":          {routes{gen: 1, rules: named, table: base}, routes{rules: named, table: tableOf(cluster("c", fsm.ModeOne, "a", "b"))}, bearsDisk},
		"key":           {routes{gen: 1, rules: named, table: tableOf(keyed)}, routes{rules: named, table: tableOf(rekeyed)}, bearsDisk},
		"same key":      {routes{gen: 1, rules: named, table: tableOf(keyed)}, routes{rules: named, table: tableOf(keyed)}, bearsNothing},
	} {
		t.Run(name, func(t *testing.T) {
			u := &uploader{}
			if got := u.bearingLocked(tt.old, tt.next); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// mustRulesTo makes one rule that names the clusters, for every file.
func mustRulesTo(t *testing.T, clusters ...fsm.ClusterName) Rules {
	t.Helper()
	r, err := NewRules(Rule{Match: regexp.MustCompile(""), Clusters: clusters})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// parkedFor counts the claims that are parked for a collector.
func (b *bench) parkedFor(id fsm.CollectorID) int {
	b.up.mu.Lock()
	defer b.up.mu.Unlock()
	return b.up.targets[id].parked.Len()
}

// What is on its way to a cluster of older rules is still seen to when that
// cluster changes: in memory, and, when it is parked, on disk.
func TestChangeOfAClusterOfOlderRules(t *testing.T) {
	for name, parked := range map[string]int{"in memory": 0, "parked": 300} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				old, next := cluster("c", fsm.ModeAll, "a", "b", "d"), cluster("new", fsm.ModeAll, "x")
				b := newBench(t, `"c"`, old, next)
				b.r.rules = mustRulesTo(t, "c")
				b.cfg.Window = 1
				var aDead, bDead atomic.Bool
				aDead.Store(true)
				b.net.set(func(to string, o httpapi.Offer, batch bool) error {
					return cmp.Or(refusesAt("a", &aDead)(to, o, batch), refusesAt("b", &bDead)(to, o, batch))
				})
				b.start()
				b.drop(numbered("p", parked)...) // b takes these, and then no more
				b.pass(10 * time.Second)
				bDead.Store(true)
				b.drop("last")
				b.pass(10 * time.Second)
				b.up.setRoutes(routes{rules: mustRulesTo(t, "new"), table: b.r.table})
				b.pass(10 * time.Second)
				rules := b.up.routes.rules
				bDead.Store(false)
				b.pass(time.Minute)
				b.up.setRoutes(routes{rules: rules, table: tableOf(cluster("c", fsm.ModeAll, "b", "d"), next)})
				b.pass(time.Minute)
				b.wantEmpty()
				b.stop()
			})
		})
	}
}

// A table without a cluster, or without anybody in it, forgives nothing: what was
// owed beside those who have it already is still owed when the table is back.
func TestEmptyTableForgivesNothing(t *testing.T) {
	for name, lost := range map[string]fsm.Table{
		"no table":   {},
		"no cluster": tableOf(cluster("o", fsm.ModeAll, "x")),
		"no member":  tableOf(cluster("c", fsm.ModeAll)),
	} {
		for rules, names := range map[string]Rules{"named": mustRulesTo(t, "c"), "expression": mustParseRules(t, `"c"`)} {
			t.Run(name+"/"+rules, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, `"c"`, cluster("c", fsm.ModeAll, "a", "b"))
					b.r.rules = names
					var dead atomic.Bool
					dead.Store(true)
					b.net.set(refusesAt("a", &dead))
					b.start()
					b.drop("f")
					b.pass(10 * time.Second)
					b.wantHas("b", "f")
					b.up.setRoutes(routes{rules: names, table: lost})
					b.pass(time.Minute)
					dead.Store(false)
					b.up.setRoutes(b.r)
					b.pass(time.Minute)
					b.wantHas("a", "f")
					b.wantHas("b", "f")
					b.wantEmpty()
					b.stop()
				})
			})
		}
	}
}
