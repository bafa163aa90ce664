package spool

import (
	"errors"
	"fmt"
	"sync"
)

const (
	reservePercent  = 1
	maxReserveBytes = 256 << 20
	minFreeInodes   = 16
	// reserveFrom is the size from which room is asked for before the bytes come.
	reserveFrom = 1 << 20
)

// room keeps account of the space on the file system of an inbox, so that a
// file that can't fit is refused before its first byte. Safe for concurrent use.
type room struct {
	d       dir
	reserve int64 // 0: reservePercent, at most maxReserveBytes; negative: none

	mu       sync.Mutex
	promised int64 // bytes of files under way that are not on the disk yet
}

// take promises room for a file of n bytes, or answers ErrFull. What was
// promised must be given back, in parts or in one.
func (r *room) take(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.enoughLocked(n); err != nil {
		return err
	}
	r.promised += n
	return nil
}

// more checks that a file of unknown size may go on for n bytes.
func (r *room) more(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enoughLocked(n)
}

// give takes back a promise of n bytes: they are on the disk, or will never be.
func (r *room) give(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.promised -= n
}

// enoughLocked is called with the mutex held across one statfs(2), which does
// not wait for the disk: two files must not be promised the same room.
func (r *room) enoughLocked(n int64) error {
	sp, err := r.d.Space()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrIO, err)
	}
	if need := n + r.promised + r.floor(sp); sp.TotalBytes > 0 && need > sp.FreeBytes {
		return fmt.Errorf("%w: %d bytes, %d promised to others and a reserve of %d, but %d are free",
			ErrFull, n, r.promised, r.floor(sp), sp.FreeBytes)
	}
	if floor := max(minFreeInodes, sp.TotalInodes/1000); sp.TotalInodes > 0 && sp.FreeInodes-1 < floor {
		return fmt.Errorf("%w: %d inodes are free, %d are held in reserve", ErrFull, sp.FreeInodes, floor)
	}
	return nil
}

// floor is the room that stays free, in bytes.
func (r *room) floor(sp space) int64 {
	switch {
	case r.reserve < 0:
		return 0
	case r.reserve > 0:
		return r.reserve
	}
	return min(sp.TotalBytes/100*reservePercent, maxReserveBytes)
}

// diskError puts an error of the disk under the sentinel that callers decide on.
func diskError(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fmt.Errorf("%w: %w", ErrIO, err)
}
