package node

import (
	"fmt"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// patience is how long the scan waits for room in the queue of a collector
// that works, before it goes on past the files that are for it.
const patience = 250 * time.Millisecond

// pickLoop brings claims into memory: first what the disk already holds, then
// what is ready in the outbox. It sleeps while there is nothing to do.
func (u *uploader) pickLoop() {
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.outbox.Wake():
		case <-u.wake:
		}
		for more := true; more && u.ctx.Err() == nil; {
			u.replanStale()
			paged := u.pageClaims()
			picked := u.pickFiles()
			more = paged || picked
		}
	}
}

// pickFiles claims one batch and reports whether there may be more.
func (u *uploader) pickFiles() bool {
	u.mu.Lock()
	clear(u.planned)
	closing, again := u.closing, u.passAgain
	u.passAgain = false
	u.mu.Unlock()
	if closing {
		return false
	}
	if again {
		u.outbox.Rescan()
	}
	got, err := u.outbox.Pick(u.ctx, batchFiles, u.admit)
	if err != nil && !u.canceled(err) {
		u.log.Warn("outbox could not be read", "err", err)
	}
	u.mu.Lock()
	var mv moves
	for _, it := range got.Items {
		u.pickedLocked(it, &mv)
	}
	u.pumpAllLocked()
	u.mu.Unlock()
	u.perform(mv)
	if got.Paused {
		return u.awaitRoom()
	}
	return got.More && err == nil
}

// pickedLocked takes a claim that Pick handed out into memory: under the plan
// that it was admitted with, or, if it is a dead letter to be tried again, as
// one from disk.
func (u *uploader) pickedLocked(it spool.Item, mv *moves) {
	p, ok := u.planned[it.Name]
	if !ok || it.Bound != string(p.bind) {
		u.takeUpLocked(it, mv)
		return
	}
	delete(u.planned, it.Name)
	u.claimedLocked(keyOf(it), p)
	u.adoptLocked(it, p)
}

// admit decides whether a candidate is claimed. Called by the outbox.
func (u *uploader) admit(c spool.Candidate) spool.Verdict {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, reason, room := u.planLocked(facts{name: c.Name, size: c.Size})
	if reason == "" {
		u.planned[c.Name] = p
		return spool.Verdict{Take: true, Stream: p.stream(), Bind: string(p.bind)}
	}
	if !room {
		return spool.Verdict{Reason: reason}
	}
	pause := false
	for _, d := range p.debts {
		d.to.skipped = true
		pause = pause || (!d.to.slow && !d.to.ailing())
	}
	return spool.Verdict{Reason: reason, Pause: pause}
}

// awaitRoom waits a moment for the full queues to drain. A collector whose
// queue did not is slow: its files are passed by until it has room, so that
// they do not stand in the way of others.
func (u *uploader) awaitRoom() bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	u.setWaiting(true)
	defer u.setWaiting(false)
	for {
		select {
		case <-u.ctx.Done():
			return false
		case <-timer.C:
			u.markSlow()
			return true
		case <-u.wake:
			if !u.anyFull() {
				return true
			}
		}
	}
}

func (u *uploader) setWaiting(on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.waiting = on
}

func (u *uploader) markSlow() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.targets {
		t.slow = t.slow || t.full()
	}
}

func (u *uploader) anyFull() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.targets {
		if t.full() && !t.slow {
			return true
		}
	}
	return false
}

// adoptLocked takes a claim into memory under a plan and queues what is owed.
// Debts for which there is no room are parked; an item of which only parked
// debts are left is forgotten until its turn comes.
func (u *uploader) adoptLocked(it spool.Item, p plan) {
	k := keyOf(it)
	if u.active[k] != nil {
		return
	}
	t := &tracked{item: it, clusters: p.clusters, gen: p.gen, debts: p.debts, since: sinceOf(it)}
	for _, d := range t.debts {
		d.of = t
	}
	u.active[k] = t
	u.queueLocked(t)
}

// queueLocked queues the waiting debts of an active item, or parks them.
func (u *uploader) queueLocked(t *tracked) {
	for _, d := range t.debts {
		if d.state != debtWaiting {
			continue
		}
		if d.to.full() && d.attempts == 0 {
			u.parkLocked(d)
			continue
		}
		d.to.push(d)
	}
	u.forgetParkedLocked(t)
}

func (u *uploader) parkLocked(d *debt) {
	d.state = debtParked
	d.to.park(d.of.item.ID)
	u.fruitless = false
}

// forgetParkedLocked drops an item from memory when its only open debts are
// parked. One that a collector refused stays: the reason is not on disk yet.
func (u *uploader) forgetParkedLocked(t *tracked) {
	parked := false
	for _, d := range t.debts {
		switch d.state {
		case debtWaiting, debtSending, debtRefused:
			return
		case debtParked:
			parked = true
		}
	}
	if parked {
		delete(u.active, keyOf(t.item))
	}
}

// pageClaims brings a page of claims from disk into memory: all of them after
// a start or a change of routes, later those parked for a collector with room.
func (u *uploader) pageClaims() bool {
	if !u.beginPage() {
		return false
	}
	items, done, err := u.outbox.Claimed(u.ctx, &u.cursor, batchFiles, u.skipClaim)
	var moves moves
	u.mu.Lock()
	for _, it := range items {
		u.takeUpLocked(it, &moves)
	}
	switch {
	case err != nil:
		// Claims may have been passed by; they are read again from the beginning.
		u.cursor, u.begun, u.recovered = spool.Cursor{}, false, true
		u.readAgainLocked()
	case done:
		u.cursor = spool.Cursor{}
		u.begun = false
		if !u.rewind {
			u.endOfPassLocked()
		}
	}
	u.pumpAllLocked()
	u.mu.Unlock()
	u.perform(moves)
	if err != nil && !u.canceled(err) {
		u.log.Warn("claims could not be read", "err", err)
	}
	return err == nil
}

// beginPage reports whether claims are to be read, and goes back to the first
// of them if they are to be read from the beginning.
func (u *uploader) beginPage() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closing {
		return false
	}
	if u.rewind {
		_ = u.cursor.Close() // only ever read
		u.cursor = spool.Cursor{}
		u.rewind, u.begun = false, false
	}
	if !u.readAt.IsZero() || u.recovered && !u.wantsParkedLocked() {
		return false
	}
	if !u.begun {
		u.begun, u.paged = true, 0
		for _, t := range u.targets {
			t.seen, t.passedBy = spool.SeqSet{}, false
		}
	}
	u.unparkActiveLocked()
	return true
}

// unparkActiveLocked queues the parked debts of items that are in memory for
// the sake of others.
func (u *uploader) unparkActiveLocked() {
	for _, t := range u.active {
		if t.moving {
			continue
		}
		for _, d := range t.debts {
			if d.state == debtParked && u.wantsLocked(d.to) && !d.to.full() {
				d.to.unpark(t.item.ID)
				d.to.push(d)
				u.paged++
			}
		}
	}
}

// endOfPassLocked ends a reading of all claims. What was parked and not met was
// removed by hand. When nothing came back although a collector has room, it is
// no use to read it all again before something changes.
func (u *uploader) endOfPassLocked() {
	u.recovered = true
	for _, t := range u.targets {
		if gone := t.parked.Len() - t.seen.Len(); gone > 0 {
			u.log.Error("claims vanished from the outbox", "collector", t.id, "items", gone)
			t.parked = t.seen
		}
		t.seen = spool.SeqSet{}
	}
	u.fruitless = false
	for _, t := range u.targets {
		u.fruitless = u.fruitless || u.paged == 0 && u.wantsLocked(t) && !t.passedBy
	}
}

func (u *uploader) wantsParkedLocked() bool {
	if u.fruitless || !u.readAt.IsZero() {
		return false
	}
	for _, t := range u.targets {
		if u.wantsLocked(t) {
			return true
		}
	}
	return false
}

// wantsLocked reports whether t should get some of what is parked for it: a
// collector that works and has room, or one that is due for a probe and has
// nothing in memory to be probed with.
func (u *uploader) wantsLocked(t *target) bool {
	return t.parked.Len() > 0 && t.roomy() && t.probeable(time.Now())
}

// skipClaim tells the outbox which claims not to bring up. Called by the outbox.
func (u *uploader) skipClaim(epoch, seq uint64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.targets {
		if t.parked.Has(epoch, seq) {
			t.seen.Add(epoch, seq)
		}
	}
	if u.active[claimKey{epoch, seq}] != nil {
		return true
	}
	for _, set := range u.unrouted {
		if set.Has(epoch, seq) {
			return true
		}
	}
	parked := false
	for _, t := range u.targets {
		if t.parked.Has(epoch, seq) {
			if !t.full() && t.probeable(time.Now()) {
				return false
			}
			parked, t.passedBy = true, true
		}
	}
	return parked || u.recovered
}

// takeUpLocked makes a claim from disk active: one that was parked is owed to
// those it is parked for, any other is planned by the rules.
func (u *uploader) takeUpLocked(it spool.Item, mv *moves) {
	if u.active[keyOf(it)] != nil {
		return
	}
	if u.unparkLocked(it) {
		u.paged++
		return
	}
	p, reason, room := u.planLocked(factsOf(it))
	if reason != "" && !room {
		u.unroutedLocked(it, reason)
		return
	}
	switch {
	case it.Bound != "":
		u.takeUpBoundLocked(it, p, mv)
	case p.bind != "":
		mv.bind(u.holdLocked(it, p), p.bind)
	default:
		for _, d := range p.debts {
			d.resume = true
		}
		u.adoptLocked(it, p)
		u.wasOfferedLocked(it)
	}
}

// wasOfferedLocked notes that collectors may know an item from before: should
// its file have changed, it needs another id.
func (u *uploader) wasOfferedLocked(it spool.Item) {
	if t := u.active[keyOf(it)]; t != nil {
		t.offered = true
	}
}

// strandedAt is the obituary of a claim that is owed to one collector alone,
// which no rule and cluster leads to any more.
func strandedAt(it spool.Item, stream string) spool.Obituary {
	return spool.Obituary{Code: "collector-gone", Collector: it.Bound, Cluster: stream,
		Reason: fmt.Sprintf("owed to collector %s alone, and no rule and cluster leads there any more", it.Bound)}
}

// takeUpBoundLocked goes on with a claim that is bound to one collector. What
// became of it in the last run is not known, so it stays there; only when that
// collector has left its cluster does a one or key cluster choose another. In
// an all cluster nobody else may get it, since the others have it already.
func (u *uploader) takeUpBoundLocked(it spool.Item, p plan, mv *moves) {
	id := fsm.CollectorID(it.Bound)
	for _, name := range p.clusters {
		cl := u.routes.table.Clusters[name]
		for _, c := range cl.Collectors {
			if t := u.targets[c.ID]; c.ID == id && t != nil {
				d := &debt{cluster: name, mode: modeOf(cl.Mode), to: t, unknown: time.Now(), resume: true}
				p.debts = []*debt{d}
				u.adoptLocked(it, p)
				u.wasOfferedLocked(it)
				return
			}
		}
	}
	if p.bind != "" {
		p.debts[0].duplicate = true // what became of it at the other is not known
		mv.bind(u.holdLocked(it, p), p.bind)
		return
	}
	mv.bury(u.holdLocked(it, plan{clusters: p.clusters}), strandedAt(it, p.stream()))
}

// unparkLocked queues a parked claim for those of its collectors that have
// room, and reports whether there was one. Nobody else is owed it any more.
func (u *uploader) unparkLocked(it spool.Item) bool {
	var debts []*debt
	var clusters []fsm.ClusterName
	for _, name := range u.routes.table.Names() {
		cl := u.routes.table.Clusters[name]
		for _, c := range cl.Collectors {
			t := u.targets[c.ID]
			if t == nil || !t.parked.Has(it.ID.Epoch, it.ID.Seq) {
				continue
			}
			d := &debt{cluster: name, mode: modeOf(cl.Mode), to: t, state: debtParked, resume: true}
			if !isAll(cl.Mode) {
				d.unknown = time.Now() // it may have been offered before it was parked
			}
			if !t.full() {
				t.unpark(it.ID)
				d.state = debtWaiting
			}
			debts, clusters = append(debts, d), append(clusters, name)
		}
	}
	if debts == nil {
		return false
	}
	if r := u.routes.rules.Route(FileFacts{Name: it.Name, Size: it.Size, Outbox: u.cfg.Name}); len(r.Clusters) > len(clusters) {
		clusters = r.Clusters
	}
	u.adoptLocked(it, plan{clusters: clusters, debts: debts, gen: u.routes.gen})
	u.wasOfferedLocked(it)
	return true
}

// sinceOf is when an item was claimed, as far as its file tells: this run may be
// younger. A time in the future is somebody's wrong clock.
func sinceOf(it spool.Item) time.Time {
	now := time.Now()
	if !it.Claimed.IsZero() && it.Claimed.Before(now) {
		return it.Claimed
	}
	return now
}

// holdLocked makes an item active that must be renamed before it is queued.
func (u *uploader) holdLocked(it spool.Item, p plan) *tracked {
	t := &tracked{item: it, clusters: p.clusters, gen: p.gen, debts: p.debts, since: sinceOf(it), moving: true, offered: true}
	for _, d := range t.debts {
		d.of = t
	}
	u.active[keyOf(it)] = t
	return t
}

func (u *uploader) unroutedLocked(it spool.Item, reason string) {
	set := u.unrouted[reason]
	if set == nil {
		set = &spool.SeqSet{}
		u.unrouted[reason] = set
	}
	set.Add(it.ID.Epoch, it.ID.Seq)
}
