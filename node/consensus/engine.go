package consensus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
)

// engine is raft with what it stands on, from the disk up to the network.
type engine struct {
	store  store // unguarded
	probe  *os.File
	guard  *guard
	logs   raft.LogStore // guarded, with a cache
	stream *stream
	trans  *transport
	raft   *raft.Raft
	asks   *asks
}

// cachedLogs is how many log entries are kept in memory, and keptLogs how many on
// disk after a snapshot: a peer that lacks no more is sent entries, not a
// snapshot, which has traps of its own (hashicorp/raft#697).
const (
	cachedLogs    = 512
	keptLogs      = 10240
	keptSnapshots = 2
)

// openEngine opens the parts in the order in which they stand on each other, and
// closes those that it has opened when one fails.
func openEngine(ctx context.Context, cfg Config, m *machine, g *guard, resolve func(string) string, known func() string, notify chan<- bool) (e *engine, err error) {
	e = &engine{guard: g, asks: newAsks()}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.closeParts())
		}
	}()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return e, err
	}
	if e.store, err = cfg.disk.open(filepath.Join(cfg.Dir, storeFile)); err != nil {
		return e, fmt.Errorf("open %s: %w", filepath.Join(cfg.Dir, storeFile), err)
	}
	if e.probe, err = openProbe(cfg.Dir); err != nil {
		return e, err
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(cfg.Dir, keptSnapshots, newHCLog(cfg.Logger))
	if err != nil {
		return e, fmt.Errorf("open the snapshots: %w", err)
	}
	guarded := &guardedStore{store: e.store, guard: g}
	if e.logs, err = raft.NewLogCache(cachedLogs, guarded); err != nil {
		return e, err
	}
	if e.stream, err = openStream(ctx, cfg, known); err != nil {
		return e, fmt.Errorf("listen for raft: %w", err)
	}
	g.withdraw = e.severing(g.withdraw)
	e.trans = newTransport(cfg, e.stream, resolve)
	e.raft, err = startRaft(raftConfig(cfg, notify), m, e.logs, guarded, snaps, e.trans)
	return e, err
}

func raftConfig(cfg Config, notify chan<- bool) *raft.Config {
	t := cfg.Timing
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.NodeID)
	c.HeartbeatTimeout = t.times(t.Heartbeat)
	c.ElectionTimeout = t.times(t.Election)
	c.LeaderLeaseTimeout = t.times(t.Lease)
	c.CommitTimeout = t.Commit
	c.BatchApplyCh = true // commands are put in line one by one, and committed together
	c.TrailingLogs = keptLogs
	c.ShutdownOnRemove = false
	c.NoLegacyTelemetry = true
	c.NotifyCh = notify
	c.Logger = newHCLog(cfg.Logger)
	return c
}

// startRaft runs raft.NewRaft in a goroutine of its own, since it writes the
// term, and a guardedStore ends the goroutine that cannot.
func startRaft(c *raft.Config, m *machine, logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore, t *transport) (*raft.Raft, error) {
	var r *raft.Raft
	err := error(ErrDisk)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = raft.NewRaft(c, m, logs, stable, snaps, t)
	}()
	<-done
	if err != nil {
		return nil, fmt.Errorf("start raft: %w", err)
	}
	return r, nil
}

// severing is withdraw that closes the connections first.
func (e *engine) severing(withdraw func(bool)) func(bool) {
	return func(gone bool) {
		e.stream.sever(gone)
		withdraw(gone)
	}
}

// close shuts raft down, which takes no longer than patience, and closes its parts.
func (e *engine) close(patience time.Duration) error {
	// Raft waits for its replication, and that for peers: for entries that wait, and
	// for requests under way.
	e.trans.stopWaiting()
	e.stream.sever(true)
	e.asks.close(patience / 2) // without its connections a leader is none soon, and answers them all
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	down := e.raft.Shutdown() // also when there is no time to wait for it
	err := await(ctx, func() raft.Future { return down })
	if err != nil {
		// Raft panics when the log is closed under it, and a write may hang.
		return errors.Join(fmt.Errorf("shut raft down: %w", err), e.closeNetwork())
	}
	return e.closeParts()
}

func (e *engine) closeNetwork() error {
	var errs []error
	if e.trans != nil {
		errs = append(errs, e.trans.Close())
	}
	if e.stream != nil {
		errs = append(errs, e.stream.Close())
	}
	return errors.Join(errs...)
}

// closeParts closes what was opened, in reverse. The store of a disk that hangs
// cannot be closed: it is left to the end of the process.
func (e *engine) closeParts() error {
	errs := []error{e.closeNetwork()}
	if e.guard.reason() != "" {
		return errs[0]
	}
	if e.probe != nil {
		errs = append(errs, e.probe.Close())
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	return errors.Join(errs...)
}
