package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"time"
)

const (
	// flushBytes is how much of a large file is written between two syncs in
	// the background. One runs while the next stretch is written, so at most
	// twice as much is not on stable storage: a cut costs at most 8 MiB.
	flushBytes = 4 << 20
	// foreignKeyAge is how long a key that is not ours is remembered.
	foreignKeyAge = 24 * time.Hour
)

// Staging is one item whose bytes are coming in, in a file in stage/. One
// goroutine at a time may use it. Exactly one of Publish, Keep and Drop ends
// it; after that all of them do nothing, so Drop can be deferred.
type Staging struct {
	in    *Inbox
	key   itemKey
	whole Arrival

	f       file
	hash    hash.Hash
	n       int64 // bytes in the file
	resumed bool  // some of them came before this Staging
	durable bool  // all n bytes are synced, and the file is closed
	err     error // the first failure; nothing is written after it
	ended   bool

	promised int64      // what is left of the promise of room
	checked  int64      // of unknown size: n at the last look at the free space
	flushed  int64      // n when the last background sync began
	flush    chan error // capacity 1; the result of the background sync under way, else nil
}

// Write adds bytes to the item. After an error the item can only be dropped.
//
// Errors: ErrTooLarge for more than MaxFileBytes, or than was announced;
// ErrFull; ErrIO; ErrClosed.
func (s *Staging) Write(p []byte) (int, error) {
	if err := s.in.book.enter(); err != nil {
		return 0, err
	}
	defer s.in.book.leave()
	if s.ended {
		return 0, ErrClosed
	}
	if s.err == nil {
		s.err = s.mayGrow(int64(len(p)))
	}
	if s.err != nil || len(p) == 0 {
		return 0, s.err
	}
	n, err := s.f.Write(p)
	s.hash.Write(p[:n])
	s.n += int64(n)
	s.fulfil(int64(n))
	if err != nil {
		s.err = diskError(err)
		return n, s.err
	}
	if s.n != s.whole.Size {
		crash(PointStageHalf)
	}
	s.err = s.flushSome()
	return n, s.err
}

// mayGrow checks the limits for n more bytes.
func (s *Staging) mayGrow(n int64) error {
	size, limit := s.n+n, s.in.cfg.MaxFileBytes
	switch {
	case s.whole.Size >= 0 && size > s.whole.Size:
		return fmt.Errorf("%w: more than the %d bytes that were announced", ErrTooLarge, s.whole.Size)
	case s.whole.Size >= 0:
		return nil
	case limit > 0 && size > limit:
		return fmt.Errorf("%w: at most %d bytes are taken", ErrTooLarge, limit)
	case size-s.checked < reserveFrom:
		return nil
	}
	s.checked = size
	return s.in.room.more(n)
}

// fulfil takes n bytes off the promise of room: they are written, or won't be.
func (s *Staging) fulfil(n int64) {
	n = min(n, s.promised)
	s.promised -= n
	s.in.room.give(n)
}

// flushSome keeps a background sync running in a large file.
func (s *Staging) flushSome() error {
	if s.n-s.flushed < flushBytes {
		return nil
	}
	if err := s.awaitFlush(); err != nil {
		return err
	}
	s.flushed = s.n
	s.flush = make(chan error, 1)
	s.in.book.also()
	go func(f file, done chan<- error) { // waited for by awaitFlush and by Close
		defer s.in.book.leave()
		err := f.Sync()
		if err == nil { // its name counts as much as its bytes
			err = s.in.dirs.stage.Sync()
		}
		if err == nil {
			crash(PointPartialKept)
		}
		done <- err
	}(s.f, s.flush)
	return nil
}

// awaitFlush waits for the background sync. If it failed, the bytes are gone:
// the file must not be synced again, as a second sync would report success.
func (s *Staging) awaitFlush() error {
	if s.flush == nil {
		return nil
	}
	err := <-s.flush
	s.flush = nil
	return s.synced(err)
}

// synced judges the result of a sync of the stage file.
func (s *Staging) synced(err error) error {
	if err == nil {
		return nil
	}
	if !isFull(err) { // with delayed allocation a full disk shows here, too
		s.in.commit.syncFailed(err)
	}
	return diskError(err)
}

// Publish makes the item visible under its name and returns the receipt, once
// bytes, name and ledger row are on stable storage. It ends the Staging.
//
// Publish waits for the group that it joins; ctx stops it only before the
// group has begun. Errors:
//
//   - ErrShort, ErrFull, ErrUnavailable and those of ctx: what came is kept as by Keep.
//   - ErrDigest, ErrTooLarge, ErrNameTaken, ErrIO: what came is dropped.
//   - *OffsetError: as ErrDigest, but some of the bytes were kept from before
//     and may be to blame; the sender starts again at 0.
//   - ErrInDoubt: see there.
func (s *Staging) Publish(ctx context.Context) (Receipt, error) {
	if err := s.begin(); err != nil {
		return Receipt{}, err
	}
	defer s.end()
	r, err := s.seal(ctx)
	if err == nil {
		var receipt Receipt
		if receipt, err = s.in.commit.publish(ctx, newJob(r)); err == nil {
			return receipt, nil
		}
	}
	s.close()
	s.in.afterFailure(s.key, s.partial(), err)
	return Receipt{}, err
}

// Keep ends the Staging and keeps its bytes for a Resume if they are enough to
// be worth it; else it drops them. A nil error means that kept bytes are on
// stable storage.
func (s *Staging) Keep() error {
	if s.begin() != nil {
		return nil // ended before, or the inbox is closed and start sees to the file
	}
	defer s.end()
	if !s.worthKeeping() {
		s.close()
		return s.in.removeStage(s.key)
	}
	if err := s.syncAndClose(context.Background()); err != nil {
		s.close()
		return errors.Join(err, s.in.removeStage(s.key))
	}
	return s.in.keepPart(s.key, s.partial())
}

// Drop ends the Staging and removes its bytes.
func (s *Staging) Drop() error {
	if s.begin() != nil {
		return nil
	}
	defer s.end()
	s.close()
	return s.in.removeStage(s.key)
}

// begin starts the one call that ends the Staging.
func (s *Staging) begin() error {
	if s.ended {
		return ErrClosed
	}
	s.ended = true
	if err := s.in.book.enter(); err != nil {
		s.close()
		return err
	}
	return nil
}

// close closes the file, if it is open, without making anything durable.
func (s *Staging) close() {
	_ = s.awaitFlush() // whoever wanted the bytes has asked before
	if s.f != nil {
		_ = s.f.Close()
		s.f = nil
	}
}

// end gives back all that the Staging holds; the key last.
func (s *Staging) end() {
	s.close()
	s.fulfil(s.promised)
	s.in.book.release(s.key)
	s.in.book.leave()
}

// seal checks what came and makes it durable: S2 and S3.
func (s *Staging) seal(ctx context.Context) (row, error) {
	if s.err != nil {
		return row{}, s.err
	}
	if s.whole.Size >= 0 && s.n != s.whole.Size {
		return row{}, errors.Join(
			fmt.Errorf("%w: %d of %d bytes", ErrShort, s.n, s.whole.Size), s.syncIfWorthIt(ctx))
	}
	r := row{key: s.key, name: s.whole.Name, publishedAs: s.whole.Name, size: s.n, text: s.whole.Key}
	s.hash.Sum(r.digest[:0])
	if want := s.whole.Digest; want != nil && *want != r.digest {
		if s.resumed {
			return row{}, &OffsetError{Have: 0}
		}
		return row{}, fmt.Errorf("%w: it is %s, not %s", ErrDigest, r.digest, want)
	}
	if s.key.kind == keyForeign {
		r.expires = s.in.cfg.seams.now().Add(foreignKeyAge).UTC().Truncate(time.Second)
	}
	if err := s.dress(); err != nil {
		return row{}, diskError(err)
	}
	crash(PointStageWritten)
	return r, s.syncAndClose(ctx)
}

// dress gives the file what readers of the inbox shall see, before it is synced.
func (s *Staging) dress() error {
	if s.whole.Hops != "" {
		if err := s.f.SetTag(s.whole.Hops); err != nil && isFull(err) {
			return err // another failure only costs the loop check of a later node
		}
	}
	if s.in.chmod || s.in.gid >= 0 {
		if err := s.f.SetOwner(s.in.cfg.FileMode, s.in.gid); err != nil {
			return err
		}
	}
	if s.whole.MTime.IsZero() {
		return nil
	}
	return s.f.SetTimes(s.whole.MTime)
}

// syncAndClose is S3. A close can fail for want of space, so it counts.
func (s *Staging) syncAndClose(ctx context.Context) error {
	if err := s.awaitFlush(); err != nil {
		return err
	}
	if s.worthKeeping() {
		ctx = context.WithoutCancel(ctx) // synced in any case, to be kept
	}
	if s.n < s.whole.Size && s.whole.Size > reserveFrom {
		if err := s.f.Truncate(s.n); err != nil { // gives reserved room back
			return diskError(err)
		}
	}
	if err := s.in.commit.beginSync(ctx); err != nil {
		return err
	}
	err := s.f.Sync()
	s.in.commit.endSync()
	if err != nil {
		return s.synced(err)
	}
	err = s.f.Close()
	s.f = nil
	if err != nil {
		return diskError(err)
	}
	s.durable = true
	crash(PointStageSynced)
	return nil
}

func (s *Staging) syncIfWorthIt(ctx context.Context) error {
	if !s.worthKeeping() {
		return nil
	}
	return s.syncAndClose(ctx)
}

func (s *Staging) worthKeeping() bool {
	return s.err == nil && s.key.kind != keyPlain && s.n >= s.in.cfg.ResumeBytes
}

// partial is what can be kept: all or, unless it was synced, nothing.
func (s *Staging) partial() partial {
	if !s.durable {
		return partial{}
	}
	return partial{size: s.n, said: true, whole: s.whole}
}

func newHash() hash.Hash { return sha256.New() }
