package spool

import (
	"context"
	"errors"
	"io/fs"
)

// sortStage looks at what lies in stage/ without a PREPARED row: parts that can
// be gone on with stay, other parts go, and what is not ours is set aside. It
// returns the rows of complete files that should not be here at all.
func (in *Inbox) sortStage(ctx context.Context, owed map[itemKey]row) (lost []row, err error) {
	epochs, _, err := in.ledger.Load().epochs()
	if err != nil {
		return nil, err
	}
	in.book.dropIdlePartials()
	err = eachEntry(in.dirs.stage, func(e entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.name == probeName || e.name == probeName+newSuffix {
			return removeIfThere(in.dirs.stage, e.name)
		}
		k, ours := parseStageName(e.name)
		if !ours || e.typ != 0 {
			return in.setAside(in.dirs.stage, e.name, "it is not a file that an inbox puts here")
		}
		if _, ok := owed[k]; ok || in.book.isUnderWay(k) {
			return nil
		}
		if k.kind == keyItem && k.id().Seq <= epochs[k.epoch()] {
			return in.removeStage(k)
		}
		r, state, err := in.ledger.Load().find(k, in.cfg.seams.now())
		if err != nil {
			return err
		}
		if state == rowDelivered && in.isWhole(ctx, r) {
			lost = append(lost, r)
			return nil
		}
		return in.keepOrRemove(k)
	})
	return lost, err
}

// isWhole reports whether the stage file of a row has its size and digest.
func (in *Inbox) isWhole(ctx context.Context, r row) bool {
	st, err := in.dirs.stage.Stat(r.key.stageName())
	if err != nil || st.Size != r.size {
		return false
	}
	f, err := in.dirs.stage.Open(r.key.stageName())
	if err != nil {
		return false
	}
	h := newHash()
	err = readKept(ctx, f, r.size, h)
	return errors.Join(err, f.Close()) == nil && Digest(h.Sum(nil)) == r.digest
}

// keepOrRemove decides on a part of an upload that was cut.
func (in *Inbox) keepOrRemove(k itemKey) error {
	name := k.stageName()
	st, err := in.dirs.stage.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if in.abandoned(st) {
		in.counts.abandoned.Add(1)
		return in.removeStage(k)
	}
	if k.kind == keyPlain || in.book.isLeftover(k) || st.Size < in.cfg.ResumeBytes {
		return in.removeStage(k)
	}
	// An offset counts bytes on stable storage. A file that can't be synced is
	// not one to go on with.
	f, err := in.dirs.stage.Append(name)
	if err != nil {
		return err
	}
	if st.Used > st.Size+reserveFrom { // reserved for the rest; a resume reserves it again
		err = f.Truncate(st.Size)
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		in.log.Warn("part of an upload is dropped", "item", k.String(), "err", err)
		return in.removeStage(k)
	}
	in.book.keep(k, partial{size: st.Size})
	return nil
}
