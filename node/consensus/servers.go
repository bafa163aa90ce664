package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// bootstrap founds a network of these voters, this node among them. Nil also
// when there is raft state already: another one was quicker.
func (p *Peer) bootstrap(ctx context.Context, servers []Server) error {
	var c raft.Configuration
	for _, s := range servers {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(s.ID), Address: raft.ServerAddress(s.Address)})
	}
	err := p.engine.asks.await(ctx, func() raft.Future { return p.engine.raft.BootstrapCluster(c) })
	if err != nil && !errors.Is(err, raft.ErrCantBootstrap) {
		return fmt.Errorf("bootstrap: %w", p.explain(ctx, err))
	}
	p.news.poke()
	return nil
}

// myTurn waits until nobody else on this node looks at the configuration in order
// to change it. Raft refuses what was decided on an old one, but not after a
// restart from a snapshot, when it does not tell the index of the one in force.
func (p *Peer) myTurn(ctx context.Context) (done func(), err error) {
	select {
	case p.turn <- struct{}{}:
		return func() { <-p.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Changes of the configuration, on the leader only. Each is one entry in the
// log, refused when the configuration is not the one of prevIndex any more
// (0: whichever). addNonvoter and addVoter give a known server its new address
// in place; addNonvoter leaves a voter its vote.

func (p *Peer) addNonvoter(ctx context.Context, s Server, prevIndex uint64) error {
	_, err := p.change(ctx, "add non-voter", s, func(t time.Duration) raft.IndexFuture {
		return p.engine.raft.AddNonvoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), prevIndex, t)
	})
	return err
}

func (p *Peer) addVoter(ctx context.Context, s Server, prevIndex uint64) error {
	_, err := p.change(ctx, "add voter", s, func(t time.Duration) raft.IndexFuture {
		return p.engine.raft.AddVoter(raft.ServerID(s.ID), raft.ServerAddress(s.Address), prevIndex, t)
	})
	return err
}

func (p *Peer) demote(ctx context.Context, s Server, prevIndex uint64) error {
	_, err := p.change(ctx, "demote voter", s, func(t time.Duration) raft.IndexFuture {
		return p.engine.raft.DemoteVoter(raft.ServerID(s.ID), prevIndex, t)
	})
	return err
}

func (p *Peer) removeServer(ctx context.Context, s Server, prevIndex uint64) error {
	index, err := p.change(ctx, "remove server", s, func(t time.Duration) raft.IndexFuture {
		return p.engine.raft.RemoveServer(raft.ServerID(s.ID), prevIndex, t)
	})
	if err != nil {
		return err
	}
	if err := p.farewell(ctx, s, index); err != nil {
		p.log.Warn("removed server was not told", "peer", s.ID, "err", err)
	}
	return nil
}

// change makes one change and returns its index. The configuration method knows
// of it then.
func (p *Peer) change(ctx context.Context, what string, s Server, ask func(time.Duration) raft.IndexFuture) (uint64, error) {
	if err := p.mayLead(); err != nil {
		return 0, err
	}
	var changed raft.IndexFuture
	err := p.engine.asks.await(ctx, func() raft.Future {
		moved := p.holdMoving(ctx, s)
		defer moved() // also when nothing is asked: what is held would be held for ever
		if ctx.Err() != nil {
			return failed{ctx.Err()}
		}
		changed = ask(p.cfg.Timing.times(p.cfg.Timing.Propose))
		return changed
	})
	if err == nil {
		err = p.machine.wait(ctx, changed.Index())
	}
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", what, s.ID, p.explain(ctx, err))
	}
	p.log.Info("configuration changed", "change", what, "peer", s.ID, "address", s.Address)
	p.news.poke()
	return changed.Index(), nil
}

// holdMoving keeps entries for a server back that is about to get another
// address, until what it returns is called: by then raft has written it down.
func (p *Peer) holdMoving(ctx context.Context, s Server) (moved func()) {
	before, known := p.server(s.ID)
	if !known || before.Address == s.Address || s.ID == p.cfg.NodeID {
		return func() {}
	}
	t := p.cfg.Timing
	release := p.engine.trans.gate.hold(ctx, s.ID, t.times(t.Heartbeat))
	return func() {
		defer release()
		// The main loop takes this up after the change. Whether it leads, the change tells.
		_ = p.engine.asks.await(ctx, p.engine.raft.VerifyLeader)
	}
}

// Remove takes a node out for good: out of the configuration, and out of the
// catalogue with its collectors. It returns once both are committed, and may be
// repeated.
//
// Errors: ErrUnknownServer when neither knows the node. ErrQuorum when fewer healthy voters than
// a majority would be left: nothing was changed. *NotLeaderError on any node but
// the leader, and on the leader that removes itself: it hands over first, and
// whoever leads then is to be asked again. ErrUnavailable when it may have been
// done in part.
func (p *Peer) Remove(ctx context.Context, id string) error {
	if err := p.mayLead(); err != nil {
		return err
	}
	done, err := p.myTurn(ctx)
	if err != nil {
		return fmt.Errorf("remove %s: %w", id, p.explain(ctx, err))
	}
	defer done()
	s, known := p.server(id)
	if known {
		if err := p.expendable(s); err != nil {
			return fmt.Errorf("remove %s: %w", id, err)
		}
		if id == p.cfg.NodeID {
			if err := p.transfer(ctx, ""); err != nil {
				return fmt.Errorf("remove %s: %w", id, err)
			}
			return p.notLeader()
		}
		_, index := p.configuration()
		if err := p.removeServer(ctx, s, index); err != nil {
			return err
		}
	}
	_, err = p.Propose(ctx, fsm.Command{Body: fsm.NodeDelete{ID: id}})
	if errors.Is(err, fsm.ErrNotFound) {
		if known {
			return nil
		}
		return fmt.Errorf("remove %s: %w", id, ErrUnknownServer)
	}
	return err
}

func (p *Peer) server(id string) (Server, bool) {
	for _, s := range p.Servers() {
		if s.ID == id {
			return s, true
		}
	}
	return Server{}, false
}

// expendable refuses to let go of a voter that the quorum depends on.
func (p *Peer) expendable(s Server) error {
	if !s.Voter {
		return nil
	}
	h := p.survey()
	well := 0
	for _, v := range h.Servers {
		if v.Voter && v.ID != s.ID && p.healthy(v) {
			well++
		}
	}
	if left := h.Voters - 1; left == 0 || well < quorum(left) {
		return fmt.Errorf("%w: of the other %d voters %d are healthy", ErrQuorum, left, well)
	}
	return nil
}
