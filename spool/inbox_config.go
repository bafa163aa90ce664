package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"
)

// Conflict is what happens when the name of an item is taken in the inbox.
type Conflict string

// The conflict policies.
const (
	// ConflictSuffix publishes a.json as a~<seq>.json. The default.
	ConflictSuffix Conflict = "suffix"
	// ConflictReject refuses the item with ErrNameTaken.
	ConflictReject Conflict = "reject"
	// ConflictReplace replaces the file that has the name, but no directory.
	ConflictReplace Conflict = "replace"
)

// InboxConfig says where an inbox is and how files are published in it.
type InboxConfig struct {
	// Dir is the inbox. It must exist; <Dir>/.relay is made below it and must
	// be on the same file system.
	Dir string
	// Collector is the id of the collector, for log lines.
	Collector string
	// OnConflict is ConflictSuffix when empty.
	OnConflict Conflict
	// FileMode is the mode of published files, whatever the umask; 0 means 0o640.
	FileMode fs.FileMode
	// Group is the name or number of the group of published files; "" leaves
	// the one the system gives.
	Group string
	// MaxFileBytes is the largest accepted file; 0 means no limit.
	MaxFileBytes int64
	// ReserveBytes is the room left free on the file system. 0 means 1 % of
	// it, at most 256 MiB; negative means none.
	ReserveBytes int64
	// ResumeBytes is the size from which a part of a cut upload is kept; 0
	// means 1 MiB. Smaller ones are sent again from the start.
	ResumeBytes int64
	// Logger is nil for no logging.
	Logger *slog.Logger

	seams inboxSeams
}

// inboxSeams are what tests put in the place of the outside world.
type inboxSeams struct {
	openDir    func(path string) (dir, error) // nil: openDir
	commit     func(write func() error) error // around every ledger transaction; nil: write()
	now        func() time.Time               // nil: time.Now
	retryAfter time.Duration                  // between attempts to come back; 0: 1 s
}

// withDefaults fills in what was left out.
func (c InboxConfig) withDefaults() InboxConfig {
	if c.OnConflict == "" {
		c.OnConflict = ConflictSuffix
	}
	if c.FileMode == 0 {
		c.FileMode = 0o640
	}
	if c.ResumeBytes <= 0 {
		c.ResumeBytes = 1 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.seams.openDir == nil {
		c.seams.openDir = openDir
	}
	if c.seams.commit == nil {
		c.seams.commit = func(write func() error) error { return write() }
	}
	if c.seams.now == nil {
		c.seams.now = time.Now
	}
	if c.seams.retryAfter == 0 {
		c.seams.retryAfter = time.Second
	}
	return c
}

// validate reports the first thing that is wrong.
func (c InboxConfig) validate() error {
	if c.Dir == "" {
		return errors.New("inbox: no directory")
	}
	switch c.OnConflict {
	case ConflictSuffix, ConflictReject, ConflictReplace:
		return nil
	}
	return fmt.Errorf("inbox %s: unknown conflict policy %q", c.Dir, c.OnConflict)
}
