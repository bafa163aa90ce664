package spool

import (
	"errors"
	"log/slog"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// Readiness says how an outbox tells a finished file from one that is still
// being written.
type Readiness string

// The ways to tell that a file is ready.
const (
	// ReadyAuto: at once when it was renamed or linked in; else when nobody has
	// it open for writing and nothing changed for Grace. Where leases do not
	// work, nothing changed for Settle.
	ReadyAuto Readiness = "auto"
	// ReadyDoneFile: when <name>.done lies beside it. The marker is removed
	// with the claim.
	ReadyDoneFile Readiness = "done-file"
	// ReadyQuiet: when size, mtime and ctime did not change for Settle.
	ReadyQuiet Readiness = "quiet"
	// ReadyRename: as soon as it is seen; the producer only renames files in.
	ReadyRename Readiness = "rename"
)

// OutboxConfig describes one outbox.
type OutboxConfig struct {
	// Dir is the directory of the service that sends. It must exist.
	Dir string
	// Ready is how a finished file is told; "" is ReadyAuto.
	Ready Readiness
	// Settle is how long a file must not change where only time can tell;
	// 0 is one second. It is measured on our own monotonic clock.
	Settle time.Duration
	// Grace is how long a file that nobody has open must not change in
	// ReadyAuto; 0 is 50 ms.
	Grace time.Duration
	// Watch asks for events of the file system (Linux). Without them only
	// Rescan finds files.
	Watch bool
	// Filter, if any, must match the name of a file that is to be taken.
	Filter *regexp.Regexp
	// Archive is the directory finished files are moved to; "" removes them.
	// It must exist and may be on another file system (files are copied then).
	Archive string
	// Logger; nil discards.
	Logger *slog.Logger

	openDir func(path string) (dir, error) // the tests' disk
	limits  *pickLimits                    // smaller ones, for tests
}

func (c OutboxConfig) withDefaults() OutboxConfig {
	if c.Ready == "" {
		c.Ready = ReadyAuto
	}
	if c.Settle <= 0 {
		c.Settle = time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 50 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.openDir == nil {
		c.openDir = openDir
	}
	if c.limits == nil {
		c.limits = &defaultLimits
	}
	return c
}

// Outbox is the sender's side of the spool: it finds finished files, claims
// them under an id that is never used again, and removes them when they are
// delivered. The directory is the journal; see DESIGN.md.
//
// All methods may be called at the same time, but calls about one and the same
// item, and Claimed with one cursor, take one goroutine at a time; a second Pick
// waits for the first. After Close they return ErrClosed.
type Outbox struct {
	cfg  OutboxConfig
	log  *slog.Logger
	id   SpoolID
	lock *os.File

	root, relay, dead, done dir
	archive                 dir  // nil: finished files are removed
	archiveElsewhere        bool // on another file system: files are copied there
	wake                    chan struct{}
	wantPass                atomic.Bool

	// calls is held for reading by every method, so that Close, which takes it
	// for writing, never closes a directory under one.
	calls  sync.RWMutex
	closed bool // guarded by calls

	claims  claimTable
	epochs  epochFile
	tally   tally
	picker  picker
	hints   hints
	watch   *watcher   // nil without events
	retries sync.Mutex // one change of a dead letter at a time
}

// SpoolID returns the id of this outbox, the first part of each item's id.
func (o *Outbox) SpoolID() SpoolID { return o.id }

// Wake returns a channel of capacity one. A value says that something may have
// become ready: call Pick. Nothing is sent while nothing happens; there are no
// timers in an idle outbox.
func (o *Outbox) Wake() <-chan struct{} { return o.wake }

// Rescan makes the next Pick begin a pass over the whole directory, and wakes.
// During a pass it asks for one more after it.
func (o *Outbox) Rescan() {
	o.wantPass.Store(true)
	o.signal()
}

func (o *Outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default: // a signal is waiting already, and covers this one
	}
}

// enter begins a method; leave ends it.
func (o *Outbox) enter() error {
	o.calls.RLock()
	if o.closed {
		o.calls.RUnlock()
		return ErrClosed
	}
	return nil
}

func (o *Outbox) leave() { o.calls.RUnlock() }

// Close waits for the calls under way, stops watching and releases the
// directory. Claims stay claimed. Files opened with Open stay open.
func (o *Outbox) Close() error {
	o.calls.Lock()
	defer o.calls.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	return o.release()
}

// release gives back whatever open got hold of, the lock last.
func (o *Outbox) release() error {
	var errs []error
	o.picker.stop()
	if o.watch != nil {
		errs = append(errs, o.watch.close())
	}
	for _, bound := range o.claims.allDirs() {
		errs = append(errs, o.claims.dirIfAny(bound).Close())
	}
	for _, d := range []dir{o.done, o.dead, o.archive, o.relay, o.root} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	if o.lock != nil {
		errs = append(errs, o.lock.Close())
	}
	return errors.Join(errs...)
}
