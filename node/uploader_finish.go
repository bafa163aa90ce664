package node

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// finishBatch is how many claims share one sync when they are removed.
const finishBatch = 1024

// finishPause is how long an item waits that could not be finished: a process
// still has the file open for writing, or the disk failed.
const finishPause = time.Second

// finishLoop removes claims that are over from the disk, many at a time, or
// sets them aside when a collector refused them.
func (u *uploader) finishLoop() {
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.ended:
		}
		u.drainOver(u.ctx)
	}
}

// drainOver finishes everything that is over.
func (u *uploader) drainOver(ctx context.Context) {
	for {
		done, refused := u.takeOver()
		if len(done) == 0 && len(refused) == 0 {
			return
		}
		u.finish(ctx, done)
		for _, t := range refused {
			u.bury(t, u.obituary(t))
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (u *uploader) takeOver() (done, refused []*tracked) {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := min(len(u.over), finishBatch)
	for _, t := range u.over[:n] {
		if len(t.refused()) > 0 {
			refused = append(refused, t)
		} else {
			done = append(done, t)
		}
	}
	u.over = append([]*tracked(nil), u.over[n:]...)
	return done, refused
}

// finish removes delivered claims. One whose file is not what was sent gets a
// new id and is sent again; one that could not be removed is tried again.
func (u *uploader) finish(ctx context.Context, ts []*tracked) {
	if len(ts) == 0 {
		return
	}
	errs, err := u.outbox.Finish(ctx, itemsOf(ts))
	if err != nil && !u.canceled(err) {
		u.log.Error("finished claims could not be removed", "items", len(ts), "err", err)
	}
	var mv moves
	u.mu.Lock()
	for i, t := range ts {
		e := err
		if i < len(errs) && errs[i] != nil {
			e = errs[i]
		}
		u.finishedLocked(t, e, &mv)
	}
	u.mu.Unlock()
	u.perform(mv)
}

func (u *uploader) finishedLocked(t *tracked, err error, mv *moves) {
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		delete(u.active, keyOf(t.item))
	case errors.Is(err, spool.ErrChanged):
		u.log.Warn("file changed after it was delivered, sending it again as a new item",
			"item", t.item.ID, "name", t.item.Name)
		u.sendAnewLocked(t, mv)
	default:
		// Still open for writing, or the disk failed: the same again, later.
		u.finishAgainLocked(t)
	}
}

// finishAgainLocked has an item finished again after a pause.
func (u *uploader) finishAgainLocked(t *tracked) {
	u.unfinished = append(u.unfinished, t)
	if len(u.unfinished) == 1 {
		u.finishAt = time.Now().Add(finishPause)
	}
	poke(u.rearm)
}

// sendAnewLocked plans a changed file from the start, under a new id if some
// collector may know the old one.
func (u *uploader) sendAnewLocked(t *tracked, mv *moves) {
	p, reason, room := u.planLocked(factsOf(t.item))
	if reason != "" && !room {
		u.unroutedLocked(t.item, reason)
		u.forgetLocked(t)
		return
	}
	t.cancel()
	offered := t.offered
	t.accepted, t.offered = false, false
	t.clusters, t.debts, t.gen, t.moving = p.clusters, p.debts, p.gen, true
	t.digest.Store(nil)
	for _, d := range t.debts {
		d.of = t
		d.attempts = 1 // never parked: it would look as if the others had it
	}
	if offered || t.item.Bound != string(p.bind) {
		mv.reclaim = append(mv.reclaim, t)
		return
	}
	mv.refresh = append(mv.refresh, t)
}

// bury moves an item to dead/ with the reason.
func (u *uploader) bury(t *tracked, why spool.Obituary) {
	err := u.outbox.Bury(u.ctx, t.item, why)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if !u.canceled(err) {
			u.log.Error("item could not be set aside", "item", t.item.ID, "err", err)
		}
		if len(t.refused()) > 0 {
			u.finishAgainLocked(t)
			return
		}
		u.forgetLocked(t)
		u.readAgainLocked()
		return
	}
	if err == nil {
		u.log.Error("item set aside in dead/", "item", t.item.ID, "name", t.item.Name,
			"code", why.Code, "collector", why.Collector, "reason", why.Reason)
	}
	delete(u.active, keyOf(t.item))
}

// obituary tells what became of an item that some collector refused.
func (u *uploader) obituary(t *tracked) spool.Obituary {
	u.mu.Lock()
	defer u.mu.Unlock()
	o := spool.Obituary{Cluster: streamOf(t.clusters), At: time.Now().UTC()}
	owed := map[fsm.CollectorID]bool{}
	for _, d := range t.debts {
		owed[d.to.id] = true
		o.Attempts += d.attempts
		switch d.state {
		case debtDelivered:
			o.Delivered = append(o.Delivered, string(d.to.id))
		case debtRefused:
			o.Owed = append(o.Owed, string(d.to.id))
			if o.Code == "" {
				o.Code, o.Reason, o.Collector = d.code, d.why, string(d.to.id)
			}
		}
	}
	// An item brought back from disk knows only whom it is still owed to; the
	// others of an all cluster have it, but for those it was never meant for.
	f := factsOf(t.item)
	for _, name := range t.clusters {
		cl := u.routes.table.Clusters[name]
		for _, c := range cl.Collectors {
			t := u.targets[c.ID]
			spared := t != nil && t.drain.on && !u.owedBeforeLocked(t, f, true)
			if isAll(cl.Mode) && !owed[c.ID] && !spared {
				o.Delivered = append(o.Delivered, string(c.ID))
			}
		}
	}
	return o
}
