package node

import (
	"sync"

	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// sight shows raft who is there, as gossip tells. Before gossip is open it
// shows this node alone. Safe for concurrent use.
type sight struct {
	self     consensus.Member
	attached chan struct{} // closed by attach

	mu   sync.Mutex
	pool *membership.Pool // nil before attach
}

func newSight(self consensus.Member) *sight {
	return &sight{self: self, attached: make(chan struct{})}
}

// attach gives it the pool, once.
func (s *sight) attach(pool *membership.Pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pool = pool
	close(s.attached)
}

// Members implements consensus.Members.
func (s *sight) Members() []consensus.Member {
	s.mu.Lock()
	pool := s.pool
	s.mu.Unlock()
	if pool == nil {
		return []consensus.Member{s.self}
	}
	all := pool.Members()
	out := make([]consensus.Member, 0, len(all))
	for _, m := range all {
		out = append(out, consensusMember(m))
	}
	return out
}

// Changed implements consensus.Members.
func (s *sight) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil {
		return s.attached
	}
	return s.pool.Changed()
}

// inSight reports whether a member is to be reckoned with. One that is only
// suspected may well be there.
func inSight(m membership.Member) bool {
	return m.State == membership.StateAlive || m.State == membership.StateSuspect
}

func consensusMember(m membership.Member) consensus.Member {
	return consensus.Member{
		ID: m.NodeID, Name: m.Name, Raft: m.Raft(), HTTP: m.HTTP(), NetworkID: m.NetworkID, Generation: m.Generation,
		Expect: m.Expect, HasState: m.HasState, Since: m.Since,
		Alive: inSight(m) && m.Intent == membership.IntentNone, Leaving: m.Intent == membership.IntentLeave,
	}
}
