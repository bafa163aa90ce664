package spool

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// claimKey is an id without its outbox.
type claimKey struct{ epoch, seq uint64 }

// liveEpoch is the epoch this open of the outbox uses for one stream.
type liveEpoch struct{ epoch, last uint64 }

// claimDir is claimed/ or one directory of a collector below it.
type claimDir struct {
	dir
	bound string // the collector, or ""

	mu   sync.Mutex
	gone map[claimKey]struct{} // guarded by mu: left this directory, not yet durably
}

func (cd *claimDir) unwrap() dir { return cd.dir }

// claimTable is what is known in memory of the claims on disk. No I/O is done
// with its lock held.
type claimTable struct {
	mu sync.Mutex
	// pending holds every claim from before its rename until a sync of the
	// directory it left, begun after it left, has succeeded. Marks never pass
	// one: a receiver told that an id is settled forgets it, and a removal that
	// a power cut undoes would bring that id back.
	pending SeqSet
	dead    SeqSet
	live    map[string]*liveEpoch // by stream
	earlier []uint64              // epochs of earlier opens, as of the file
	ages    map[uint64]*ageLine   // by epoch, of the pending claims
	dirs    map[string]*claimDir  // by collector; "" is claimed/ itself

	// held are claims that nobody was told of yet; the next Pick hands them
	// out, and Claimed passes over them so that none is handed out twice.
	held     []heldClaim
	heldKeys map[claimKey]struct{}
	// unsynced are the directories that must be synced before held is handed out.
	unsynced map[*claimDir]struct{}
}

// heldClaim is a claim on its way to the next Pick.
type heldClaim struct {
	item Item
	// writing says that a writer had the file open when it was claimed and that
	// it could not be given back, its name being taken: wait until it is quiet.
	writing bool
	since   time.Time
}

func (t *claimTable) init() {
	t.live = map[string]*liveEpoch{}
	t.ages = map[uint64]*ageLine{}
	t.dirs = map[string]*claimDir{}
	t.heldKeys = map[claimKey]struct{}{}
	t.unsynced = map[*claimDir]struct{}{}
}

// nextKey gives out the next claim of a stream; it is pending from here on.
func (o *Outbox) nextKey(stream string) (claimKey, error) {
	if key, ok := o.claims.next(stream); ok {
		return key, nil
	}
	epoch, err := o.epochs.draw(o.relay)
	if err != nil {
		return claimKey{}, err
	}
	o.claims.begin(stream, epoch)
	key, _ := o.claims.next(stream)
	return key, nil
}

func (t *claimTable) next(stream string) (claimKey, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.live[stream]
	if l == nil {
		return claimKey{}, false
	}
	l.last++
	t.pending.Add(l.epoch, l.last)
	t.ageOf(l.epoch).add(l.last, time.Now())
	return claimKey{l.epoch, l.last}, true
}

// begin starts an epoch for a stream. Two that begin one at the same time both
// keep theirs on disk; the second one is never used, and its mark says closed.
func (t *claimTable) begin(stream string, epoch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live[stream] == nil {
		t.live[stream] = &liveEpoch{epoch: epoch}
		return
	}
	t.earlier = append(t.earlier, epoch)
}

// unused takes back keys that no file ever had.
func (t *claimTable) unused(keys ...claimKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range keys {
		t.removeLocked(k)
	}
}

func (t *claimTable) removeLocked(k claimKey) {
	t.pending.Remove(k.epoch, k.seq)
	if _, ok := t.pending.Min(k.epoch); !ok {
		delete(t.ages, k.epoch)
	}
}

func (t *claimTable) isPending(k claimKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pending.Has(k.epoch, k.seq)
}

func (t *claimTable) ageOf(epoch uint64) *ageLine {
	a := t.ages[epoch]
	if a == nil {
		a = &ageLine{}
		t.ages[epoch] = a
	}
	return a
}

// hold keeps claims for the next Pick and reports how many were kept. Beyond
// limit they are only on disk, where Claimed finds them.
func (t *claimTable) hold(limit int, hs ...heldClaim) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(hs), max(0, limit-len(t.held)))
	for _, h := range hs[:n] {
		t.held = append(t.held, h)
		t.heldKeys[h.item.key()] = struct{}{}
	}
	return n
}

// dirIfAny returns the directory of a collector if it is there.
func (t *claimTable) dirIfAny(bound string) *claimDir {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dirs[bound]
}

// setDir puts a directory into the table unless another was faster, and
// returns the one to use.
func (t *claimTable) setDir(cd *claimDir) *claimDir {
	t.mu.Lock()
	defer t.mu.Unlock()
	if first := t.dirs[cd.bound]; first != nil {
		return first
	}
	t.dirs[cd.bound] = cd
	return cd
}

// allDirs returns the names of the directories, "" first.
func (t *claimTable) allDirs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.dirs))
}

// leave notes that a claim has left the directory.
func (cd *claimDir) leave(k claimKey) {
	cd.mu.Lock()
	defer cd.mu.Unlock()
	if cd.gone == nil {
		cd.gone = map[claimKey]struct{}{}
	}
	cd.gone[k] = struct{}{}
}

// syncDir makes a directory's entries durable. What had left it before is not
// pending any more. After an error nothing is settled and the next call tries
// again: unlike a file's bytes, entries are not dropped by a failed sync; a
// journal that could not be written makes the whole file system read-only.
func (o *Outbox) syncDir(cd *claimDir) error {
	cd.mu.Lock()
	left := slices.Collect(maps.Keys(cd.gone))
	cd.mu.Unlock()
	if err := cd.Sync(); err != nil {
		return err
	}
	cd.mu.Lock()
	for _, k := range left {
		delete(cd.gone, k)
	}
	cd.mu.Unlock()
	o.claims.mu.Lock()
	defer o.claims.mu.Unlock()
	for _, k := range left {
		o.claims.removeLocked(k)
	}
	return nil
}

// syncDirs syncs each directory once.
func (o *Outbox) syncDirs(dirs map[*claimDir]struct{}) error {
	var errs []error
	for cd := range dirs {
		errs = append(errs, o.syncDir(cd))
	}
	return errors.Join(errs...)
}

// Marks tells, for every epoch that may still matter to a receiver, up to which
// claim everything is settled. Epochs of which nothing can be said are left out.
// The order is: epochs of earlier opens, oldest first, then those of this one.
func (o *Outbox) Marks() []Mark {
	t := &o.claims
	t.mu.Lock()
	defer t.mu.Unlock()
	last := map[uint64]uint64{}
	epochs := slices.Clone(t.earlier)
	for _, e := range epochs {
		last[e] = Closed
	}
	for _, e := range t.pending.Epochs() { // one that the file forgot
		if _, ok := last[e]; !ok {
			last[e] = Closed
			epochs = append(epochs, e)
		}
	}
	for _, stream := range slices.Sorted(maps.Keys(t.live)) {
		l := t.live[stream]
		if _, ok := last[l.epoch]; !ok {
			epochs = append(epochs, l.epoch)
		}
		last[l.epoch] = l.last
	}
	return t.marksLocked(epochs, last)
}

func (t *claimTable) marksLocked(epochs []uint64, last map[uint64]uint64) []Mark {
	out := make([]Mark, 0, len(epochs))
	for _, e := range epochs {
		m := Mark{Epoch: e, Seq: last[e]}
		if low, ok := t.pending.Min(e); ok {
			m.Seq = low - 1
		}
		if m.Seq > 0 {
			out = append(out, m)
		}
	}
	return out
}
