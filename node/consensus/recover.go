package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// RecoverConfig says what to recover. All but Peers, Force and Logger is required.
type RecoverConfig struct {
	Dir     string // Config.Dir of the node
	NodeID  string
	Address string // host:port that its raft will be dialled at
	// Peers asks the other nodes that were in the configuration how far each one's
	// log reaches. Those that do not answer are left out of what it returns.
	Peers func(ctx context.Context, others []Server) (map[string]uint64, error)
	// Force recovers although others answer and know as much or more: what they
	// know beyond this node's log is given up.
	Force  bool
	Logger *slog.Logger
}

// Recovery is what Recover did.
type Recovery struct {
	LastIndex, LastTerm uint64   // of what was kept
	Lost                []Server // the servers that are not in the configuration any more
	NetworkID           string
}

// Recover makes a node that does not run the only voter of its network, for when
// a majority of the voters is gone for good. Everything in its log counts as
// committed, and what only the others had is lost. The other nodes must not
// start again with the state that they have: they are to be wiped, and adopted anew.
//
// Errors: ErrRunning, ErrNoState; ErrBehind unless RecoverConfig.Force: nothing was changed.
func Recover(ctx context.Context, cfg RecoverConfig) (Recovery, error) {
	if cfg.Dir == "" || cfg.NodeID == "" || cfg.Address == "" {
		return Recovery{}, errors.New("recover: a directory, a node id and an address are required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	o, err := openOffline(cfg.Dir, false)
	if err != nil {
		return Recovery{}, fmt.Errorf("recover %s: %w", cfg.Dir, err)
	}
	done, err := o.recover(ctx, cfg)
	if err != nil {
		err = fmt.Errorf("recover %s: %w", cfg.Dir, err)
	}
	return done, errors.Join(err, o.store.Close())
}

func (o *offline) recover(ctx context.Context, cfg RecoverConfig) (Recovery, error) {
	in, err := o.inspect()
	if err != nil {
		return Recovery{}, err
	}
	done := Recovery{LastIndex: in.LastIndex, LastTerm: in.LastTerm, NetworkID: in.View.NetworkID}
	for _, s := range in.Servers {
		if s.ID != cfg.NodeID {
			done.Lost = append(done.Lost, s)
		}
	}
	if err := outlived(ctx, cfg, in, done.Lost); err != nil {
		return Recovery{}, err
	}
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(cfg.NodeID)
	c.Logger = newHCLog(cfg.Logger)
	only := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: c.LocalID, Address: raft.ServerAddress(cfg.Address),
	}}}
	_, nowhere := raft.NewInmemTransport(raft.ServerAddress(cfg.Address)) // it only encodes addresses
	defer nowhere.DisconnectAll()
	if err := raft.RecoverCluster(c, fsm.New(), o.store, o.store, o.snaps, nowhere, only); err != nil {
		return Recovery{}, err
	}
	if err := o.skipAhead(in, only, nowhere); err != nil {
		return Recovery{}, err
	}
	return done, nil
}

// skipAhead has the log go on beyond what the lost servers may have had, so that
// the index of the table does not go back: nodes that followed them would take
// what comes for older than what they have.
func (o *offline) skipAhead(in Inspection, only raft.Configuration, trans raft.Transport) error {
	metas, err := o.snaps.List()
	if err != nil || len(metas) == 0 {
		return errors.Join(errors.New("no snapshot was made"), err)
	}
	_, from, err := o.snaps.Open(metas[0].ID)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }() // only ever read
	index := metas[0].Index + loadGap
	sink, err := o.snaps.Create(raft.SnapshotVersionMax, index, metas[0].Term, only, metas[0].ConfigurationIndex, trans)
	if err != nil {
		return err
	}
	if err := fsm.CopySnapshot(sink, from, fsm.Target{NetworkID: in.View.NetworkID, Index: index}); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

// outlived refuses when another server answers that is better to go on with.
func outlived(ctx context.Context, cfg RecoverConfig, in Inspection, others []Server) error {
	if cfg.Force || cfg.Peers == nil || len(others) == 0 {
		return nil
	}
	answers, err := cfg.Peers(ctx, others)
	if err != nil {
		return fmt.Errorf("ask the others: %w", err)
	}
	for _, s := range others {
		if index, ok := answers[s.ID]; ok && index >= in.LastIndex {
			return fmt.Errorf("%w: %s has the log up to %d, this node up to %d", ErrBehind, s.ID, index, in.LastIndex)
		}
	}
	return nil
}
