package spool

import (
	"fmt"
	"maps"
	"sync"
)

// book is what an inbox knows of its keys in memory. All of it can be rebuilt
// from the ledger and stage/. Safe for concurrent use; no method waits.
type book struct {
	calls sync.WaitGroup // calls between enter and leave

	mu     sync.Mutex
	closed bool
	reason string // why nothing can be published; "" while all is well
	// A key is under way from Begin until its Staging ended. Only the owner
	// touches the key's stage file, and recovery leaves it alone.
	underWay map[itemKey]struct{}
	partials map[itemKey]partial
	// leftovers are stage files that could not be removed. Their bytes may be
	// those of a failed sync, so they are not kept by a recovery.
	leftovers map[itemKey]struct{}
	// owed are PREPARED rows whose stage file is still there because S6 failed
	// at recovery. Every other PREPARED row that is not under way is published.
	owed   map[itemKey]row
	epochs map[epochKey]uint64 // epochs with rows or a mark, and the mark in the ledger
	wanted map[epochKey]uint64 // marks that came since, for the next group
}

// partial is a stage file that an upload can go on with.
type partial struct {
	size int64 // bytes on stable storage
	// What the sender said of the whole. Unknown after a restart.
	said  bool
	whole Arrival
}

func newBook() *book {
	return &book{
		underWay: map[itemKey]struct{}{}, partials: map[itemKey]partial{}, leftovers: map[itemKey]struct{}{},
		owed: map[itemKey]row{}, epochs: map[epochKey]uint64{}, wanted: map[epochKey]uint64{},
	}
}

// enter begins a call that uses the directories, which Close waits for.
func (b *book) enter() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.calls.Add(1)
	return nil
}

// also lets a goroutine outlive the call that starts it; the goroutine calls leave.
func (b *book) also() { b.calls.Add(1) }

func (b *book) leave() { b.calls.Done() }

// shut makes later calls fail and waits for those under way. It reports
// whether this was the first time.
func (b *book) shut() bool {
	b.mu.Lock()
	first := !b.closed
	b.closed = true
	b.mu.Unlock()
	b.calls.Wait()
	return first
}

// acquire makes the caller the owner of a key.
func (b *book) acquire(k itemKey) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reason != "" {
		return fmt.Errorf("%w: %s", ErrUnavailable, b.reason)
	}
	if _, ok := b.underWay[k]; ok {
		return fmt.Errorf("%w: %s", ErrUnderWay, k)
	}
	b.underWay[k] = struct{}{}
	return nil
}

func (b *book) release(k itemKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.underWay, k)
}

func (b *book) isUnderWay(k itemKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.underWay[k]
	return ok
}

// fail notes why nothing can be published. It reports whether that is news.
func (b *book) fail(reason string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	news := b.reason != reason
	b.reason = reason
	return news
}

// trouble returns an error while nothing can be published.
func (b *book) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reason == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, b.reason)
}

func (b *book) keep(k itemKey, p partial) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.partials[k] = p
}

func (b *book) forget(k itemKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.partials, k)
}

// removed notes whether the stage file of a key could be removed.
func (b *book) removed(k itemKey, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.partials, k)
	if ok {
		delete(b.leftovers, k)
	} else {
		b.leftovers[k] = struct{}{}
	}
}

func (b *book) isLeftover(k itemKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.leftovers[k]
	return ok
}

func (b *book) partial(k itemKey) (partial, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.partials[k]
	return p, ok
}

// idle makes the caller the owner of every partial that nobody owns and want
// agrees to, asked with the mutex held; each must be released.
func (b *book) idle(want func(itemKey) bool) []itemKey {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys []itemKey
	for k := range b.partials {
		if _, busy := b.underWay[k]; !busy && want(k) {
			b.underWay[k] = struct{}{}
			keys = append(keys, k)
		}
	}
	return keys
}

// dropIdlePartials forgets the partials that nobody owns, before stage/ is read anew.
func (b *book) dropIdlePartials() {
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.partials, func(k itemKey, _ partial) bool {
		_, busy := b.underWay[k]
		return !busy
	})
}

func (b *book) isOwed(k itemKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.owed[k]
	return ok
}

func (b *book) noLongerOwed(k itemKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.owed, k)
}

// settled reports whether the sender has said that the item is over, and the
// ledger has that for good.
func (b *book) settled(k itemKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settledLocked(k)
}

func (b *book) settledLocked(k itemKey) bool {
	return k.kind == keyItem && k.id().Seq <= b.epochs[k.epoch()]
}

// want notes a mark for the next group. Marks of epochs of which nothing is
// known here say nothing, and are not remembered.
func (b *book) want(e epochKey, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	have, known := b.epochs[e]
	if known && seq > have && seq > b.wanted[e] {
		b.wanted[e] = seq
	}
}

// takeMarks hands out the noted marks.
func (b *book) takeMarks() map[epochKey]uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	marks := b.wanted
	b.wanted = map[epochKey]uint64{}
	return marks
}

// committed notes what a transaction put into the ledger.
func (b *book) committed(w ledgerWrite) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range w.prepare {
		if r.key.kind == keyItem {
			b.epochs[r.key.epoch()] += 0 // known from now on
		}
	}
	maps.Copy(b.epochs, w.marks)
	for _, k := range w.undo {
		delete(b.owed, k)
	}
}

// rebuild replaces what was known of the ledger. Keys under way stay.
func (b *book) rebuild(epochs map[epochKey]uint64, owed map[itemKey]row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epochs = epochs
	b.owed = owed
	for k := range owed {
		if k.kind == keyItem {
			b.epochs[k.epoch()] += 0
		}
	}
}

// count returns the sizes of what is under way and kept.
func (b *book) count() (reason string, underWay, partials int, partialBytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range maps.Values(b.partials) {
		partialBytes += p.size
	}
	return b.reason, len(b.underWay), len(b.partials), partialBytes
}
