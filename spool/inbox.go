package spool

import (
	"context"
	"errors"
	"log/slog"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Inbox publishes files in a directory: each key once, never in part, and so
// that a receipt is good through kill -9 and power cuts. Open it with
// OpenInbox; it locks the directory against other processes. Safe for
// concurrent use.
type Inbox struct {
	cfg   InboxConfig
	log   *slog.Logger
	gid   int  // group of published files; -1: leave it
	chmod bool // new files don't get cfg.FileMode by themselves

	dirs   *inboxDirs
	ledger atomic.Pointer[ledger]
	book   *book
	room   *room
	commit *committer
	counts inboxCounts
}

// OpenInbox opens the inbox at cfg.Dir: it makes <Dir>/.relay where there is
// none, takes its lock, opens the ledger, publishes what was PREPARED when the
// last process ended and clears the rest of stage/. When it returns, every
// file with a receipt is in place.
//
// Errors: ErrLocked when another process has the inbox; ErrUnsafe when the
// directories are not what they must be; ErrLedgerLost, ErrLedgerCorrupt and
// ErrLedgerVersion when what was delivered can't be known, which a person must
// resolve as the message says; else what the disk said. On an error nothing
// stays open. ctx ends a long recovery.
func OpenInbox(ctx context.Context, cfg InboxConfig) (*Inbox, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.Dir = dir // a later change of the working directory must not matter
	gid, err := lookupGroup(cfg.Group)
	if err != nil {
		return nil, err
	}
	dirs, err := openInboxDirs(cfg.Dir, cfg.seams.openDir)
	if err != nil {
		return nil, err
	}
	in := &Inbox{
		cfg: cfg, log: cfg.Logger.With("inbox", cfg.Dir, "collector", cfg.Collector), gid: gid,
		dirs: dirs, book: newBook(), room: &room{d: dirs.stage, reserve: cfg.ReserveBytes},
	}
	in.commit = newCommitter(in)
	if err := in.start(ctx); err != nil {
		return nil, errors.Join(err, in.closeLedger(), dirs.close())
	}
	in.commit.start()
	return in, nil
}

// start tests the disk, opens the ledger and recovers.
func (in *Inbox) start(ctx context.Context) (err error) {
	if in.chmod, err = in.dirs.probe(in.cfg.FileMode, in.gid); err != nil {
		return err
	}
	dead, err := in.dirs.deadFiles()
	if err != nil {
		return err
	}
	in.counts.dead.Store(int64(dead))
	if err := in.openLedger(false); err != nil {
		return err
	}
	_, err = in.recover(ctx)
	return err
}

// openLedger opens the ledger; with again it must be there.
func (in *Inbox) openLedger(again bool) error {
	l, err := openLedger(in.dirs.relay, again, in.setAside)
	if err != nil {
		return err
	}
	l.wrap = in.cfg.seams.commit
	in.ledger.Store(l)
	return nil
}

// setAside moves an entry of a directory of ours to dead/.
func (in *Inbox) setAside(from dir, name, why string) error {
	if err := in.dirs.setAside(from, name, why); err != nil {
		return err
	}
	in.counts.dead.Add(1)
	in.log.Warn("set aside", "file", name, "reason", why)
	return nil
}

func (in *Inbox) closeLedger() error {
	if l := in.ledger.Load(); l != nil {
		return l.close()
	}
	return nil
}

// Close waits for the calls under way, publishes what waits, and gives the
// lock back. Stagings that were not ended are cut off: their bytes are found
// at the next start. Calls after Close answer ErrClosed. Close may be called
// again.
func (in *Inbox) Close() error {
	if !in.book.shut() {
		return nil
	}
	in.commit.stop()
	return errors.Join(in.closeLedger(), in.dirs.close())
}

// lookupGroup returns the number of a group given by name or number; -1 for "".
func lookupGroup(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if gid, err := strconv.Atoi(group); err == nil && gid >= 0 {
		return gid, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(g.Gid)
}
