package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// The names in an outbox's .relay.
const (
	relayName   = ".relay"
	claimedName = "claimed"
	deadName    = "dead"
	doneName    = "done"
	spoolIDName = "spool-id"
	lockName    = "lock"
	outboxProbe = ".relay-probe"
)

// OpenOutbox opens an outbox for this process alone. It makes .relay if needed,
// reads the names of all claims (100,000 take well under two seconds) and, with
// Watch, starts watching. Claims found there are pending again; page through
// them with Claimed.
//
// Everything found is synced before it is believed: a rename that a killed
// process made may not be durable yet, and a claim that a power cut takes back
// after its file was delivered would be delivered again under a new id.
//
// Errors: ErrLocked when another process has it open; ErrUnsafe when .relay or
// a directory in it is a symbolic link or on another file system; ErrSpoolID
// when there are claims but no readable spool-id.
func OpenOutbox(ctx context.Context, cfg OutboxConfig) (*Outbox, error) {
	switch cfg.Ready {
	case "", ReadyAuto, ReadyDoneFile, ReadyQuiet, ReadyRename:
	default:
		return nil, fmt.Errorf("open outbox %s: unknown readiness %q", cfg.Dir, cfg.Ready)
	}
	o := &Outbox{cfg: cfg.withDefaults(), wake: make(chan struct{}, 1)}
	o.log = o.cfg.Logger
	o.init()
	if err := o.open(ctx); err != nil {
		return nil, fmt.Errorf("open outbox %s: %w", cfg.Dir, errors.Join(err, o.release()))
	}
	o.Rescan() // whatever lies there already
	return o, nil
}

func (o *Outbox) init() {
	o.claims.init()
	o.tally.init(o.cfg.limits.notes)
	o.picker.init(o.cfg.limits.observe)
	o.hints.init(o.cfg.limits.events)
}

// open takes the steps in the order in which they rely on each other.
func (o *Outbox) open(ctx context.Context) error {
	steps := []func(context.Context) error{
		o.openRelay,     // everything else lies in it
		o.takeLock,      // before anything is changed
		o.openClaimDirs, // and dead/, done/
		o.probe,         // can files be moved at all?
		o.syncAll,       // what is there is durable from here on
		o.loadSpoolID,   // ids of claims need it; needs to know whether there are claims
		o.restoreEpochs,
		o.restoreClaims,
		o.restoreMarkers, // needs to know the claims
		o.restoreDead,    // may make claims
		o.startWatch,     // last: events before the first pass are enough
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (o *Outbox) openRelay(context.Context) error {
	var err error
	if o.root, err = o.cfg.openDir(o.cfg.Dir); err != nil {
		return err
	}
	if o.relay, err = o.root.Sub(relayName, true); err != nil {
		return err
	}
	if o.cfg.Archive == "" {
		return nil
	}
	if o.archive, err = o.cfg.openDir(o.cfg.Archive); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

func (o *Outbox) takeLock(context.Context) error {
	var err error
	o.lock, err = lockFile(o.relay.Path(), lockName)
	return err
}

func (o *Outbox) openClaimDirs(context.Context) error {
	claimed, err := o.relay.Sub(claimedName, true)
	if err != nil {
		return err
	}
	o.claims.setDir(&claimDir{dir: claimed})
	if o.dead, err = o.relay.Sub(deadName, true); err != nil {
		return err
	}
	if o.done, err = o.relay.Sub(doneName, true); err != nil {
		return err
	}
	root, err := o.root.Self()
	if err != nil {
		return err
	}
	for _, d := range []dir{o.relay, claimed, o.dead, o.done} {
		st, err := d.Self()
		if err != nil {
			return err
		}
		if st.Dev != root.Dev {
			return fmt.Errorf("%w: %s is on another file system, files can't be moved there", ErrUnsafe, d.Path())
		}
	}
	return nil
}

// probe moves an empty file the way a claim moves one. The device number does
// not tell everything: a bind mount or a btrfs subvolume refuses the rename too.
func (o *Outbox) probe(context.Context) error {
	claimed := o.claims.dirIfAny("")
	err := probeMove(o.root, claimed)
	if isCrossDevice(err) {
		return fmt.Errorf("%w: files can't be moved to %s: %w", ErrUnsafe, claimed.Path(), err)
	}
	if isFull(err) {
		err = nil // a full outbox must be able to send: nobody else makes room
	}
	if err != nil || o.archive == nil {
		return err
	}
	err = probeMove(claimed, o.archive)
	if isCrossDevice(err) {
		o.archiveElsewhere = true
		return nil
	}
	if err != nil && !isFull(err) {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// probeMove moves an empty file from one directory to another.
func probeMove(from, to dir) error {
	for _, d := range []dir{from, to} { // what a killed process left
		if err := removeIfThere(d, outboxProbe); err != nil {
			return err
		}
	}
	f, err := from.Create(outboxProbe, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := from.Rename(outboxProbe, to, outboxProbe); err != nil {
		return errors.Join(err, from.Remove(outboxProbe))
	}
	return to.Remove(outboxProbe)
}

func (o *Outbox) syncAll(context.Context) error {
	claimed := o.claims.dirIfAny("")
	if err := eachEntry(claimed, o.openBound); err != nil {
		return err
	}
	for _, bound := range o.claims.allDirs() {
		if err := o.claims.dirIfAny(bound).Sync(); err != nil {
			return err
		}
	}
	for _, d := range []dir{o.dead, o.done, o.relay, o.root} {
		if err := d.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// openBound opens claimed/@<collector>/ when e is one. An empty one is removed:
// its collector may be gone for good.
func (o *Outbox) openBound(e entry) error {
	id, isBound := strings.CutPrefix(e.name, "@")
	if !isBound || !e.typ.IsDir() || checkCollectorID(id) != nil {
		return nil // restoreClaims counts what does not belong here
	}
	claimed := o.claims.dirIfAny("")
	if claimed.RemoveSub(e.name) == nil {
		return nil
	}
	d, err := claimed.Sub(e.name, false)
	if err != nil {
		return err
	}
	o.claims.setDir(&claimDir{dir: d, bound: id})
	return nil
}

func (o *Outbox) loadSpoolID(context.Context) error {
	text, err := readSmall(o.relay, spoolIDName, 1<<10)
	if err == nil {
		o.id, err = ParseSpoolID(strings.TrimSuffix(string(text), "\n"))
		if err == nil {
			return nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Without its id a claim can't be sent again as what it was; without any
	// claim and dead letter a new id hurts nobody.
	some, listErr := o.anyClaims()
	if listErr != nil {
		return listErr
	}
	if some {
		return fmt.Errorf("%w: there are claims in %s: %w", ErrSpoolID, o.relay.Path(), err)
	}
	o.id = NewSpoolID()
	return replaceFile(o.relay, spoolIDName, []byte(o.id.String()+"\n"))
}

// anyClaims reports whether some claim or dead letter is on disk.
func (o *Outbox) anyClaims() (bool, error) {
	errFound := errors.New("found")
	found := func(e entry) error {
		if _, _, _, ok := cutClaimID(e.name); ok {
			return errFound
		}
		return nil
	}
	dirs := []dir{o.dead}
	for _, bound := range o.claims.allDirs() {
		dirs = append(dirs, o.claims.dirIfAny(bound))
	}
	for _, d := range dirs {
		if err := eachEntry(d, found); errors.Is(err, errFound) {
			return true, nil
		} else if err != nil {
			return false, err
		}
	}
	return false, nil
}
