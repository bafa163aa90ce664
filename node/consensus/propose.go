package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Propose has c committed by a quorum and applied here, and returns what came
// of it. ReqID and Actor are filled in when empty; Time is always set, later
// than that of every command before.
//
// Errors: *NotLeaderError on any node but the leader: nothing was done.
// ErrUnavailable when that took longer than Timing.Propose, or the leadership
// was lost meanwhile: whether c is or will be committed is unknown. A caller
// that wants to try again, here or at the next leader, sends the same ReqID and
// is told what came of it. Errors of fsm: c was refused, on all replicas alike.
func (p *Peer) Propose(ctx context.Context, c fsm.Command) (fsm.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timing.times(p.cfg.Timing.Propose))
	defer cancel()
	return p.apply(ctx, c)
}

// apply is Propose without a bound of its own.
func (p *Peer) apply(ctx context.Context, c fsm.Command) (fsm.Result, error) {
	if err := p.mayLead(); err != nil {
		return fsm.Result{}, err
	}
	if c.ReqID == "" {
		c.ReqID = p.cfg.NewID()
	}
	if c.Actor == "" {
		c.Actor = p.cfg.Name
	}
	var applied raft.ApplyFuture
	err := p.engine.asks.await(ctx, func() raft.Future {
		f := p.enqueue(ctx, c)
		if a, ok := f.(raft.ApplyFuture); ok {
			applied = a
		}
		return f
	})
	if err != nil {
		return fsm.Result{}, p.explain(ctx, err)
	}
	p.wedge.end()
	out, ok := applied.Response().(*fsm.Outcome)
	if !ok {
		return fsm.Result{}, fmt.Errorf("apply: %w: the state machine answered %T", fsm.ErrUnknownCommand, applied.Response())
	}
	return out.Result, out.Err
}

// enqueue stamps c and puts it in raft's line, one command at a time, so that
// their times grow with their indexes.
func (p *Peer) enqueue(ctx context.Context, c fsm.Command) raft.Future {
	select {
	case p.line <- struct{}{}:
	case <-ctx.Done():
		return failed{ctx.Err()}
	}
	defer func() { <-p.line }()
	c.Time = p.machine.stamp(time.Now())
	b, err := c.Encode()
	if err != nil {
		return failed{err}
	}
	return p.engine.raft.Apply(b, p.cfg.Timing.times(p.cfg.Timing.Propose))
}

// failed is a future that has failed.
type failed struct{ err error }

func (f failed) Error() error { return f.err }

// mayLead refuses what only the leader can do.
func (p *Peer) mayLead() error {
	if p.ctx.Err() != nil {
		return ErrClosed
	}
	if p.engine.raft.State() == raft.Leader && !p.lead.gone() {
		return nil
	}
	return p.notLeader()
}

func (p *Peer) notLeader() error {
	addr, id := p.engine.raft.LeaderWithID()
	if string(id) == p.cfg.NodeID { // it was, or its disk hangs
		return &NotLeaderError{}
	}
	return &NotLeaderError{ID: string(id), Address: string(addr)}
}

// explain turns raft's error into one of ours.
func (p *Peer) explain(ctx context.Context, err error) error {
	switch {
	case p.ctx.Err() != nil, errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	case errors.Is(err, raft.ErrNotLeader):
		return p.notLeader()
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		p.wedge.begin()
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case p.engine.guard.poisoned() != nil: // raft keeps only the text of the store's error
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrEnqueueTimeout),
		errors.Is(err, raft.ErrAbortedByRestore), ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
