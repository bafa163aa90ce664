package node

import (
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// moves are renames of claims that were decided under the lock and are carried
// out after it. Every item in them is marked moving, so nobody else touches it.
type moves struct {
	binds   map[fsm.CollectorID][]*tracked // to claimed/@<id>/ ("" is claimed/)
	reclaim []*tracked                     // to a new id: the rules sent it elsewhere
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
		if len(t.debts) == 1 && t.debts[0].mode != fsm.ModeAll {
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
		u.active[keyOf(t.item)] = t
		u.queueLocked(t)
	}
}

// forgetLocked drops an item from memory; it stays claimed on disk.
func (u *uploader) forgetLocked(t *tracked) {
	t.cancel()
	delete(u.active, keyOf(t.item))
}

// readAgainLocked has the claims on disk read again after the shortest back-off.
func (u *uploader) readAgainLocked() {
	u.recovered, u.rewind = false, true
	time.AfterFunc(backoffMin, func() { poke(u.wake) })
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
	u.mu.Unlock()
	u.perform(mv)
}

// replanLocked brings one item in line with the routes. Until a collector has
// accepted it the rules decide again; afterwards only debts to collectors that
// left the table are dropped, or handed on in a one or key cluster.
func (u *uploader) replanLocked(t *tracked, mv *moves) {
	t.gen = u.routes.gen
	if t.accepted {
		u.dropGoneLocked(t, mv)
		return
	}
	f := facts{name: t.item.Name, size: t.item.Size}
	p, reason, room := u.planLocked(f)
	if reason != "" && !room {
		u.unroutedLocked(t.item, reason)
		u.forgetLocked(t)
		return
	}
	if streamOf(p.clusters) == streamOf(t.clusters) && t.standsLocked(p) {
		return
	}
	same := streamOf(p.clusters) == streamOf(t.clusters)
	refused := t.refused()
	t.cancel()
	t.clusters, t.debts, t.moving = p.clusters, p.debts, true
	for _, d := range t.debts {
		d.of = t
	}
	switch {
	case !same || len(refused) > 0:
		mv.reclaim = append(mv.reclaim, t)
	case t.item.Bound != string(p.bind):
		mv.bind(t, p.bind)
	default:
		t.moving = false
		u.queueLocked(t)
	}
}

// standsLocked reports whether the debts of an item are still what a plan for
// the same clusters asks for: the same collectors in an all cluster, any
// collector still in the table in a one or key cluster.
func (t *tracked) standsLocked(p plan) bool {
	if len(t.debts) != len(p.debts) {
		return false
	}
	for _, d := range t.debts {
		if d.to.gone || (d.mode == fsm.ModeAll) != (p.debts[0].mode == fsm.ModeAll) {
			return false
		}
	}
	return true
}

// dropGoneLocked ends the debts to collectors that left the table.
func (u *uploader) dropGoneLocked(t *tracked, mv *moves) {
	for _, d := range t.debts {
		if !d.to.gone || d.state == debtDelivered || d.state == debtRefused {
			continue
		}
		if d.mode == fsm.ModeAll || !u.handOnLocked(d, mv, time.Now()) {
			d.state = debtCancelled
		}
	}
	if t.over() {
		u.endLocked(t)
	}
}

// handOnLocked gives a debt of a one or key cluster to another collector than
// those that were tried, and reports whether there is one. The choice of a
// bound claim is made durable before the new collector is offered a byte.
func (u *uploader) handOnLocked(d *debt, mv *moves, now time.Time) bool {
	t := d.of
	cl, ok := u.routes.table.Clusters[d.cluster]
	if !ok {
		return false
	}
	tried := append(d.tried, d.to.id)
	next := u.owedLocked(cl, facts{name: t.item.Name, size: t.item.Size}, tried, len(t.clusters) > 1)
	if len(next) != 1 || next[0].to.full() {
		return false
	}
	to := next[0].to
	if to.breaker.open() && !d.to.gone {
		return false
	}
	d.tried, d.duplicate = tried, d.duplicate || !d.unknown.IsZero()
	d.to, d.unknown, d.attempts, d.resume, d.state = to, time.Time{}, 0, false, debtWaiting
	if t.item.Bound != "" || len(t.debts) == 1 {
		mv.bind(t, to.id)
		return true
	}
	to.push(d)
	return true
}
