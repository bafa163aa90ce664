package spool

import (
	"context"
	"errors"
	"io/fs"
	"strings"
)

// In ReadyDoneFile a marker <name>.done says that <name> is finished. A marker
// that outlives its file would make the next file of that name look finished
// while it is being written; one that is lost would leave its file waiting for
// ever. Neither the producer's clock nor ours can tell which file a marker
// belongs to, so it is moved instead, to .relay/done/<claim name>:
//
//	D1 rename <name>.done → done/<claim>    D2 sync done/ and the outbox
//	U0 rename <name> → claimed/<claim>      U1 sync claimed/
//	D3 remove done/<claim>                  D4 sync done/
//
// At open, a record in done/ whose claim is there is removed (D3); one whose
// claim is not there goes back to <name>.done. The claim can't have come and
// gone: nobody is told of it before D4.

// hasMarker is ReadyDoneFile.
func (o *Outbox) hasMarker(name string) answer {
	st, err := o.root.Stat(name + doneSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return answer{why: whyNoMarker}
	}
	if err != nil {
		return answer{why: whyUnread + errWords(err), rejected: true}
	}
	if words := typeWords(st.Mode); words != "" {
		return answer{why: "its .done file " + words, rejected: true}
	}
	return answer{ready: true}
}

// subject returns the file an entry is about, in ReadyDoneFile the one that a
// marker belongs to.
func (o *Outbox) subject(name string) (subject string, marker bool) {
	if o.cfg.Ready != ReadyDoneFile {
		return name, false
	}
	return strings.CutSuffix(name, doneSuffix)
}

// takeMarkers is D1 and D2. Files whose marker can't be had are left out.
func (o *Outbox) takeMarkers(ready []*readyFile) ([]*readyFile, error) {
	if o.cfg.Ready != ReadyDoneFile || len(ready) == 0 {
		return ready, nil
	}
	var taken []*readyFile
	for _, rf := range ready {
		err := o.root.Rename(rf.name+doneSuffix, o.done, rf.claimName())
		if err != nil {
			o.claims.unused(rf.key)
			o.noteUnclaimed(rf, err)
			continue
		}
		taken = append(taken, rf)
	}
	if err := errors.Join(o.done.Sync(), o.root.Sync()); err != nil {
		for _, rf := range taken {
			o.claims.unused(rf.key)
			o.returnTaken(rf)
		}
		o.wantPass.Store(true) // they are not observed any more
		return nil, err
	}
	return taken, nil
}

// dropMarkers is D3 and D4.
func (o *Outbox) dropMarkers(claimed []*readyFile) error {
	if o.cfg.Ready != ReadyDoneFile || len(claimed) == 0 {
		return nil
	}
	crash(PointDoneMarker)
	var errs []error
	for _, rf := range claimed {
		if err := o.done.Remove(rf.claimName()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, o.done.Sync())...)
}

// returnMarker puts a marker back whose file was not claimed after all. One
// that the producer made meanwhile says the same.
func (o *Outbox) returnMarker(name, record string) error {
	err := o.done.RenameNew(record, o.root, name+doneSuffix)
	if errors.Is(err, fs.ErrExist) {
		err = o.done.Remove(record)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// returnTaken undoes takeMarkers for one file, or leaves it to the next Pick.
func (o *Outbox) returnTaken(rf *readyFile) {
	if o.cfg.Ready != ReadyDoneFile {
		return
	}
	if err := o.returnMarker(rf.name, rf.claimName()); err != nil {
		o.log.Warn("done-file can't be put back yet, its file waits", "item", rf.name, "err", err)
		o.picker.markersOwed = true
	}
}

// restoreMarkers ends what a crash cut short between D1 and D4.
func (o *Outbox) restoreMarkers(ctx context.Context) error {
	err := eachEntry(o.done, func(e entry) error {
		key, name, ok := parseClaim(e)
		switch {
		case !ok:
		case o.claims.isPending(key):
			if err := o.done.Remove(e.name); err != nil {
				return err
			}
		default:
			if err := o.returnMarker(name, e.name); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	return errors.Join(err, o.root.Sync(), o.done.Sync())
}

// finishMarkers ends what an earlier Pick could not. The picker's lock is held,
// so no record belongs to a claim that is still being made or undone.
func (o *Outbox) finishMarkers(ctx context.Context) error {
	if !o.picker.markersOwed {
		return nil
	}
	if err := o.restoreMarkers(ctx); err != nil {
		return err
	}
	o.picker.markersOwed = false
	o.wantPass.Store(true) // they make their files ready
	return nil
}

// recordMarker, restoreMarker and unrecordMarker go the way back for Unclaim:
// the file must not come back without a marker, and a marker must not come back
// without the file. The record is made first; open's rule holds at every step.
func (o *Outbox) recordMarker(it Item) error {
	f, err := o.done.Create(it.claimName(), 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil // by an earlier call
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), o.done.Sync())
}

func (o *Outbox) unrecordMarker(it Item) {
	if err := o.done.Remove(it.claimName()); err != nil {
		o.log.Warn("record of a done-file is left over", "item", it.Name, "err", err)
	}
}

func (o *Outbox) restoreMarker(it Item) error {
	if err := o.returnMarker(it.Name, it.claimName()); err != nil {
		return err
	}
	return errors.Join(o.root.Sync(), o.done.Sync())
}
