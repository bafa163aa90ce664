package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// leaveTime bounds how long a node tries to be let go.
const leaveTime = 15 * time.Second

// resolve finds a node by its id or its name.
func (m *member) resolve(node string) (string, error) {
	left := map[string]bool{} // remembered for a while; their names are free
	for _, one := range m.pool.Members() {
		left[one.NodeID] = one.State == membership.StateLeft && one.Intent == membership.IntentLeave
	}
	var found []string
	for _, one := range m.members().Members {
		if one.NodeID == node {
			return node, nil
		}
		if strings.EqualFold(one.Name, node) && !left[one.NodeID] {
			found = append(found, one.NodeID)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: the network has no node %q", httpapi.ErrNotFound, node)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: several nodes are called %q, name one by its id: %s",
		httpapi.ErrConflict, node, strings.Join(found, ", "))
}

// remove takes a node out of the network that will not come back. A node that is
// alive takes itself out, by leave, and nobody else does.
func (m *member) remove(ctx context.Context, node string) error {
	id, err := m.resolve(node)
	if err != nil {
		return err
	}
	for _, one := range m.pool.Members() {
		if one.NodeID == id && one.State == membership.StateAlive && one.Intent != membership.IntentLeave {
			return fmt.Errorf("%w: node %s is alive and would come back: tell it to leave instead", httpapi.ErrConflict, node)
		}
	}
	err = m.atLeader(context.WithoutCancel(ctx), newNodeID(),
		func(context.Context) error { return m.peer.Remove(ctx, id) },
		func(_ context.Context, c *httpapi.Client) error {
			return c.RemoveMember(httpapi.Forward(ctx, newNodeID()), id)
		})
	if err == nil {
		m.pool.Forget(id)
		m.log.Info("node removed from the network", "node", id)
	}
	return err
}

// leave takes this node out of the network, for good. The others are told by
// gossip first, so that nobody takes it in again, and let it go; only then it
// forgets the network. On an error it is as much a member as before.
func (m *member) leave(ctx context.Context) error {
	if err := m.mayLeave(); err != nil {
		return err
	}
	// On disk before anybody is asked: after a crash from here on the node comes
	// back as another one, and not as one that was let go and knows nothing of it.
	if err := m.id.setLeaving(true); err != nil {
		return err
	}
	m.setLeaving(true)
	m.pool.Update(func(meta *membership.Meta) { meta.Intent = membership.IntentLeave })
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := m.beLetGo(ctx); err != nil {
		m.pool.Update(func(meta *membership.Meta) { meta.Intent = membership.IntentNone })
		m.setLeaving(false)
		return errors.Join(err, m.id.setLeaving(false))
	}
	if err := m.pool.Leave(ctx); err != nil {
		m.log.Warn("left without the last words in gossip", "err", err)
	}
	return nil
}

// mayLeave refuses what would leave nobody behind.
func (m *member) mayLeave() error {
	for _, one := range m.pool.Members() {
		if one.NodeID != m.id.get().NodeID && inSight(one) {
			return nil
		}
	}
	return fmt.Errorf("%w: no other node is in sight, there is nobody to leave the network to", httpapi.ErrQuorumRisk)
}

func (m *member) setLeaving(leaving bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = leaving
}

// beLetGo has the leader remove this node; a leader hands over first.
func (m *member) beLetGo(ctx context.Context) error {
	self := m.id.get().NodeID
	var last error
	for {
		err := m.askToGo(ctx, self)
		if err == nil {
			return nil
		}
		if !errors.Is(err, context.DeadlineExceeded) || last == nil {
			last = err
		}
		// A leader may be the only voter; another node becomes one, now that it leaves.
		if errors.Is(err, httpapi.ErrQuorumRisk) && m.peer.Status().Role != consensus.RoleLeader {
			return err
		}
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return last
		case <-timer.C:
		}
	}
}

func (m *member) askToGo(ctx context.Context, self string) error {
	if m.peer.Status().Role == consensus.RoleLeader {
		if err := m.peer.Transfer(ctx, ""); err != nil {
			return apiError(err)
		}
	}
	leader, ok := m.leader()
	if !ok || leader.NodeID == self {
		return m.noLeader(ctx, errNobodyLeads)
	}
	c, err := m.clients.get(leader.HTTP())
	if err != nil {
		return err
	}
	err = c.RemoveMember(httpapi.Forward(ctx, newNodeID()), self)
	if errors.Is(err, httpapi.ErrNotFound) {
		return nil // the reconcile loop was faster
	}
	return err
}

// Leave implements httpapi.Network. When it returns nil the node is out of the
// network and stops by itself.
func (a memberAPI) Leave(context.Context) error {
	m, err := a.member()
	if err != nil {
		return err
	}
	if err := a.n.beginLeave(); err != nil {
		return err
	}
	defer a.n.endLeave()
	a.n.stopRegistering()                     // else the collectors would be back at once
	if err := m.leave(a.n.life); err != nil { // whoever asked may have gone
		a.n.startRegistering()
		return err
	}
	a.n.leaveNow()
	return nil
}
