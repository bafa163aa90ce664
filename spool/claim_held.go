package spool

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// releaseHeld takes up to max of the held claims out. What an earlier Pick could
// not make durable is made so first.
func (o *Outbox) releaseHeld(ctx context.Context, max int) ([]Item, error) {
	t := &o.claims
	t.mu.Lock()
	held := t.held
	var unsynced []*claimDir
	for cd := range t.unsynced {
		unsynced = append(unsynced, cd)
	}
	t.mu.Unlock()
	for _, cd := range unsynced {
		if err := o.syncDir(cd); err != nil {
			return nil, err
		}
	}
	if err := o.finishMarkers(ctx); err != nil {
		return nil, err
	}
	return o.takeHeld(held, unsynced, max), nil
}

// takeHeld decides about each of the held claims; new ones may be added meanwhile.
func (o *Outbox) takeHeld(held []heldClaim, synced []*claimDir, max int) []Item {
	var items []Item
	var kept []heldClaim
	for _, h := range held {
		if len(items) >= max || (h.writing && !o.isCalm(&h)) {
			kept = append(kept, h)
			continue
		}
		items = append(items, h.item)
	}
	t := &o.claims
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = append(kept, t.held[len(held):]...)
	for _, it := range items {
		delete(t.heldKeys, it.key())
	}
	for _, cd := range synced {
		delete(t.unsynced, cd)
	}
	return items
}

// isCalm reports whether a claim that had a writer has none and did not change
// for Grace.
func (o *Outbox) isCalm(h *heldClaim) bool {
	f, st, err := o.openClaim(h.item)
	if err != nil {
		return true // whoever sends it says why it can't be read
	}
	defer func() { _ = f.Close() }()
	now := time.Now()
	busy, err := f.Writer()
	if busy || h.since.IsZero() || h.item.isStill(st) != nil {
		h.item, h.since = h.item.with(st), now
		return false
	}
	need := o.cfg.Grace
	if errors.Is(err, errNoLease) {
		need = o.cfg.Settle
	}
	return now.Sub(h.since) >= need
}

// firstDue tells when to look at claims with a writer again.
func (t *claimTable) firstDue(pause time.Duration) (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.held {
		if h.writing {
			return time.Now().Add(pause), true
		}
	}
	return time.Time{}, false
}

// openClaim opens the file of a claim and looks at it.
func (o *Outbox) openClaim(it Item) (file, fileStat, error) {
	cd := o.claims.dirIfAny(it.Bound)
	if cd == nil {
		return nil, fileStat{}, &fs.PathError{Op: "open", Path: it.claimName(), Err: fs.ErrNotExist}
	}
	f, err := cd.Open(it.claimName())
	if err != nil {
		return nil, fileStat{}, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, fileStat{}, errors.Join(err, f.Close())
	}
	return f, st, nil
}
