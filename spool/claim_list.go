package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
)

// Cursor is a place in the list of claims. The zero value is the beginning. It
// holds one open directory, which Close releases before the end.
type Cursor struct {
	begun bool
	dirs  []string // collectors still to come
	bound string   // of the directory being read
	list  lister   // nil between directories
	chunk []entry
}

// Close releases the cursor. It may be called at any time, more than once.
func (c *Cursor) Close() error {
	c.chunk = nil
	if c.list == nil {
		return nil
	}
	err := c.list.Close()
	c.list = nil
	return err
}

// Claimed returns up to max of the claims on disk, from the cursor on, in no
// order, those of claimed/ first; done says that the end is reached. It is how
// claims of an earlier open come back, and how a long backlog is worked off with
// few of its items in memory: skip, if any, passes over the claims that are.
//
// A claim that is moved by Bind or Reclaim meanwhile may be met twice or not at
// all; begin again to be sure. Claims that the next Pick hands out are left out.
func (o *Outbox) Claimed(ctx context.Context, c *Cursor, max int, skip func(epoch, seq uint64) bool) (items []Item, done bool, err error) {
	if err := o.enter(); err != nil {
		return nil, false, err
	}
	defer o.leave()
	for len(items) < max {
		if err := ctx.Err(); err != nil {
			return items, false, err
		}
		e, err := o.nextClaim(c)
		if errors.Is(err, io.EOF) {
			return items, true, c.Close()
		}
		if err != nil {
			return items, false, errors.Join(err, c.Close())
		}
		key, name, ok := parseClaim(e)
		if !ok || (skip != nil && skip(key.epoch, key.seq)) || !o.claims.onOffer(key) {
			continue
		}
		it, err := o.itemAt(c.bound, key, name)
		if err == nil {
			items = append(items, it)
		} else if !errors.Is(err, fs.ErrNotExist) { // else it was finished or moved just now
			return items, false, err
		}
	}
	return items, false, nil
}

// nextClaim returns the next entry of any directory of claims.
func (o *Outbox) nextClaim(c *Cursor) (entry, error) {
	if !c.begun {
		c.begun, c.dirs = true, o.claims.allDirs()
	}
	for len(c.chunk) == 0 {
		if c.list == nil {
			if len(c.dirs) == 0 {
				return entry{}, io.EOF
			}
			l, err := o.claims.dirIfAny(c.dirs[0]).List()
			if err != nil {
				return entry{}, err
			}
			c.list, c.bound, c.dirs = l, c.dirs[0], c.dirs[1:]
		}
		es, err := c.list.Next(o.cfg.limits.chunk)
		if errors.Is(err, io.EOF) {
			err = c.Close()
		}
		if err != nil {
			return entry{}, err
		}
		c.chunk = es
	}
	e := c.chunk[0]
	c.chunk = c.chunk[1:]
	return e, nil
}

// onOffer reports whether a claim is pending and not waiting for the next Pick.
func (t *claimTable) onOffer(k claimKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, held := t.heldKeys[k]
	return !held && t.pending.Has(k.epoch, k.seq)
}

// itemAt makes the item of a claim from what lies there.
func (o *Outbox) itemAt(bound string, k claimKey, name string) (Item, error) {
	it := Item{ID: ID{Spool: o.id, Epoch: k.epoch, Seq: k.seq}, Name: name, Bound: bound}
	st, err := o.claims.dirIfAny(bound).Stat(it.claimName())
	if err != nil {
		return Item{}, err
	}
	return it.with(st), nil
}
