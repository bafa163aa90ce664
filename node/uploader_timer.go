package node

import (
	"container/heap"
	"time"
)

// delayQueue holds debts until their own back-off is over, soonest first.
type delayQueue []delayedDebt

type delayedDebt struct {
	d  *debt
	to *target // whose it was, and in whose count it is
	n  int     // of the debt's pauses, this one
	at time.Time
}

func (q delayQueue) Len() int           { return len(q) }
func (q delayQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q delayQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push is for container/heap.
func (q *delayQueue) Push(x any) { *q = append(*q, x.(delayedDebt)) }

// Pop is for container/heap.
func (q *delayQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// delayLocked puts a waiting debt aside until at.
func (u *uploader) delayLocked(d *debt, at time.Time) {
	d.state = debtWaiting
	d.to.delayed++
	d.pauses++
	heap.Push(&u.delayed, delayedDebt{d, d.to, d.pauses, at})
	poke(u.rearm)
}

// timerLoop queues debts whose pause is over, probes collectors whose back-off
// is over, and moves on what waited long enough for a collector that may have
// it. Without any of these it sleeps for good.
func (u *uploader) timerLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-u.ctx.Done():
			return
		case <-u.rearm:
		case <-timer.C:
		}
		var mv moves
		u.mu.Lock()
		now := time.Now()
		u.dueLocked(&mv, now)
		u.unfinishedLocked(now)
		u.expireLocked(&mv, now)
		for _, t := range u.targets {
			if t.ailing() {
				u.evacuateLocked(t, &mv, now)
			}
			u.pumpLocked(t)
			if t.roomy() && (t.slow || t.skipped) {
				u.roomyLocked(t)
			}
		}
		if !u.readAt.IsZero() && !now.Before(u.readAt) {
			u.readAt, u.recovered, u.rewind = time.Time{}, false, true
			poke(u.wake)
		}
		if u.wantsParkedLocked() {
			poke(u.wake)
		}
		next := u.nextLocked(now)
		u.mu.Unlock()
		u.perform(mv)
		timer.Stop()
		if next > 0 {
			timer.Reset(next)
		}
	}
}

// dueLocked queues the debts whose pause is over, and looks for another
// collector for those whose own is gone.
func (u *uploader) dueLocked(mv *moves, now time.Time) {
	for len(u.delayed) > 0 && !u.delayed[0].at.After(now) {
		e := heap.Pop(&u.delayed).(delayedDebt)
		e.to.delayed--
		switch d := e.d; {
		case d.state != debtWaiting || d.pauses != e.n:
		case !isAll(d.mode) && !u.servesLocked(d):
			u.rehomeLocked(d, mv, now)
		default:
			d.to.push(d)
		}
	}
}

// unfinishedLocked hands finishLoop again what it could not finish before.
func (u *uploader) unfinishedLocked(now time.Time) {
	if len(u.unfinished) == 0 || now.Before(u.finishAt) {
		return
	}
	u.over = append(u.over, u.unfinished...)
	u.unfinished = nil
	poke(u.ended)
}

// nextLocked returns how long nothing will be due; 0 for ever.
func (u *uploader) nextLocked(now time.Time) time.Duration {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if len(u.delayed) > 0 {
		sooner(u.delayed[0].at)
	}
	if len(u.unfinished) > 0 {
		sooner(u.finishAt)
	}
	if !u.readAt.IsZero() {
		sooner(u.readAt)
	}
	for _, t := range u.targets {
		waits := t.held() > 0 || t.parked.Len() > 0
		if t.breaker.open() && t.requests() == 0 && waits && t.breaker.until.After(now) {
			sooner(t.breaker.until)
		}
	}
	if u.cfg.MaxAge > 0 && len(u.active) > 0 {
		sooner(now.Add(max(time.Second, u.cfg.MaxAge/8)))
	}
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now), time.Millisecond)
}

// expireLocked sets aside what is older than max_age.
func (u *uploader) expireLocked(mv *moves, now time.Time) {
	if u.cfg.MaxAge <= 0 {
		return
	}
	for _, t := range u.active {
		if t.busy() || now.Sub(t.since) < u.cfg.MaxAge {
			continue
		}
		for _, d := range t.debts {
			if d.state == debtWaiting || d.state == debtParked {
				d.to.unpark(t.item.ID)
				d.pauses++
				d.state, d.code = debtRefused, "max-age"
				d.why = "older than max_age (" + u.cfg.MaxAge.String() + "); last: " + orNone(d.why)
			}
		}
		u.settledLocked(t)
	}
}

func orNone(s string) string {
	if s == "" {
		return "not tried"
	}
	return s
}
