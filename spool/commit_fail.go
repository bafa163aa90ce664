package spool

import (
	"fmt"
	"time"
)

// syncFailed counts a failed sync of a file or of stage/. The bytes concerned
// are gone and were dropped, so one failure costs one item or group. Two in
// short order are taken for a disk that is dying.
func (c *committer) syncFailed(err error) {
	c.in.counts.syncFailures.Add(1)
	now := c.in.cfg.seams.now()
	c.mu.Lock()
	again := !c.lastFail.IsZero() && now.Sub(c.lastFail) < syncFailureWindow
	c.lastFail = now
	c.mu.Unlock()
	if again {
		c.fail(fmt.Errorf("two syncs failed within %s: %w", syncFailureWindow, err))
	}
}

// fail stops the inbox until comeBack succeeds. It may be called by anyone.
func (c *committer) fail(why error) {
	if c.in.book.fail(why.Error()) {
		c.in.log.Error("inbox takes no files", "err", why)
	}
	c.poke()
}

// comeBack waits a while, refusing all that comes, and tries once to reopen.
// It returns false when the committer is to end.
func (c *committer) comeBack() bool {
	timer := time.NewTimer(c.in.cfg.seams.retryAfter)
	defer timer.Stop()
	for {
		if waiting := c.take(groupItems); len(waiting) > 0 {
			tellAll(waiting, c.in.book.trouble())
			continue
		}
		select {
		case <-c.wake:
		case <-c.life.Done():
			return false
		case <-timer.C:
			if _, err := c.reopen(); err != nil {
				c.fail(err)
			}
			return true
		}
	}
}

// reopen does what a restart would: it tests the disk with a new file, opens
// the ledger again to see what was committed, and recovers. Without an error
// the inbox takes files again. published is what recover returns.
func (c *committer) reopen() (published map[itemKey]row, err error) {
	in := c.in
	if err := in.dirs.inPlace(); err != nil {
		return nil, err
	}
	if _, err := in.dirs.probe(in.cfg.FileMode, in.gid); err != nil {
		return nil, err
	}
	if err := in.closeLedger(); err != nil {
		return nil, err
	}
	if err := in.openLedger(true); err != nil {
		return nil, err
	}
	// What the ledger has is what counts now.
	c.published, c.sweeps = nil, nil
	if published, err = in.recover(c.life); err != nil {
		return nil, err
	}
	in.book.fail("")
	in.log.Info("inbox takes files again")
	return published, nil
}

// inDoubt ends a group of which it is not known how far it got. Nothing of it
// may be removed. The ledger and stage/ know: if they can be read at once,
// every item gets a definite answer, else ErrInDoubt.
func (c *committer) inDoubt(jobs []*job, cause error) {
	c.fail(cause)
	published, err := c.reopen()
	if err != nil {
		c.fail(err)
		tellAll(jobs, fmt.Errorf("%w: %w", ErrInDoubt, cause))
		return
	}
	for _, j := range jobs {
		r, ok := published[j.row.key]
		switch {
		case ok:
			j.tell(r.receipt(false), nil)
		case c.in.book.isOwed(j.row.key):
			j.tell(Receipt{}, fmt.Errorf("%w: %w", ErrInDoubt, cause))
		case j.refusal != nil:
			j.tell(Receipt{}, j.refusal)
		default:
			j.tell(Receipt{}, diskError(cause))
		}
	}
}
