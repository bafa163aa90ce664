package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"
)

// collectorID is the rule for ids of collectors, which name directories here.
var collectorID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`)

func checkCollectorID(id string) error {
	if collectorID.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%w: %q", ErrCollectorID, id)
}

// claimDir returns the directory for claims bound to a collector, or claimed/
// itself for "". A new one is durable before it is returned: a claim in a
// directory that a power cut takes back would be lost with it.
func (o *Outbox) claimDir(bound string) (*claimDir, error) {
	if cd := o.claims.dirIfAny(bound); cd != nil {
		return cd, nil
	}
	if err := checkCollectorID(bound); err != nil {
		return nil, err
	}
	claimed := o.claims.dirIfAny("")
	d, err := claimed.Sub("@"+bound, true)
	if err != nil {
		return nil, err
	}
	if err := o.syncDir(claimed); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	cd := o.claims.setDir(&claimDir{dir: d, bound: bound})
	if cd.dir != d {
		_ = d.Close() // another goroutine was faster
	}
	return cd, nil
}

// claimAll claims the ready files of a round. The order of steps and what a
// crash leaves after each:
//
//	rename <name> → claimed/<claim>: a kill leaves a claim, a power cut a claim
//	  or the file in the outbox; either way its id was offered to nobody
//	sync claimed/: the claim is there for good, and may be offered
func (o *Outbox) claimAll(r *round) ([]Item, error) {
	ready := o.giveKeys(r.ready)
	ready, err := o.takeMarkers(ready)
	if err != nil {
		return nil, err
	}
	touched := map[*claimDir]struct{}{}
	var claimed []*readyFile
	for _, rf := range ready {
		if cd := o.claimOne(rf, touched); cd {
			claimed = append(claimed, rf)
		}
	}
	if len(claimed) > 0 {
		crash(PointClaimRenamed)
	}
	err = o.syncDirs(touched)
	if err == nil {
		if len(claimed) > 0 {
			crash(PointClaimed)
		}
		err = o.dropMarkers(claimed)
	}
	if err != nil {
		o.holdUnsynced(claimed, touched)
		return nil, fmt.Errorf("claim: %w", err)
	}
	items := make([]Item, len(claimed))
	for i, rf := range claimed {
		items[i] = rf.item
	}
	return items, nil
}

// giveKeys draws the ids. Files of a stream that can't have one wait.
func (o *Outbox) giveKeys(ready []*readyFile) []*readyFile {
	kept := ready[:0]
	for _, rf := range ready {
		key, err := o.nextKey(rf.verdict.Stream)
		if err != nil {
			o.noteUnclaimed(rf, err)
			continue
		}
		rf.key = key
		kept = append(kept, rf)
	}
	return kept
}

// claimOne renames one file and reports whether it is claimed. If not, the file
// is where it was, with the reason noted, or held until its writer is done.
func (o *Outbox) claimOne(rf *readyFile, touched map[*claimDir]struct{}) bool {
	cd, err := o.claimDir(rf.verdict.Bind)
	if err == nil {
		err = o.root.Rename(rf.name, cd.dir, rf.claimName())
	}
	if err != nil {
		o.claims.unused(rf.key)
		o.returnTaken(rf)
		o.noteUnclaimed(rf, err)
		return false
	}
	touched[cd] = struct{}{}
	o.tally.forget(rf.name)
	id := ID{Spool: o.id, Epoch: rf.key.epoch, Seq: rf.key.seq}
	it := Item{ID: id, Name: rf.name, Bound: cd.bound}
	st, why, err := o.checkClaim(cd, it, rf)
	rf.item = it.with(st)
	if why == "" && err == nil {
		return true
	}
	return o.giveBack(cd, rf, why, err)
}

// checkClaim looks at a file once it is claimed. Nobody can open it by its old
// name any more, so if it is unchanged and has no writer now, it will have none.
// Only in ReadyAuto and ReadyQuiet is that our business; in the other modes the
// producer has given its word, and what it changes in spite of it is noticed by
// Unchanged and Finish.
func (o *Outbox) checkClaim(cd *claimDir, it Item, rf *readyFile) (st fileStat, why string, err error) {
	f, err := cd.Open(it.claimName())
	if err != nil {
		return st, "", err
	}
	defer func() { _ = f.Close() }()
	if st, err = f.Stat(); err != nil {
		return st, "", err
	}
	if o.cfg.Ready == ReadyRename || o.cfg.Ready == ReadyDoneFile {
		return st, "", nil
	}
	if it.with(rf.st).isStill(st) != nil {
		return st, whySettling, nil
	}
	if o.cfg.Ready == ReadyQuiet {
		return st, "", nil
	}
	busy, err := f.Writer()
	if errors.Is(err, errNoLease) {
		o.noteLeases(err)
		err = nil
	}
	if busy {
		why = whyWriter
	}
	return st, why, err
}

// giveBack puts a file that was claimed too early back under its name and
// observes it. When the name is taken by a newer file, the claim is held until
// its writer is done.
func (o *Outbox) giveBack(cd *claimDir, rf *readyFile, why string, err error) bool {
	if err != nil {
		why = whyUnread + errWords(err)
	}
	backErr := cd.RenameNew(rf.claimName(), o.root, rf.name)
	switch {
	case backErr == nil:
		cd.leave(rf.key) // pending until the sync that follows
		o.picker.movedBack(rf.name, rf.item.stat.Ino)
		o.returnTaken(rf)
		o.observeAgain(rf, why, err != nil)
		return false
	case err != nil:
		return true // unreadable and not ours to move: whoever sends it says so
	}
	h := heldClaim{item: rf.item, writing: true}
	return o.claims.hold(o.cfg.limits.held, h) == 0
}

// observeAgain observes a file that was given back.
func (o *Outbox) observeAgain(rf *readyFile, why string, rejected bool) {
	a := again(o.cfg.Grace, why)
	if rejected {
		a = answer{why: why, rejected: true}
	}
	ob := &observed{name: rf.name, st: rf.item.stat, since: time.Now(), slot: -1}
	o.wait(&round{}, ob, rf.st, a)
}

// noteUnclaimed notes why a file can't be claimed. What time may heal, such as a
// full disk, is tried again by itself; the rest with the next event or pass.
func (o *Outbox) noteUnclaimed(rf *readyFile, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		o.tally.forget(rf.name)
		return
	}
	a := answer{why: whyUnclaimed + errWords(err), rejected: isNotPermitted(err) || isCrossDevice(err)}
	if !a.rejected {
		a.after = o.cfg.Settle
	}
	ob := &observed{name: rf.name, kind: rf.kind, st: rf.st, since: time.Now(), slot: -1}
	o.wait(&round{}, ob, rf.st, a)
}

// holdUnsynced keeps claims whose rename may not be durable for a later Pick,
// which syncs first.
func (o *Outbox) holdUnsynced(claimed []*readyFile, touched map[*claimDir]struct{}) {
	o.picker.markersOwed = o.cfg.Ready == ReadyDoneFile
	hs := make([]heldClaim, len(claimed))
	for i, rf := range claimed {
		hs[i] = heldClaim{item: rf.item}
	}
	t := &o.claims
	t.mu.Lock()
	for cd := range touched {
		t.unsynced[cd] = struct{}{}
	}
	t.mu.Unlock()
	t.hold(len(hs)+o.cfg.limits.held, hs...) // no Pick claims more while these wait
}
