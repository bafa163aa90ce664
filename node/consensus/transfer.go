package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// Transfer hands the leadership to the voter to, or, when to is empty, to the
// healthy voter that has most of the log. To itself it does nothing.
//
// Errors: *NotLeaderError on any other node, ErrUnknownServer when to is no
// voter, ErrQuorum when there is no healthy voter to hand it to, ErrUnavailable
// when it did not come about within Timing.Transfer: this node may lead still.
func (p *Peer) Transfer(ctx context.Context, to string) error {
	if err := p.mayLead(); err != nil {
		return err
	}
	return p.transfer(ctx, to)
}

func (p *Peer) transfer(ctx context.Context, to string) error {
	if to == p.cfg.NodeID {
		return nil
	}
	s, err := p.heir(to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timing.times(p.cfg.Timing.Transfer))
	defer cancel()
	p.log.Info("handing over the leadership", "peer", s.ID)
	since := time.Now().Add(-p.cfg.Timing.times(2 * p.cfg.Timing.Election))
	for {
		if err := p.awaitHeir(ctx, s.ID, since); err != nil {
			return fmt.Errorf("hand over to %s: %w: %w", s.ID, ErrUnavailable, err)
		}
		err = p.engine.asks.await(ctx, func() raft.Future {
			return p.engine.raft.LeadershipTransferToServer(raft.ServerID(s.ID), raft.ServerAddress(s.Address))
		})
		if err == nil || p.engine.raft.State() != raft.Leader {
			return nil
		}
		p.wedge.begin() // the watchdog finds out whether raft is stuck now
		// Raft tries for one election timeout only.
		if ctx.Err() != nil || errors.Is(err, raft.ErrRaftShutdown) {
			return fmt.Errorf("hand over to %s: %w: %w", s.ID, ErrUnavailable, err)
		}
		since = time.Now()
	}
}

// errNotFollowing is returned when an heir does not take entries.
var errNotFollowing = errors.New("it does not follow")

// awaitHeir returns nil once the heir has taken entries after since, or this node does not
// lead any more. Raft must not be asked before: it leaves a message for the goroutine that
// replicates to the heir, with room for one. With a second in line behind one that is not
// taken, it refuses every command, for good if the leadership ends meanwhile
// (hashicorp/raft#696).
func (p *Peer) awaitHeir(ctx context.Context, id string, since time.Time) error {
	for !p.engine.trans.follows(id, since) && p.engine.raft.State() == raft.Leader {
		if !pause(ctx, p.cfg.Timing.times(p.cfg.Timing.Commit)) {
			return errNotFollowing
		}
	}
	return nil
}

func (p *Peer) heir(to string) (Server, error) {
	if to == "" {
		if to = p.standby(p.cfg.NodeID); to == "" {
			return Server{}, fmt.Errorf("hand over the leadership: %w: no other voter is healthy", ErrQuorum)
		}
	}
	for _, s := range p.Servers() {
		if s.ID == to && s.Voter {
			return s, nil
		}
	}
	return Server{}, fmt.Errorf("hand over to %s: %w among the voters", to, ErrUnknownServer)
}

// standby is the healthy voter that has most of the log, beside this node and
// except; empty when there is none.
func (p *Peer) standby(except string) string {
	best, lag := "", uint64(0)
	for _, s := range p.survey().Servers {
		if !s.Voter || s.Leader || s.ID == except || !p.healthy(s) {
			continue
		}
		if best == "" || s.Lag < lag {
			best, lag = s.ID, s.Lag
		}
	}
	return best
}
