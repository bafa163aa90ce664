package node

import (
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// Pauses of what no event will tell.
const (
	rehomePause = time.Second // of an item whose collector is gone and that no other takes
	readPause   = time.Second // before the claims are read again after an error
)

// moves are renames of claims that were decided under the lock and are carried
// out after it. Every item in them is marked moving, so nobody else touches it.
type moves struct {
	binds   map[fsm.CollectorID][]*tracked // to claimed/@<id>/ ("" is claimed/)
	reclaim []*tracked                     // to a new id: the file changed after it was offered
	refresh []*tracked                     // to the same id: the file changed before anybody was offered it
	burials []burial
}

type burial struct {
	t   *tracked
	why spool.Obituary
}

func (m *moves) bind(t *tracked, to fsm.CollectorID) {
	if m.binds == nil {
		m.binds = map[fsm.CollectorID][]*tracked{}
	}
	t.moving = true
	m.binds[to] = append(m.binds[to], t)
}

func (m *moves) bury(t *tracked, why spool.Obituary) {
	t.moving = true
	m.burials = append(m.burials, burial{t, why})
}

func (m *moves) empty() bool {
	return len(m.binds) == 0 && len(m.reclaim) == 0 && len(m.refresh) == 0 && len(m.burials) == 0
}

// perform carries out moves. A rename that fails leaves the claim on disk,
// under its old name or its new one; the item is forgotten and read from disk
// again, which tells which.
func (u *uploader) perform(m moves) {
	if m.empty() {
		return
	}
	for to, ts := range m.binds {
		moved, err := u.outbox.Bind(u.ctx, itemsOf(ts), string(to))
		u.moved(ts, moved, err, "bind")
	}
	for _, t := range m.reclaim {
		to := ""
		if len(t.debts) == 1 && !isAll(t.debts[0].mode) {
			to = string(t.debts[0].to.id)
		}
		moved, err := u.outbox.Reclaim(u.ctx, itemsOf([]*tracked{t}), streamOf(t.clusters), to)
		u.moved([]*tracked{t}, moved, err, "reclaim")
	}
	for _, t := range m.refresh {
		now, err := u.outbox.Refresh(t.item)
		u.moved([]*tracked{t}, []spool.Item{now}, err, "refresh")
	}
	for _, b := range m.burials {
		u.bury(b.t, b.why)
	}
	u.mu.Lock()
	u.pumpAllLocked()
	u.mu.Unlock()
}

func itemsOf(ts []*tracked) []spool.Item {
	items := make([]spool.Item, len(ts))
	for i, t := range ts {
		items[i] = t.item
	}
	return items
}

// moved takes note of a rename's result and queues the items.
func (u *uploader) moved(ts []*tracked, now []spool.Item, err error, op string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil || len(now) != len(ts) {
		if !u.canceled(err) {
			u.log.Warn("claims could not be renamed", "op", op, "items", len(ts), "err", err)
		}
		for _, t := range ts {
			u.forgetLocked(t)
		}
		u.readAgainLocked()
		return
	}
	for i, t := range ts {
		delete(u.active, keyOf(t.item))
		t.item, t.moving = now[i], false
		if u.active[keyOf(t.item)] != nil {
			t.cancel() // a reading of the claims met it under its new id already
			continue
		}
		u.active[keyOf(t.item)] = t
		u.queueLocked(t)
		if t.gen != u.routes.gen {
			// The routes changed while it was being renamed.
			u.stale = true
			poke(u.wake)
		}
	}
}

// forgetLocked drops an item from memory; it stays claimed on disk.
func (u *uploader) forgetLocked(t *tracked) {
	t.cancel()
	delete(u.active, keyOf(t.item))
}

// readAgainLocked has the claims on disk read again, after a pause: what made it
// necessary is a disk that fails.
func (u *uploader) readAgainLocked() {
	if !u.readAt.IsZero() {
		return
	}
	u.readAt = time.Now().Add(readPause)
	poke(u.rearm)
}

// replanStale plans the active items anew after a change of rules or table.
func (u *uploader) replanStale() {
	u.mu.Lock()
	if !u.stale {
		u.mu.Unlock()
		return
	}
	u.stale = false
	var mv moves
	for _, t := range u.active {
		if t.gen != u.routes.gen && !t.busy() {
			u.replanLocked(t, &mv)
		}
	}
	for _, t := range u.targets {
		t.small.compact()
		t.large.compact()
	}
	u.pumpAllLocked()
	u.mu.Unlock()
	u.perform(mv)
}

// replanLocked brings one item in line with the routes. Until a collector has
// accepted it the rules decide again; afterwards only debts to collectors that
// left the table change hands, or, in an all cluster, are over.
//
// The item keeps its id: whoever got it under that id, with the answer lost,
// must know it again. Its old stream's mark waits for it all the same.
func (u *uploader) replanLocked(t *tracked, mv *moves) {
	t.gen = u.routes.gen
	if t.accepted {
		if reason := u.emptiedLocked(t); reason != "" {
			u.unroutedLocked(t.item, reason)
			u.forgetLocked(t)
			return
		}
		u.dropGoneLocked(t, mv)
		return
	}
	if d := t.heir(); d != nil {
		if !u.servesLocked(d) {
			t.cancel()
			mv.bury(t, strandedAt(t.item, streamOf(t.clusters)))
		}
		return
	}
	p, reason, room := u.planLocked(factsOf(t.item))
	if reason != "" && !room {
		u.unroutedLocked(t.item, reason)
		u.forgetLocked(t)
		return
	}
	if streamOf(p.clusters) == streamOf(t.clusters) && u.standsLocked(t, p) {
		return
	}
	doubtful := t.doubtful()
	t.cancel()
	t.clusters, t.debts = p.clusters, p.debts
	for _, d := range t.debts {
		d.of, d.resume = t, true
		d.duplicate = doubtful && !isAll(d.mode)
	}
	if t.item.Bound != string(p.bind) {
		mv.bind(t, p.bind)
		return
	}
	u.queueLocked(t)
}

// emptiedLocked says why an item waits although some have it already: an all
// cluster that owes it to others has nobody left, and the rules still lead there.
// Collectors leave one by one; a table without any is rather one that was lost,
// and what it would forgive cannot be taken back.
func (u *uploader) emptiedLocked(t *tracked) string {
	emptied := slices.ContainsFunc(t.debts, func(d *debt) bool {
		return isAll(d.mode) && d.state != debtDelivered && d.state != debtRefused &&
			len(u.routes.table.Clusters[d.cluster].Collectors) == 0
	})
	if !emptied {
		return ""
	}
	if _, reason, room := u.planLocked(factsOf(t.item)); !room {
		return reason
	}
	return ""
}

// heir returns the debt of a claim that is bound to one collector of an all
// cluster: the others have the file, from before a retry.
func (t *tracked) heir() *debt {
	if t.item.Bound != "" && len(t.debts) == 1 && isAll(t.debts[0].mode) {
		return t.debts[0]
	}
	return nil
}

// servesLocked reports whether a debt's collector still is one of its cluster.
func (u *uploader) servesLocked(d *debt) bool {
	return !d.to.gone && slices.ContainsFunc(u.routes.table.Clusters[d.cluster].Collectors,
		func(c fsm.Collector) bool { return c.ID == d.to.id })
}

// standsLocked reports whether the debts of an item are still what a plan for
// the same clusters asks for: the same collectors in an all cluster, one that
// still serves it in a one or key cluster.
func (u *uploader) standsLocked(t *tracked, p plan) bool {
	if len(t.debts) != len(p.debts) {
		return false
	}
	for _, want := range p.debts {
		stands := slices.ContainsFunc(t.debts, func(d *debt) bool {
			return d.cluster == want.cluster && d.mode == want.mode && d.state != debtRefused &&
				(d.to == want.to || !isAll(d.mode) && u.servesLocked(d))
		})
		if !stands {
			return false
		}
	}
	return true
}

// dropGoneLocked ends the debts of an all cluster to collectors that left the
// table: the others have the item. A debt of a one or key cluster goes to
// another collector; while there is none it waits, and the file with it.
func (u *uploader) dropGoneLocked(t *tracked, mv *moves) {
	now := time.Now()
	for _, d := range t.debts {
		switch {
		case d.state == debtDelivered || d.state == debtRefused || u.servesLocked(d):
		case isAll(d.mode):
			if d.state == debtParked {
				d.to.unpark(t.item.ID)
			}
			d.state = debtCancelled
		default:
			u.rehomeLocked(d, mv, now)
		}
	}
	u.settledLocked(t)
}

// rehomeLocked gives a debt whose collector is gone to another one, or has it
// look again a little later.
func (u *uploader) rehomeLocked(d *debt, mv *moves, now time.Time) {
	d.tried = nil
	if !d.of.busy() && u.handOnLocked(d, mv, now) {
		return
	}
	u.delayLocked(d, now.Add(rehomePause))
}

// handOnLocked gives a debt of a one or key cluster to another collector than
// those that were tried, and reports whether there is one. The choice of a
// bound claim is made durable before the new collector is offered a byte.
func (u *uploader) handOnLocked(d *debt, mv *moves, now time.Time) bool {
	t := d.of
	cl, ok := u.routes.table.Clusters[d.cluster]
	if !ok || t.moving {
		return false
	}
	tried := append(d.tried, d.to.id)
	next := u.owedLocked(cl, facts{name: t.item.Name, size: t.item.Size}, tried, len(t.clusters) > 1)
	if len(next) != 1 || next[0].to.full() {
		return false
	}
	to := next[0].to
	if to.ailing() && !d.to.gone {
		if !to.dueForProbe(t.item.Name, now) {
			return false
		}
		to.chooseProbe(t.item.Name, now)
	}
	d.tried, d.duplicate = tried, d.duplicate || !d.unknown.IsZero()
	d.to, d.unknown, d.attempts, d.resume, d.state = to, time.Time{}, 0, false, debtWaiting
	d.pauses++ // one at the old collector is void
	if t.item.Bound != "" || len(t.debts) == 1 {
		mv.bind(t, to.id)
		return true
	}
	to.push(d)
	return true
}
