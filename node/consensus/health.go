package consensus

import (
	"time"
)

// Health tells how the servers are, as only the leader can see them. It does
// not wait. *NotLeaderError on any other node.
func (p *Peer) Health() (Health, error) {
	if err := p.mayLead(); err != nil {
		return Health{}, err
	}
	return p.survey(), nil
}

// survey is Health on whichever node.
func (p *Peer) survey() Health {
	alive := p.aliveIDs()
	last := p.engine.raft.LastIndex()
	var h Health
	well := 0
	for _, s := range p.Servers() {
		v := p.condition(s, alive[s.ID], last)
		h.Servers = append(h.Servers, v)
		if s.Voter {
			h.Voters++
			if p.healthy(v) {
				well++
			}
		}
	}
	h.FailureTolerance = max(0, well-quorum(h.Voters))
	return h
}

// condition is how one server is. A server that was never in contact has all of
// the log to catch up on.
func (p *Peer) condition(s Server, alive bool, last uint64) ServerHealth {
	v := ServerHealth{ID: s.ID, Voter: s.Voter, Alive: alive}
	if s.ID == p.cfg.NodeID {
		v.Leader = true
		return v
	}
	seen, acked := p.engine.trans.seen(s.ID)
	v.LastContact = -1
	if !seen.IsZero() {
		v.LastContact = time.Since(seen)
	}
	if acked < last {
		v.Lag = last - acked
	}
	return v
}

// healthy reports whether gossip sees s and it answers: a leader has contact with
// every server that does many times within an election timeout.
func (p *Peer) healthy(s ServerHealth) bool {
	return s.Leader || s.Healthy(p.cfg.Timing.times(2*p.cfg.Timing.Election))
}

// quorum is how many of so many voters are a majority.
func quorum(voters int) int { return voters/2 + 1 }
