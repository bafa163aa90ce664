package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// tableFile holds the last table that the node knew, in its data directory. A
// node that starts alone sends by it.
const tableFile = "table.json"

// assignments are who collects for which cluster, as far as this node knows.
// Safe for concurrent use.
type assignments struct {
	path   string // of the file that keeps the table; empty keeps none
	log    *slog.Logger
	saving sync.Mutex // held while the file is written: two writers would spoil it; taken before mu

	mu      sync.Mutex
	table   fsm.Table
	changed chan struct{} // closed and replaced when table changes
	dirty   chan struct{} // capacity 1: the file is behind
}

// newAssignments starts from a table, and keeps none on disk.
func newAssignments(t fsm.Table) *assignments {
	return &assignments{table: t, changed: make(chan struct{}), dirty: make(chan struct{}, 1)}
}

// openAssignments starts from the table that an earlier run left in dir. One
// that can't be read is left out with a warning: the network has it too.
func openAssignments(dir string, log *slog.Logger) *assignments {
	a := newAssignments(fsm.Table{})
	a.path, a.log = filepath.Join(dir, tableFile), log
	raw, err := os.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return a
	}
	if err == nil {
		a.table, err = fsm.DecodeTable(raw)
	}
	if err != nil {
		log.Warn("last table is left out, the network will tell it", "path", a.path, "err", err)
		a.table = fsm.Table{}
	}
	return a
}

// get returns the table, and a channel that is closed when it changes.
func (a *assignments) get() (fsm.Table, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.table, a.changed
}

func (a *assignments) index() uint64 {
	t, _ := a.get()
	return t.Index
}

// offer takes over a table that is newer than the one at hand, and reports
// whether it was. Sources may be behind one another, so an older one is nothing new.
func (a *assignments) offer(t fsm.Table) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.Index <= a.table.Index {
		return false
	}
	a.setLocked(t)
	return true
}

// replace takes over a table whatever its index is: that of another network, or
// of a static file read again.
func (a *assignments) replace(t fsm.Table) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setLocked(t)
}

// forgetIndex keeps the table and takes the next one for newer, whatever its
// index is. A table that no network of ours counted is like that.
func (a *assignments) forgetIndex() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.table; t.Index > 0 {
		t.Index = 0
		a.setLocked(t)
	}
}

func (a *assignments) setLocked(t fsm.Table) {
	a.table = t
	close(a.changed)
	a.changed = make(chan struct{})
	poke(a.dirty)
}

// save writes the table to the file that keeps it. It is durable when save
// returns nil.
func (a *assignments) save() error {
	if a.path == "" {
		return nil
	}
	a.saving.Lock()
	defer a.saving.Unlock()
	t, _ := a.get()
	raw, err := fsm.EncodeTable(t)
	if err != nil {
		return fmt.Errorf("keep the table: %w", err)
	}
	return writeFileDurably(a.path, raw, 0o640)
}

// keepPause is how long a table waits that could not be saved.
const keepPause = 10 * time.Second

// keepLoop saves every table that is there for more than a moment, until stop
// is closed, and then the last one. A table that cannot be saved costs nothing
// now: it is said once, and tried again.
func (a *assignments) keepLoop(stop <-chan struct{}) {
	failing := false
	for stopped := false; !stopped; {
		var again <-chan time.Time
		if failing {
			again = time.After(keepPause)
		}
		select {
		case <-stop:
			stopped = true
			select {
			case <-a.dirty:
			default:
				if !failing {
					return
				}
			}
		case <-a.dirty:
		case <-again:
		}
		err := a.save()
		if (err != nil) != failing {
			if failing = err != nil; failing {
				a.log.Warn("table can't be kept on disk; a start alone would use an older one", "path", a.path, "err", err)
			}
		}
	}
}
