package consensus

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// Status tells how things stand. It does not wait.
func (p *Peer) Status() Status { return p.news.status() }

// Changed is closed when the next Status differs in role, leader, reason, state or network.
func (p *Peer) Changed() <-chan struct{} { return p.news.changed() }

// setReason has Status say, as long as there is no raft state, why not.
func (p *Peer) setReason(reason string) { p.news.form(reason) }

// watchEvery is how often the status is looked at without an event.
const watchEvery = time.Second

// watchLoop keeps the status fresh: raft's observations and changes of the FSM
// wake it. An observation that is dropped is made up for by the next look.
func (p *Peer) watchLoop() {
	seen := make(chan raft.Observation, 1)
	observer := raft.NewObserver(seen, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.RaftState, raft.LeaderObservation, raft.PeerObservation:
			p.news.poke()
		}
		return false
	})
	p.engine.raft.RegisterObserver(observer)
	defer p.engine.raft.DeregisterObserver(observer)
	p.news.watch(p.ctx, watchEvery, func() {
		if err := p.wedge.check(p.ctx); err != nil {
			p.fail(err)
		}
	}, p.machine.Changed)
}

// look is the Status without the former's reason and Since.
func (p *Peer) look() Status {
	r := p.engine.raft
	s := Status{
		Term:      r.CurrentTerm(),
		LastIndex: r.LastIndex(),
		Commit:    r.CommitIndex(),
		Applied:   p.machine.View().Applied,
		HasState:  r.LastIndex() > 0,
		NetworkID: p.networkID(),
	}
	servers, _ := p.configuration()
	s.Role = roleOf(servers, p.cfg.NodeID)
	s.Reason = p.engine.guard.reason()
	if s.Reason != "" {
		return s // no leader that is known for sure
	}
	_, leader := r.LeaderWithID()
	s.LeaderID = string(leader)
	if r.State() == raft.Leader {
		s.Role = RoleLeader
	}
	if s.LeaderID == "" && s.HasState {
		s.Reason = p.leaderless(s.Role, servers)
	}
	return s
}

func roleOf(servers []Server, id string) Role {
	i := slices.IndexFunc(servers, func(s Server) bool { return s.ID == id })
	switch {
	case i < 0:
		return RoleFollower
	case servers[i].Voter:
		return RoleVoter
	}
	return RoleNonvoter
}

// leaderless says why no leader is known.
func (p *Peer) leaderless(role Role, servers []Server) string {
	if role == RoleFollower {
		return "not among the servers of raft: waits for the leader to take it in"
	}
	alive := p.aliveIDs()
	voters, sighted := 0, 0
	for _, s := range servers {
		if s.Voter {
			voters++
			if alive[s.ID] {
				sighted++
			}
		}
	}
	if sighted <= voters/2 {
		return fmt.Sprintf("no leader: only %d of %d voters in sight", sighted, voters)
	}
	return "no leader: an election is under way"
}

// aliveIDs are the nodes that gossip sees; this one is always among them.
func (p *Peer) aliveIDs() map[string]bool {
	alive := map[string]bool{p.cfg.NodeID: true}
	for _, m := range p.cfg.Members.Members() {
		if m.Alive {
			alive[m.ID] = true
		}
	}
	return alive
}

// hasState reports whether there is raft state.
func (p *Peer) hasState() bool { return p.engine.raft.LastIndex() > 0 }

// networkID is the network's id: the configured one, else as the state has it.
func (p *Peer) networkID() string {
	if p.cfg.NetworkID != "" {
		return p.cfg.NetworkID
	}
	return p.machine.View().NetworkID
}

// Servers is the latest configuration, sorted by id; it may not be committed yet.
func (p *Peer) Servers() []Server {
	servers, _ := p.configuration()
	return servers
}

// configuration is raft's latest one, sorted by id, and the index of the last
// one applied, 0 when it is not known since a restart. While a change is under way the
// index is that of the one before, for which raft refuses another change.
func (p *Peer) configuration() (servers []Server, index uint64) {
	index = p.machine.configIndex() // first: an old index with a new list is refused, the other way round is not
	f := p.engine.raft.GetConfiguration()
	if f.Error() != nil { // never: raft keeps a copy for this, and answers at once
		return nil, 0
	}
	return serversOf(f.Configuration()), index
}

func serversOf(c raft.Configuration) []Server {
	servers := make([]Server, 0, len(c.Servers))
	for _, s := range c.Servers {
		servers = append(servers, Server{ID: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter})
	}
	slices.SortFunc(servers, func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	return servers
}

// leadsFor reports whether this node leads in that term and has that server.
func (p *Peer) leadsFor(term uint64, id string) bool {
	r := p.engine.raft
	if r.State() != raft.Leader || r.CurrentTerm() != term {
		return false
	}
	return roleOf(p.Servers(), id) != RoleFollower
}
