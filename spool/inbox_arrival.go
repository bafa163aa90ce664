package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	bolterrors "go.etcd.io/bbolt/errors"
)

// Arrival describes an item before its bytes come.
type Arrival struct {
	// Key is an item's id, or any 1–128 printable ASCII characters, which are
	// remembered for 24 hours after the item was published. With "" every
	// arrival is a new item.
	Key string
	// Name is the name to publish under, by the rule of CheckName.
	Name string
	// Size is in bytes; -1 when it is not known.
	Size int64
	// Digest is what the bytes must have; nil when it is not known.
	Digest *Digest
	// MTime is the modification time of the published file; zero for now.
	MTime time.Time
	// Hops goes with the file as an extended attribute, where there are any.
	Hops string
}

// Begin starts to receive an item. On success the caller owns the Staging and
// ends it with exactly one of Publish, Keep and Drop; until then the same key
// is answered ErrUnderWay. A part that was kept of the item is discarded.
//
// Errors: *DeliveredError and *SettledError when there is nothing to do;
// ErrName, ErrKey, ErrTooLarge, ErrDigestConflict and ErrNameTaken are final;
// ErrFull, ErrUnderWay, ErrUnavailable and ErrIO are worth another try;
// ErrInDoubt as in Publish; ErrClosed.
//
// Begin may wait for a group to be published when the item was left PREPARED
// by a recovery that could not rename it. ctx does not interrupt that.
func (in *Inbox) Begin(ctx context.Context, a Arrival) (*Staging, error) {
	if err := in.book.enter(); err != nil {
		return nil, err
	}
	defer in.book.leave()
	k, err := in.admit(ctx, &a)
	if err != nil {
		return nil, err
	}
	s, err := in.stageNew(k, a)
	if err != nil {
		in.book.release(k)
	}
	return s, err
}

// Resume goes on with an item of which offset bytes were kept. It reads them
// again, for the digest. Everything else is as with Begin.
//
// *OffsetError says where to go on instead; after it nothing is under way. The
// kept bytes are given up, and Have is 0, when the arrival announces another
// name, size or digest than the first time, or no digest after a restart.
func (in *Inbox) Resume(ctx context.Context, a Arrival, offset int64) (*Staging, error) {
	if err := in.book.enter(); err != nil {
		return nil, err
	}
	defer in.book.leave()
	k, err := in.admit(ctx, &a)
	if err != nil {
		return nil, err
	}
	s, err := in.stageKept(ctx, k, a, offset)
	if err != nil {
		in.book.release(k)
	}
	return s, err
}

// Progress tells what is known of a key: how many bytes are kept, or the
// receipt, or that it is settled. Errors: ErrUnknown, ErrUnderWay, ErrKey,
// ErrUnavailable, ErrIO, ErrClosed.
func (in *Inbox) Progress(_ context.Context, key string) (Progress, error) {
	if err := in.book.enter(); err != nil {
		return Progress{}, err
	}
	defer in.book.leave()
	if key == "" {
		return Progress{}, fmt.Errorf("%w: no key", ErrUnknown)
	}
	k, err := parseKey(key)
	if err != nil {
		return Progress{}, err
	}
	if err := in.book.acquire(k); err != nil {
		return Progress{}, err
	}
	defer in.book.release(k)
	if in.book.settled(k) {
		return Progress{Settled: true}, nil
	}
	r, state, err := in.find(k)
	if err != nil {
		return Progress{}, err
	}
	if state == rowSettled {
		return Progress{Settled: true}, nil
	}
	if state != rowNone {
		p := Progress{Offset: r.size, Size: r.size}
		if !in.book.isOwed(k) {
			receipt := r.receipt(true)
			p.Receipt = &receipt
		}
		return p, nil
	}
	if p, ok := in.book.partial(k); ok {
		size := int64(-1)
		if p.said {
			size = p.whole.Size
		}
		return Progress{Offset: p.size, Size: size}, nil
	}
	return Progress{}, fmt.Errorf("%w: %s", ErrUnknown, k)
}

// admit checks an arrival and makes the caller the owner of its key. It sets
// the key of a plain arrival.
func (in *Inbox) admit(ctx context.Context, a *Arrival) (itemKey, error) {
	if err := CheckName(a.Name); err != nil {
		return itemKey{}, err
	}
	if in.cfg.MaxFileBytes > 0 && a.Size > in.cfg.MaxFileBytes {
		return itemKey{}, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrTooLarge, a.Size, in.cfg.MaxFileBytes)
	}
	k, err := parseKey(a.Key)
	if err != nil {
		return k, err
	}
	if k.kind == keyPlain {
		a.Key = k.stageName()
	}
	// First own the key, then look: whoever published it meanwhile is done.
	if err := in.book.acquire(k); err != nil {
		return k, err
	}
	if err := in.known(ctx, k, *a); err != nil {
		in.book.release(k)
		return k, err
	}
	return k, nil
}

// known returns an error when the item needs no bytes or can't have its name.
func (in *Inbox) known(ctx context.Context, k itemKey, a Arrival) error {
	if k.kind != keyPlain {
		if err := in.knownKey(ctx, k, a); err != nil {
			return err
		}
	}
	if in.cfg.OnConflict == ConflictSuffix {
		return nil
	}
	st, err := in.dirs.root.Stat(a.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrIO, err)
	case in.cfg.OnConflict == ConflictReject || st.Mode.IsDir():
		return fmt.Errorf("%w: %q", ErrNameTaken, a.Name)
	}
	return nil
}

func (in *Inbox) knownKey(ctx context.Context, k itemKey, a Arrival) error {
	if in.book.settled(k) {
		return &SettledError{ID: a.Key}
	}
	r, state, err := in.find(k)
	if err != nil {
		return err
	}
	switch state {
	case rowNone:
		return nil
	case rowSettled:
		return &SettledError{ID: a.Key}
	}
	if !r.agrees(a) {
		return fmt.Errorf("%w: %s", ErrDigestConflict, k)
	}
	receipt := r.receipt(true)
	if in.book.isOwed(k) {
		if receipt, err = in.publishOwed(ctx, r); err != nil {
			return err
		}
	}
	in.counts.duplicates.Add(1)
	return &DeliveredError{Receipt: receipt}
}

// find looks a key up in the ledger.
func (in *Inbox) find(k itemKey) (row, rowState, error) {
	r, state, err := in.ledger.Load().find(k, in.cfg.seams.now())
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return r, state, fmt.Errorf("%w: its ledger is being opened again", ErrUnavailable)
	}
	if err != nil {
		return r, state, fmt.Errorf("%w: %w", ErrIO, err)
	}
	return r, state, nil
}

// publishOwed tries again to rename an item that recovery could not rename.
func (in *Inbox) publishOwed(ctx context.Context, r row) (Receipt, error) {
	j := newJob(r)
	j.owed = true
	receipt, err := in.commit.publish(ctx, j)
	receipt.Duplicate = true
	if err != nil {
		in.afterFailure(r.key, partial{size: r.size}, err)
	}
	return receipt, err
}
