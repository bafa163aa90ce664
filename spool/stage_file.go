package spool

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"
	"time"
)

// partialAge is how long a cut upload is kept.
const partialAge = 7 * 24 * time.Hour

// stageNew is S1: an empty file in stage/ for a key that the caller owns.
func (in *Inbox) stageNew(k itemKey, a Arrival) (*Staging, error) {
	s := &Staging{in: in, key: k, whole: a, hash: newHash()}
	if err := s.promise(max(a.Size, 0)); err != nil {
		return nil, err
	}
	f, err := in.dirs.stage.Create(k.stageName(), in.cfg.FileMode)
	if errors.Is(err, fs.ErrExist) {
		// Parts of an earlier try. Nobody else uses them, as the key is ours,
		// and they have no row, or the caller would not be here.
		if err = in.removeStage(k); err == nil {
			f, err = in.dirs.stage.Create(k.stageName(), in.cfg.FileMode)
		}
	}
	if err != nil {
		s.fulfil(s.promised)
		return nil, diskError(err)
	}
	in.book.forget(k)
	crash(PointStageCreated)
	return s.reserve(f)
}

// reserve asks the file system for the room of a large file at once, so that
// it shows now, and not after a gigabyte, that there is none.
func (s *Staging) reserve(f file) (*Staging, error) {
	s.f = f
	if s.whole.Size <= reserveFrom {
		return s, nil
	}
	err := f.Reserve(s.whole.Size)
	if err == nil {
		s.fulfil(s.promised) // the file system accounts for it from now on
	}
	if err == nil || !isFull(err) { // another failure is for the writes to find
		return s, nil
	}
	err = diskError(err)
	if s.resumed {
		err = errors.Join(err, f.Close())
	} else {
		err = errors.Join(err, f.Close(), s.in.removeStage(s.key))
	}
	s.fulfil(s.promised)
	return nil, err
}

// promise asks for room. Before it gives up it clears away what nobody came
// back for.
func (s *Staging) promise(n int64) error {
	err := s.in.room.take(n)
	if errors.Is(err, ErrFull) && s.in.sweepPartials() > 0 {
		err = s.in.room.take(n)
	}
	if err == nil {
		s.promised = n
	}
	return err
}

// stageKept opens the kept bytes of a key that the caller owns.
func (in *Inbox) stageKept(ctx context.Context, k itemKey, a Arrival, offset int64) (*Staging, error) {
	p, ok := in.book.partial(k)
	if ok && !p.continues(a) {
		if err := in.removeStage(k); err != nil {
			return nil, diskError(err)
		}
		p, ok = partial{}, false
	}
	if offset != p.size {
		return nil, &OffsetError{Have: p.size}
	}
	if !ok {
		return in.stageNew(k, a)
	}
	s := &Staging{in: in, key: k, whole: a, hash: newHash(), n: p.size, resumed: true, checked: p.size, flushed: p.size}
	if err := s.promise(max(a.Size-p.size, 0)); err != nil {
		return nil, err
	}
	f, err := in.openKept(ctx, k, p.size, s.hash)
	if err != nil {
		s.fulfil(s.promised)
		return nil, err
	}
	return s.reserve(f)
}

// continues reports whether an arrival is about the same bytes. After a
// restart nothing is known of the first one; then only a digest can tell
// whether the whole came together right.
func (p partial) continues(a Arrival) bool {
	if !p.said {
		return a.Digest != nil && (a.Size < 0 || a.Size >= p.size)
	}
	w := p.whole
	sameSize := w.Size < 0 || a.Size < 0 || w.Size == a.Size
	sameDigest := w.Digest == nil || a.Digest == nil || *w.Digest == *a.Digest
	return w.Name == a.Name && sameSize && sameDigest
}

// openKept opens a stage file for appending after its first size bytes, which
// go into h. A file with fewer bytes is given up.
func (in *Inbox) openKept(ctx context.Context, k itemKey, size int64, h hash.Hash) (file, error) {
	f, err := in.dirs.stage.Append(k.stageName())
	if errors.Is(err, fs.ErrNotExist) {
		in.book.forget(k)
		return nil, &OffsetError{Have: 0}
	}
	if err != nil {
		return nil, diskError(err)
	}
	err = readKept(ctx, f, size, h)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.Join(in.removeStage(k), &OffsetError{Have: 0})
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, diskError(err)
}

// readKept hashes size bytes and cuts off what lies beyond.
func readKept(ctx context.Context, f file, size int64, h hash.Hash) error {
	const chunk = 1 << 20
	for at := int64(0); at < size; at += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		want := min(chunk, size-at)
		n, err := io.Copy(h, io.NewSectionReader(f, at, want))
		if err != nil {
			return err
		}
		if n < want {
			return io.ErrUnexpectedEOF
		}
	}
	st, err := f.Stat()
	if err != nil || st.Size == size {
		return err
	}
	return f.Truncate(size)
}

// removeStage removes the stage file of a key that the caller owns. Only for
// keys without a PREPARED row: a prepared file leaves stage/ by S6 alone.
func (in *Inbox) removeStage(k itemKey) error {
	err := removeIfThere(in.dirs.stage, k.stageName())
	in.book.removed(k, err == nil)
	return err
}

// keepPart keeps a part whose bytes are synced: its name is, too, when keepPart
// returns nil. Otherwise it removes the part. The caller owns the key.
func (in *Inbox) keepPart(k itemKey, p partial) error {
	if err := in.dirs.stage.Sync(); err != nil {
		in.commit.syncFailed(err)
		return errors.Join(diskError(err), in.removeStage(k))
	}
	in.book.keep(k, p)
	crash(PointPartialKept)
	return nil
}

// afterFailure decides on a stage file whose publishing failed. The caller owns the key.
func (in *Inbox) afterFailure(k itemKey, p partial, why error) {
	if errors.Is(why, ErrInDoubt) {
		return // the file may be PREPARED: only recovery may decide
	}
	dropped := errors.Is(why, ErrIO) || errors.Is(why, ErrDigest) || errors.Is(why, ErrTooLarge) || errors.Is(why, ErrNameTaken)
	_, restart := errors.AsType[*OffsetError](why)
	decide := in.removeStage
	if !dropped && !restart && k.kind != keyPlain && p.size >= in.cfg.ResumeBytes {
		decide = func(k itemKey) error { return in.keepPart(k, p) }
	}
	if err := decide(k); err != nil {
		in.log.Warn("stage file stays until the next start", "item", k.String(), "err", err)
	}
}

// sweepPartials removes the partials that are older than partialAge and
// returns how many there were.
func (in *Inbox) sweepPartials() int {
	n := 0
	for _, k := range in.book.idle(func(itemKey) bool { return true }) {
		st, err := in.dirs.stage.Stat(k.stageName())
		if err == nil && in.abandoned(st) && in.removeStage(k) == nil {
			n++
		}
		in.book.release(k)
	}
	in.counts.abandoned.Add(int64(n))
	return n
}

// abandoned goes by the last change of the inode where it is known, since the
// mtime of a complete file is already that of its source.
func (in *Inbox) abandoned(st fileStat) bool {
	last := st.MTime
	if st.CTime.After(last) {
		last = st.CTime
	}
	return in.cfg.seams.now().Sub(last) > partialAge
}
