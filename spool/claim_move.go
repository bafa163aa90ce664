package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Bind moves claims to a collector, or away from any with "", under the same
// ids: the choice is part of the claim, so that after a crash the same collector
// is asked again. It returns the items as they now are, in the same order.
//
// Both directories are synced before a nil error; offer the files only then.
// After an error the items returned still say where each file lies; a Bind of
// them goes on from there. Errors: ErrCollectorID and those of the disk, joined.
func (o *Outbox) Bind(ctx context.Context, items []Item, to string) ([]Item, error) {
	return o.move(ctx, items, to, func() { crash(PointBound) }, func(it Item) (Item, error) { return it, nil })
}

// Reclaim gives claims new ids in another stream, with what the files are now,
// and binds them as Bind does. It is for files that changed after they were
// offered: an id stands for one content.
//
// The old ids are over when it returns nil, and never used again.
func (o *Outbox) Reclaim(ctx context.Context, items []Item, stream, to string) ([]Item, error) {
	return o.move(ctx, items, to, func() { crash(PointReclaimed) }, func(it Item) (Item, error) {
		key, err := o.nextKey(stream)
		it.ID.Epoch, it.ID.Seq = key.epoch, key.seq
		return it, err
	})
}

// move renames claims. rename says under which id each one goes on; renamed is
// called when all are renamed and nothing is synced yet.
func (o *Outbox) move(ctx context.Context, items []Item, to string, renamed func(), rename func(Item) (Item, error)) ([]Item, error) {
	if err := o.enter(); err != nil {
		return items, err
	}
	defer o.leave()
	dst, err := o.claimDir(to)
	if err != nil {
		return items, err
	}
	out := make([]Item, len(items))
	copy(out, items)
	touched := map[*claimDir]struct{}{dst: {}}
	var errs []error
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		src := o.claims.dirIfAny(it.Bound)
		if src == nil {
			errs = append(errs, fmt.Errorf("%s: %w", it.Name, fs.ErrNotExist))
			continue
		}
		touched[src] = struct{}{}
		if out[i], err = o.moveOne(src, dst, it, rename); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", it.Name, err))
		}
	}
	renamed()
	return out, errors.Join(append(errs, o.syncMoved(dst, touched))...)
}

// syncMoved syncs the target first: an entry that is in both directories after
// a power cut is sent under one id, one that is in none would be lost.
func (o *Outbox) syncMoved(dst *claimDir, touched map[*claimDir]struct{}) error {
	if err := o.syncDir(dst); err != nil {
		return err
	}
	delete(touched, dst)
	return o.syncDirs(touched)
}

func (o *Outbox) moveOne(src, dst *claimDir, it Item, rename func(Item) (Item, error)) (Item, error) {
	moved, err := rename(it)
	if err != nil {
		return it, err
	}
	moved.Bound = dst.bound
	if src == dst && moved.key() == it.key() {
		return it, nil // an earlier call moved it; only the sync is owed
	}
	if err := src.Rename(it.claimName(), dst.dir, moved.claimName()); err != nil {
		if moved.key() != it.key() {
			o.claims.unused(moved.key())
		}
		return it, err
	}
	if moved.key() == it.key() {
		return moved, nil
	}
	src.leave(it.key())
	st, err := dst.Stat(moved.claimName())
	return moved.with(st), err
}

// Refresh returns the item with what its file is now, under the same id. Only
// for a file that changed before anybody accepted a byte of it: an id stands for
// one content.
func (o *Outbox) Refresh(it Item) (Item, error) {
	if err := o.enter(); err != nil {
		return it, err
	}
	defer o.leave()
	f, st, err := o.openClaim(it)
	if err != nil {
		return it, err
	}
	return it.with(st), f.Close()
}

// Unclaim puts a claimed file back into the outbox under its name, to be routed
// anew. Only for items of which nobody accepted a byte: the file will have
// another id. fs.ErrExist when the name is taken by a newer file; the claim
// stays then. After another error call it again.
func (o *Outbox) Unclaim(ctx context.Context, it Item) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	cd := o.claims.dirIfAny(it.Bound)
	if err := ctx.Err(); err != nil || cd == nil {
		return errors.Join(err, fmt.Errorf("unclaim %s: %w", it.Name, fs.ErrNotExist))
	}
	if o.cfg.Ready == ReadyDoneFile {
		// Pick must not tidy the record away in between.
		o.picker.mu.Lock()
		defer o.picker.mu.Unlock()
	}
	if err := o.unclaim(cd, it); err != nil {
		return fmt.Errorf("unclaim %s: %w", it.Name, err)
	}
	return nil
}

func (o *Outbox) unclaim(cd *claimDir, it Item) error {
	done := o.cfg.Ready == ReadyDoneFile
	if done {
		if err := o.recordMarker(it); err != nil {
			return err
		}
	}
	err := cd.RenameNew(it.claimName(), o.root, it.Name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // not there: an earlier call moved it
		if done {
			o.unrecordMarker(it)
		}
		return err
	}
	cd.leave(it.key())
	if err := errors.Join(o.root.Sync(), o.syncDir(cd)); err != nil || !done {
		return err
	}
	return o.restoreMarker(it)
}
