package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// Members implements httpapi.Network: who is in the network, by gossip, by the
// catalogue, and by raft's configuration, sorted by name.
func (a memberAPI) Members() (httpapi.Members, error) {
	m, err := a.member()
	if errors.Is(err, httpapi.ErrNotInNetwork) {
		return httpapi.Members{}, nil // nobody yet
	}
	if err != nil {
		return httpapi.Members{}, err
	}
	return m.members(), nil
}

func (m *member) members() httpapi.Members {
	view, st := m.peer.FSM().View(), m.peer.Status()
	leader, _ := m.leader()
	leaderID := leader.NodeID
	if st.Role == consensus.RoleLeader {
		leaderID = m.id.get().NodeID
	}
	by := map[string]*httpapi.Member{}
	for _, n := range view.Nodes { // in the catalogue, maybe never seen by this node
		by[n.ID] = &httpapi.Member{NodeID: n.ID, Name: n.Name, HTTP: n.HTTP, State: string(membership.StateFailed), Role: httpapi.RoleFollower}
	}
	for _, g := range m.pool.Members() {
		role := httpapi.Role(g.Role)
		if role == "" {
			role = httpapi.RoleFollower
		}
		by[g.NodeID] = &httpapi.Member{
			NodeID: g.NodeID, Name: g.Name, Address: g.Address, HTTP: g.HTTP(), Raft: g.Raft(), State: string(g.State),
			Role: role, Generation: g.Generation,
		}
	}
	m.raftRoles(by, leaderID)
	for id, reason := range m.peer.Reasons() {
		if one := by[id]; one != nil {
			one.Reason = reason
		}
	}
	out := httpapi.Members{Members: make([]httpapi.Member, 0, len(by))}
	for _, one := range by {
		out.Members = append(out.Members, *one)
	}
	slices.SortFunc(out.Members, func(x, y httpapi.Member) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.NodeID, y.NodeID))
	})
	for _, r := range m.pool.Refusals() {
		out.Refused = append(out.Refused, httpapi.Refusal{Name: r.Name, NodeID: r.NodeID, Address: r.Address, Reason: r.Reason, At: r.At})
	}
	return out
}

// raftRoles sets what raft's configuration says, where this node has it. What
// gossip says is younger nowhere and older often.
func (m *member) raftRoles(by map[string]*httpapi.Member, leader string) {
	servers := m.peer.Servers()
	inRaft := rafted(membership.Role(m.peer.Status().Role))
	listed := map[string]bool{}
	for _, s := range servers {
		one := by[s.ID]
		if one == nil {
			one = &httpapi.Member{NodeID: s.ID, State: string(membership.StateFailed)}
			by[s.ID] = one
		}
		listed[s.ID] = true
		if !inRaft {
			continue
		}
		if one.Raft == "" {
			one.Raft = s.Address
		}
		one.Role = httpapi.RoleNonvoter
		if s.Voter {
			one.Role = httpapi.RoleVoter
		}
	}
	for id, one := range by {
		if inRaft && !listed[id] {
			one.Role = httpapi.RoleFollower
		}
		one.Leader = id == leader && one.State != string(membership.StateFailed)
		if one.Leader {
			one.Role = httpapi.RoleLeader
		} else if one.Role == httpapi.RoleLeader {
			one.Role = httpapi.RoleVoter // it was, when it was heard of last
		}
	}
}

// Health implements httpapi.Network: the leader's judgement, or what this node
// can tell by itself while there is none.
func (a memberAPI) Health(ctx context.Context) (httpapi.Health, error) {
	m, err := a.member()
	if err != nil {
		return httpapi.Health{}, err
	}
	var out httpapi.Health
	err = m.atLeader(ctx, newNodeID(),
		func(context.Context) (err error) {
			out, err = m.health()
			return err
		},
		func(ctx context.Context, c *httpapi.Client) (err error) {
			out, err = c.Health(ctx)
			return err
		})
	if err != nil && ctx.Err() == nil {
		return m.healthAlone(err), nil
	}
	return out, err
}

// health is the leader's view of every node.
func (m *member) health() (httpapi.Health, error) {
	raft, err := m.peer.Health()
	if err != nil {
		return httpapi.Health{}, err
	}
	of := map[string]consensus.ServerHealth{}
	for _, s := range raft.Servers {
		of[s.ID] = s
	}
	out := httpapi.Health{
		Healthy: true, Leader: m.cfg.Name, FailureTolerance: raft.FailureTolerance, Index: m.tables.index(),
		Nodes: []httpapi.NodeHealth{},
	}
	for _, one := range m.members().Members {
		h := nodeHealth(one)
		if s, ok := of[one.NodeID]; ok {
			lag := s.Lag
			contact := float64(s.LastContact) / float64(time.Millisecond)
			h.Lag, h.Voter = &lag, s.Voter
			if s.LastContact >= 0 {
				h.LastContactMS = &contact
			}
		}
		if h.Voter {
			out.Voters++
		}
		if !h.Alive {
			out.Healthy = false
		}
		out.Nodes = append(out.Nodes, h)
	}
	out.Warnings = m.healthWarnings(out)
	return out, nil
}

// healthWarnings are what somebody should look at before it hurts.
func (m *member) healthWarnings(h httpapi.Health) []string {
	var out []string
	if h.Voters > 1 && h.Voters%2 == 0 {
		out = append(out, fmt.Sprintf("%d voters can lose no more than %d could: add a node", h.Voters, h.Voters-1))
	}
	if h.FailureTolerance == 0 && h.Voters > 1 {
		out = append(out, "no further node may fail, or the network cannot agree on changes; files keep flowing")
	}
	return out
}

func nodeHealth(one httpapi.Member) httpapi.NodeHealth {
	alive := one.State == string(membership.StateAlive) || one.State == string(membership.StateSuspect)
	h := httpapi.NodeHealth{
		NodeID: one.NodeID, Name: one.Name, State: one.State, Alive: alive, Leader: one.Leader, Role: one.Role,
		Voter: one.Role == httpapi.RoleVoter || one.Role == httpapi.RoleLeader,
	}
	if h.Reason = one.Reason; h.Reason == "" && !alive {
		h.Reason = "not in sight"
	}
	return h
}

// healthAlone is what a node can say that reaches no leader.
func (m *member) healthAlone(err error) httpapi.Health {
	out := httpapi.Health{Index: m.tables.index(), Nodes: []httpapi.NodeHealth{}, Warnings: []string{err.Error()}}
	for _, one := range m.members().Members {
		h := nodeHealth(one)
		if h.Voter {
			out.Voters++
		}
		out.Nodes = append(out.Nodes, h)
	}
	return out
}

// alive reports whether the node that runs a collector is in sight. Collectors
// that no member runs count as alive: nobody but their senders can tell.
func (m *member) alive() func(fsm.Collector) bool {
	out := map[string]bool{}
	for _, one := range m.pool.Members() {
		out[one.NodeID] = inSight(one)
	}
	return func(c fsm.Collector) bool {
		seen, known := out[c.Node]
		return c.External || c.Node == "" || known && seen
	}
}

// NetworkNumbers implements httpapi.NetworkReporter.
func (n *Node) NetworkNumbers() (httpapi.NetworkNumbers, bool) {
	n.mu.Lock()
	m := n.member
	n.mu.Unlock()
	if m == nil {
		return httpapi.NetworkNumbers{}, false
	}
	return m.numbers(), true
}

func (m *member) numbers() httpapi.NetworkNumbers {
	st := m.peer.Status()
	out := httpapi.NetworkNumbers{
		Members: map[string]int{}, FailureTolerance: -1, Leader: st.Role == consensus.RoleLeader,
		TableIndex: m.tables.index(), Raft: rafted(membership.Role(st.Role)), Applied: st.Applied, Committed: st.Commit,
	}
	for _, one := range m.members().Members {
		out.Members[one.State]++
		if nodeHealth(one).Voter {
			out.Voters++
		}
	}
	if h, err := m.peer.Health(); err == nil {
		out.FailureTolerance = h.FailureTolerance
	}
	return out
}
