package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Finish removes claims that were delivered to everybody they are owed to, or
// moves them to the archive. The removals are made durable together, with one
// sync for each directory; only after that do they stop being pending and the
// Marks move on.
//
// The first result has one error for each item: nil; ErrChanged when the file
// is not what the item says, so that what was delivered is not what lies there;
// ErrBusy when a process still has it open for writing; or the disk's. Those
// items stay claimed. The second is that of the syncs: nothing may be believed
// settled then, and the same call with the same items goes on where it stopped.
//
// What a crash leaves: before the removal, the claim, which is sent again and
// answered with the same receipt; after it but before the sync, the claim or
// nothing. A receiver is never told that an id is settled before the sync.
func (o *Outbox) Finish(ctx context.Context, items []Item) ([]error, error) {
	errs := make([]error, len(items))
	if err := o.enter(); err != nil {
		return errs, err
	}
	defer o.leave()
	crash(PointBeforeRemove)
	for i, it := range items {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = o.checkSent(it)
		}
	}
	if err := o.copyToArchive(items, errs); err != nil {
		return errs, err
	}
	touched := map[*claimDir]struct{}{}
	for i, it := range items {
		cd := o.claims.dirIfAny(it.Bound)
		if errs[i] != nil || cd == nil {
			continue
		}
		if errs[i] = o.removeSent(cd, it); errs[i] == nil {
			cd.leave(it.key())
			touched[cd] = struct{}{}
		}
	}
	crash(PointRemoved)
	if err := o.syncArchive(len(touched)); err != nil {
		return errs, err
	}
	return errs, o.syncDirs(touched)
}

// checkSent makes sure that the file is the one that was sent. One that is not
// there was removed by an earlier call.
func (o *Outbox) checkSent(it Item) error {
	f, st, err := o.openClaim(it)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := it.isStill(st); err != nil {
		return err
	}
	busy, err := f.Writer()
	if busy {
		return fmt.Errorf("%s: %w", it.Name, ErrBusy)
	}
	if errors.Is(err, errNoLease) {
		return nil // the file's times are all there is to go by
	}
	return err
}

// removeSent takes a claim off the disk: away, or into an archive on the same
// file system. Where the archive is elsewhere, the copy is there already.
func (o *Outbox) removeSent(cd *claimDir, it Item) error {
	var err error
	if o.archive != nil && !o.archiveElsewhere {
		err = o.moveToArchive(cd, it)
	} else {
		err = cd.Remove(it.claimName())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
