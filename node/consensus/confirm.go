package consensus

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// Confirm returns nil when FSM().View() holds everything that was committed
// before the call, anywhere: a view taken now is linearizable.
//
// It asks a quorum whether this node leads still, and waits until everything
// committed by then is applied. Errors: *NotLeaderError on any other node,
// ErrUnavailable when that takes longer than Timing.Propose.
func (p *Peer) Confirm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timing.times(p.cfg.Timing.Propose))
	defer cancel()
	if err := p.mayLead(); err != nil {
		return err
	}
	// Until an entry of its own term is committed, a leader does not know what
	// was committed before it.
	term := p.engine.raft.CurrentTerm()
	if !p.confirmed.in(term) {
		if err := p.barrier(ctx); err != nil {
			return err
		}
		p.confirmed.set(term)
	}
	index := p.engine.raft.CommitIndex()
	if err := p.verify(ctx); err != nil {
		return err
	}
	if p.engine.raft.CurrentTerm() != term {
		// Deposed and elected again in between: the barrier was another term's.
		return p.notLeader()
	}
	if err := p.machine.wait(ctx, p.toApply(index)); err != nil {
		return p.explain(ctx, err)
	}
	return nil
}

// verify returns once a quorum has taken this node for its leader after the call.
// Raft counts every answer that comes after it, also one to a request sent before,
// which may have been under way for longer than an election takes.
func (p *Peer) verify(ctx context.Context) error {
	start := time.Now()
	for {
		if err := p.engine.asks.await(ctx, p.engine.raft.VerifyLeader); err != nil {
			return p.explain(ctx, err)
		}
		if p.vouchedSince(start) {
			return nil
		}
	}
}

// vouchedSince reports whether a quorum has answered what this node, as its leader,
// sent after start. This node vouches for itself.
func (p *Peer) vouchedSince(start time.Time) bool {
	voters, vouching := 0, 0
	for _, s := range p.Servers() {
		if !s.Voter {
			continue
		}
		voters++
		if s.ID == p.cfg.NodeID || p.engine.trans.vouches(s.ID, start) {
			vouching++
		}
	}
	return vouching >= quorum(voters)
}

// toApply is the index of the last command up to index, or one that is applied.
// Only commands change the view, and a restored machine does not know of other
// entries that the snapshot stands for.
func (p *Peer) toApply(index uint64) uint64 {
	for applied := p.machine.appliedIndex(); index > applied; index-- {
		var l raft.Log
		err := p.engine.logs.GetLog(index, &l)
		if err != nil {
			return 0 // in a snapshot, so it was applied
		}
		if l.Type == raft.LogCommand {
			return index
		}
	}
	return index
}

// barrier returns once everything committed before is applied here. Leader only.
func (p *Peer) barrier(ctx context.Context) error {
	err := p.engine.asks.await(ctx, func() raft.Future {
		return p.engine.raft.Barrier(p.cfg.Timing.times(p.cfg.Timing.Propose))
	})
	if err != nil {
		return p.explain(ctx, err)
	}
	p.wedge.end()
	return nil
}

// confirmed is the latest term in which this node had a barrier. Safe for concurrent use.
type confirmed struct {
	mu   sync.Mutex
	term uint64
}

func (c *confirmed) in(term uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.term == term
}

func (c *confirmed) set(term uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.term = max(c.term, term)
}
