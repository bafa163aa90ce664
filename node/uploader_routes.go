package node

import (
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// bearing says how much of what an uploader knows a change of routes touches.
type bearing int

const (
	bearsNothing bearing = iota // on no claim: only targets are brought up to date
	bearsMemory                 // on items in memory, which are planned anew
	bearsDisk                   // on claims that only the disk knows; they are read again
)

// setRoutes replaces rules and table. Items that no collector has accepted are
// planned anew; what is owed to a collector that left the table no longer is.
//
// It may be called often: a change of the table that this outbox has nothing to
// do with costs a comparison of its clusters, and no look at the disk.
func (u *uploader) setRoutes(r routes) {
	u.mu.Lock()
	bears, takers := u.bearingLocked(u.routes, r), takersDiffer(u.routes, r)
	begins := u.routes.table.Index == 0
	r.gen = u.routes.gen
	u.routes = r
	if lost := u.syncTargetsLocked(begins); lost || takers && len(u.unrouted) > 0 {
		bears = bearsDisk
	}
	if bears >= bearsMemory {
		u.routes.gen++
		u.stale = true
	}
	if bears == bearsDisk {
		u.dropParkedLocked()
		u.recovered, u.rewind, u.fruitless = false, true, false
		u.unrouted = map[string]*spool.SeqSet{}
	}
	u.mu.Unlock()
	if takers || bears == bearsDisk {
		u.outbox.Rescan()
	}
	poke(u.rearm)
	poke(u.wake)
}

// bearingLocked compares routes. Claims on disk are planned by the rules, so
// only the clusters that these can name bear on them; an item in memory may be
// on its way to a cluster of older rules.
func (u *uploader) bearingLocked(old, next routes) bearing {
	if old.gen == 0 || !old.rules.same(next.rules) || old.filter != next.filter {
		return bearsDisk
	}
	if slices.ContainsFunc(next.named(old.table), func(c fsm.ClusterName) bool { return shapeDiffers(old.table, next.table, c) }) {
		return bearsDisk
	}
	checked := map[fsm.ClusterName]bool{}
	for _, t := range u.active {
		for _, c := range t.clusters {
			if !checked[c] && shapeDiffers(old.table, next.table, c) {
				return bearsMemory
			}
			checked[c] = true
		}
	}
	return bearsNothing
}

// takersDiffer reports whether other collectors than before take new files of
// the clusters that the rules can name: there may be files that wait for one.
func takersDiffer(old, next routes) bool {
	return slices.ContainsFunc(next.named(old.table), func(name fsm.ClusterName) bool {
		a, b := old.table.Clusters[name].Collectors, next.table.Clusters[name].Collectors
		return !slices.EqualFunc(a, b, func(a, b fsm.Collector) bool { return a.ID == b.ID && a.State == b.State })
	})
}

// named lists the clusters that the rules can lead to, as far as that is known
// beforehand: for an expression all that there are or were.
func (r routes) named(before fsm.Table) []fsm.ClusterName {
	if names := r.rules.Clusters(); len(names) > 0 {
		return names
	}
	names := append(before.Names(), r.table.Names()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// shapeDiffers reports whether a cluster was made or removed, or owes its files
// to others than before. Who drains, addresses and times do not count: what is
// owed stays owed to the same collectors.
func shapeDiffers(old, next fsm.Table, name fsm.ClusterName) bool {
	a, was := old.Clusters[name]
	b, is := next.Clusters[name]
	return was != is || modeOf(a.Mode) != modeOf(b.Mode) || keyText(a) != keyText(b) ||
		!slices.EqualFunc(a.Collectors, b.Collectors, func(a, b fsm.Collector) bool { return a.ID == b.ID })
}

func keyText(cl fsm.Cluster) string {
	if cl.Key == nil {
		return ""
	}
	return cl.Key.String()
}

// dropParkedLocked forgets what is parked, as a restart does: the claims are read
// again and planned by the routes that hold now, under the ids that they have.
// Whoever has an item answers from its ledger. Only debts of items in memory stay
// parked, until those are planned anew themselves.
func (u *uploader) dropParkedLocked() {
	for _, t := range u.targets {
		t.parked, t.seen = spool.SeqSet{}, spool.SeqSet{}
	}
	for _, t := range u.active {
		for _, d := range t.debts {
			if d.state == debtParked {
				d.to.park(t.item.ID)
			}
		}
	}
}

// syncTargetsLocked makes the targets match the table; begins says that it is the
// first one. It reports whether a collector is gone, or in another cluster, for
// which something is parked: only the disk still knows what.
func (u *uploader) syncTargetsLocked(begins bool) (lost bool) {
	inTable := map[fsm.CollectorID]fsm.Collector{}
	for name, cl := range u.routes.table.Clusters {
		for _, c := range cl.Collectors {
			c.Cluster = name
			inTable[c.ID] = c
		}
	}
	for id, t := range u.targets {
		c, ok := inTable[id]
		lost = lost || t.parked.Len() > 0 && c.Cluster != t.cluster
		if !ok {
			t.gone = true
			t.small, t.large = queue{}, queue{} // replanStale finds the items
			delete(u.targets, id)
		}
	}
	for id, c := range inTable {
		t := u.targets[id]
		before := t != nil && t.cluster == c.Cluster || begins
		if t == nil {
			t = &target{id: id, sentMarks: map[uint64]uint64{}}
			if u.down[id] {
				t.lost(time.Now())
			}
			u.targets[id] = t
		}
		if base := "http://" + c.HostPort(); t.peer.Base != base {
			t.peer, t.kind, t.noBatch, t.breaker = httpapi.Peer{Base: base}, peerUnknown, false, breaker{}
			u.fruitless = false
		}
		t.cluster = c.Cluster
		t.drain.set(c.State == fsm.StateDraining, before, u.newest)
	}
	share := max(batchFiles, u.cfg.Window/max(1, len(u.targets)))
	for _, t := range u.targets {
		t.room = share
	}
	return lost
}
