package node

import (
	"errors"
	"io/fs"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// Codes of problem documents that decide what happens to an item.
const (
	codeUnderWay       = "under-way"
	codeDigestMismatch = "digest-mismatch"
)

// maxMismatches is how often a collector may say that a digest does not match
// before the item is set aside: bits do flip on the way, but not three times.
const maxMismatches = 3

// judge files the outcomes of one request: what was delivered, what is tried
// again and when, what goes to another collector, what was refused for good.
func (u *uploader) judge(r request, outs []outcome) {
	t, now := r.to, time.Now()
	var mv moves
	u.mu.Lock()
	t.itemsSending -= len(r.batch)
	if r.large {
		t.largeSending--
	} else {
		t.smallSending--
	}
	u.judgeTargetLocked(t, outs, now)
	for i, d := range r.batch {
		u.judgeDebtLocked(t, d, outs[i], &mv, now)
	}
	if t.ailing() {
		u.evacuateLocked(t, &mv, now)
	}
	if t.roomy() {
		u.roomyLocked(t)
	}
	u.pumpLocked(t)
	u.mu.Unlock()
	poke(u.rearm)
	u.perform(mv)
}

// judgeTargetLocked learns about the collector: one success closes its
// breaker, a request without any opens it. What failed on our own side says
// nothing about it.
func (u *uploader) judgeTargetLocked(t *target, outs []outcome, now time.Time) {
	var failure error
	for _, o := range outs {
		switch {
		case o.local != nil, ours(o.err):
		case o.err == nil:
			u.succeededLocked(t, o.receipt)
			return
		case answered(o.err):
			t.down = false
			t.breaker.succeed()
			return
		default:
			failure = o.err
		}
	}
	if failure == nil || u.ctx.Err() != nil {
		return
	}
	code, why, wish := causeOf(failure)
	if !t.breaker.open() {
		u.log.Warn("collector fails, backing off", "collector", t.id, "code", code, "err", failure)
	}
	t.code, t.why = code, why
	t.breaker.fail(now, wish)
	if code == httpapi.CodeNoBatch {
		t.kind, t.noBatch = peerUnknown, true
	}
}

func (u *uploader) succeededLocked(t *target, r httpapi.Receipt) {
	if t.ailing() {
		u.fruitless = false
		u.log.Info("collector works again", "collector", t.id)
	}
	t.down = false
	t.breaker.succeed()
	t.code, t.why = "", ""
	kind := peerRelay
	if r.Original {
		kind = peerOriginal
	}
	if kind != t.kind && kind == peerOriginal {
		u.log.Warn("collector knows no receipts, deliveries to it are at-least-once", "collector", t.id)
	}
	t.kind = kind
}

// answered reports whether the collector is well although it refused the item.
func answered(err error) bool {
	var se *httpapi.SendError
	return errors.As(err, &se) && (se.Outcome == httpapi.Permanent || se.Outcome == httpapi.Settled ||
		se.Code == codeUnderWay || se.Code == codeDigestMismatch)
}

// ours reports whether an attempt failed on our own side.
func ours(err error) bool {
	var se *httpapi.SendError
	return errors.As(err, &se) && (se.Code == httpapi.CodeSource || se.Code == httpapi.CodeBadOffer || se.Code == httpapi.CodeCanceled)
}

// causeOf takes a failure apart for people: stable code, words, wished pause.
func causeOf(err error) (code, why string, wish time.Duration) {
	var se *httpapi.SendError
	if errors.As(err, &se) {
		return se.Code, se.Error(), se.RetryAfter
	}
	return "failed", err.Error(), 0
}

// judgeDebtLocked decides what becomes of one debt.
func (u *uploader) judgeDebtLocked(t *target, d *debt, o outcome, mv *moves, now time.Time) {
	if d.state != debtSending {
		return // cancelled meanwhile
	}
	d.attempts++
	d.of.offered = d.of.offered || o.local == nil
	switch {
	case o.local != nil:
		u.localFailureLocked(d, o.local, mv, now)
	case o.err == nil:
		d.state, d.of.accepted = debtDelivered, true
		d.code, d.why = "", ""
		u.settledLocked(d.of)
	default:
		d.code, d.why, _ = causeOf(o.err)
		u.failedLocked(t, d, o.err, mv, now)
	}
	if d.of.gen != u.routes.gen && !d.of.busy() && u.active[keyOf(d.of.item)] == d.of && !d.of.over() {
		u.stale = true
		poke(u.wake)
	}
}

// localFailureLocked handles a file that could not be read: vanished, changed
// while it was read, or an error of the disk.
func (u *uploader) localFailureLocked(d *debt, err error, mv *moves, now time.Time) {
	d.state = debtWaiting
	d.of.digest.Store(nil)
	switch {
	case u.ctx.Err() != nil:
		return
	case errors.Is(err, fs.ErrNotExist):
		u.log.Error("claimed file vanished", "item", d.of.item.ID, "name", d.of.item.Name)
		d.of.vanished = true
		for _, other := range d.of.debts {
			if other.state == debtParked {
				other.to.unpark(d.of.item.ID)
			}
			other.state = debtCancelled
		}
		u.settledLocked(d.of)
		return
	case errors.Is(err, spool.ErrChanged):
		d.code, d.why = "changed", err.Error()
		u.changedLocked(d, mv, now)
		return
	default:
		d.code, d.why = "unreadable", err.Error()
		u.log.Warn("claimed file could not be read", "item", d.of.item.ID, "err", err)
	}
	u.delayLocked(d, now.Add(backoff(d.attempts)))
}

// changedLocked handles a file that was written to after it was claimed. An id
// stands for one content: as long as nobody was offered a byte the item is
// taken as it is now, afterwards it becomes a new item.
func (u *uploader) changedLocked(d *debt, mv *moves, now time.Time) {
	t := d.of
	if t.busy() {
		u.delayLocked(d, now.Add(backoff(d.attempts)))
		return
	}
	u.sendAnewLocked(t, mv)
}

// failedLocked handles a failed attempt by what is known of its effect.
func (u *uploader) failedLocked(t *target, d *debt, err error, mv *moves, now time.Time) {
	var se *httpapi.SendError
	if !errors.As(err, &se) {
		se = &httpapi.SendError{Outcome: httpapi.Unknown, Code: "failed", Err: err}
	}
	d.state = debtWaiting
	switch se.Code {
	case codeDigestMismatch:
		u.mismatchLocked(d, se, now)
		return
	case httpapi.CodeSource:
		u.localFailureLocked(d, err, mv, now)
		return
	}
	switch se.Outcome {
	case httpapi.Settled:
		u.refusedLocked(d, "settled", "the collector was told that this item is over: the outbox was restored from an older copy, or copied while it ran; if it is to be sent all the same, restart this node and retry")
	case httpapi.Permanent:
		u.refusedLocked(d, se.Code, se.Error())
	case httpapi.Refused:
		if !isAll(d.mode) && d.unknown.IsZero() && u.handOnLocked(d, mv, now) {
			return
		}
		d.tried = nil
		u.againLocked(t, d, se, now)
	default:
		if d.unknown.IsZero() && se.Outcome == httpapi.Unknown && se.Code != httpapi.CodeCanceled {
			d.unknown = now
		}
		if d.movable(now, u.failoverLocked(d.cluster)) && u.handOnLocked(d, mv, now) {
			return
		}
		d.resume = true
		u.againLocked(t, d, se, now)
	}
}

// againLocked queues a debt for the same collector: behind the others, and, if
// the failure was the item's rather than the collector's, after a pause.
func (u *uploader) againLocked(t *target, d *debt, se *httpapi.SendError, now time.Time) {
	if d.to.gone {
		u.stale = true
		poke(u.wake)
		return
	}
	if !t.breaker.open() || se.Status != 0 || se.Outcome == httpapi.Passing {
		u.delayLocked(d, now.Add(max(backoff(d.attempts), min(se.RetryAfter, backoffMax))))
		return
	}
	d.to.push(d)
}

// mismatchLocked handles a digest that did not match at the collector: the
// file is hashed and sent again, and set aside when that did not help.
func (u *uploader) mismatchLocked(d *debt, se *httpapi.SendError, now time.Time) {
	if d.mismatch++; d.mismatch >= maxMismatches {
		u.refusedLocked(d, se.Code, se.Error())
		return
	}
	d.of.digest.Store(nil)
	u.delayLocked(d, now.Add(backoff(d.attempts)))
}

func (u *uploader) refusedLocked(d *debt, code, why string) {
	d.state, d.code, d.why = debtRefused, code, why
	u.log.Warn("collector refused an item for good", "collector", d.to.id,
		"item", d.of.item.ID, "name", d.of.item.Name, "code", code, "reason", why)
	u.settledLocked(d.of)
}

// settledLocked passes an item on to finishLoop once nothing of it is owed.
func (u *uploader) settledLocked(t *tracked) {
	if t.over() {
		u.endLocked(t)
		return
	}
	u.forgetParkedLocked(t)
}

func (u *uploader) endLocked(t *tracked) {
	if t.moving {
		return
	}
	t.moving = true
	u.over = append(u.over, t)
	poke(u.ended)
}

// evacuateLocked moves what waits for an ailing collector of a one or key
// cluster to others, as far as it may be moved yet.
func (u *uploader) evacuateLocked(t *target, mv *moves, now time.Time) {
	if t.gone {
		return
	}
	for _, q := range []*queue{&t.small, &t.large} {
		out := q.filter(func(d *debt) bool { return !d.movable(now, u.failoverLocked(d.cluster)) })
		for _, d := range out {
			if !u.handOnLocked(d, mv, now) {
				d.tried = nil
				q.push(d)
			}
		}
	}
}

// failoverLocked returns how long an item of a cluster stays with a collector
// that may have it.
func (u *uploader) failoverLocked(name fsm.ClusterName) time.Duration {
	if cl, ok := u.routes.table.Clusters[name]; ok && cl.FailoverAfter > 0 {
		return cl.FailoverAfter
	}
	return fsm.DefaultFailoverAfter
}

// roomyLocked notes that a collector has room again: the scan may go back for
// files it passed by, and parked items may come in.
func (u *uploader) roomyLocked(t *target) {
	t.slow = false
	if t.skipped {
		t.skipped, u.passAgain = false, true
	}
	if u.passAgain || u.waiting || t.parked.Len() > 0 {
		poke(u.wake)
	}
}
