package node

import (
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// stateLoop tells gossip and the node what raft says, at every change.
func (m *member) stateLoop() {
	known := map[string]bool{}
	for {
		// The channels are taken before the state is read: a change between is
		// seen at the next turn.
		peer, table := m.peer.Changed(), m.peer.FSM().Changed()
		st := m.peer.Status()
		m.tellGossip(st)
		m.keepNetworkID(st)
		known = m.takeView(known)
		select {
		case <-m.ctx.Done():
			return
		case err := <-m.peer.Failed():
			m.failed(err)
			return
		case <-peer:
		case <-table:
		}
	}
}

// tellGossip says in gossip what this node is to raft.
func (m *member) tellGossip(st consensus.Status) {
	m.pool.Update(func(meta *membership.Meta) {
		meta.Role, meta.HasState = membership.Role(st.Role), st.HasState
		if st.NetworkID != "" {
			meta.NetworkID = st.NetworkID
		}
	})
}

// keepNetworkID notes on disk which network this is, the first time it is known.
// From then on nodes of another network are refused.
func (m *member) keepNetworkID(st consensus.Status) {
	if st.NetworkID == "" || m.id.get().NetworkID == st.NetworkID {
		return
	}
	if err := m.id.joined(st.NetworkID); err != nil {
		m.log.Error("network can't be noted, another one would be taken for it after a restart", "err", err)
		return
	}
	m.log.Info("part of a network", "network_id", st.NetworkID)
}

// takeView takes over the table as raft has it, and forgets in gossip the
// nodes that were removed from the network since the last call.
func (m *member) takeView(known map[string]bool) map[string]bool {
	view := m.peer.FSM().View()
	m.tables.offer(view.Table)
	now := make(map[string]bool, len(view.Nodes))
	for _, n := range view.Nodes {
		now[n.ID] = true
	}
	for id := range known {
		if !now[id] {
			m.pool.Forget(id)
		}
	}
	return now
}

// sightLoop tells the uploaders which nodes are out of sight, at every change
// of gossip. One that is only suspected counts: it costs its collectors their
// rank and nothing else, and half a second sooner than when it has failed.
func (m *member) sightLoop() {
	for {
		changed := m.pool.Changed()
		out := map[string]bool{}
		for _, member := range m.pool.Members() {
			if member.State != membership.StateAlive {
				out[member.NodeID] = true
			}
		}
		m.down(out)
		select {
		case <-m.ctx.Done():
			return
		case <-changed:
		}
	}
}

// followLoop follows the table over HTTP while this node is not in raft's
// configuration: most nodes of a large network cost the leader nothing.
func (m *member) followLoop() {
	f := follower{
		tables: m.tables, log: m.log, wait: followWait, servers: m.tableServers,
		clients: m.clients, report: m.setFollowing, belongs: m.belongs, spread: m.id.get().NodeID,
	}
	for {
		changed := m.peer.Changed()
		if m.peer.Status().Role == consensus.RoleFollower {
			f.follow(m.ctx, func() bool { return m.peer.Status().Role == consensus.RoleFollower })
		}
		select {
		case <-m.ctx.Done():
			return
		case <-changed:
		case <-time.After(time.Second):
		}
	}
}

func (m *member) setFollowing(reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.followed, m.following = reason == "", reason
}

// belongs takes the network of the first node that answers for this node's own,
// which raft would tell it, did it reach it.
func (m *member) belongs(networkID string) error {
	if err := m.id.belongs(networkID); err != nil {
		return err
	}
	if networkID == "" || m.id.get().NetworkID == networkID {
		return nil
	}
	if err := m.id.joined(networkID); err != nil {
		return err
	}
	m.pool.Update(func(meta *membership.Meta) { meta.NetworkID = networkID })
	m.log.Info("part of a network", "network_id", networkID)
	return nil
}

// tableServers are the nodes that raft brings the table to, those in sight.
func (m *member) tableServers() []string {
	var out []string
	for _, member := range m.pool.Members() {
		if inSight(member) && member.NodeID != m.id.get().NodeID && rafted(member.Role) {
			out = append(out, member.HTTP())
		}
	}
	return out
}

// rafted reports whether a node of this role gets the table by raft.
func rafted(r membership.Role) bool {
	switch httpapi.Role(r) {
	case httpapi.RoleLeader, httpapi.RoleVoter, httpapi.RoleNonvoter:
		return true
	}
	return false
}
