package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

const (
	// writeBudget bounds how long a write looks for a leader before it is
	// answered 503: an election takes less, as a rule, and who asks is told
	// within a second.
	writeBudget = 700 * time.Millisecond
	// writePause is between two looks for a leader.
	writePause = 25 * time.Millisecond
)

// write brings one command to the leader: this node, or another, to which call
// carries it. A request of another node is not passed on again. While there is
// no leader it waits for one, within writeBudget. A try whose outcome is
// unknown is repeated under the same request id, so it happens once.
func (m *member) write(ctx context.Context, body fsm.Body, call func(context.Context, *httpapi.Client) error) (fsm.Result, error) {
	id := httpapi.RequestID(ctx)
	if id == "" {
		id = newNodeID()
	}
	cmd := fsm.Command{ReqID: id, Actor: m.cfg.Name, Body: body}
	var res fsm.Result
	err := m.atLeader(ctx, id, func(ctx context.Context) (err error) {
		res, err = m.peer.Propose(ctx, cmd)
		return err
	}, call)
	return res, err
}

// atLeader runs here where this node leads, else call at the node that does.
func (m *member) atLeader(ctx context.Context, requestID string, here func(context.Context) error,
	call func(context.Context, *httpapi.Client) error) error {
	limit, cancel := context.WithTimeout(ctx, writeBudget)
	defer cancel()
	var last error
	for {
		err := m.tryLeader(limit, requestID, here, call)
		if err == nil || !worthAnotherTry(err) {
			return apiError(err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) {
			last = err
		}
		timer := time.NewTimer(writePause)
		select {
		case <-limit.Done():
			timer.Stop()
			return m.noLeader(ctx, last)
		case <-timer.C:
		}
	}
}

// errNobodyLeads is returned while no leader is known.
var errNobodyLeads = errors.New("no leader is known")

func (m *member) tryLeader(ctx context.Context, requestID string, here func(context.Context) error,
	call func(context.Context, *httpapi.Client) error) error {
	if m.peer.Status().Role == consensus.RoleLeader {
		return here(ctx)
	}
	if httpapi.Forwarded(ctx) {
		return errNobodyLeads // the sender thinks that it is this node: it may be, in a moment
	}
	leader, ok := m.leader()
	if !ok {
		return errNobodyLeads
	}
	c, err := m.clients.get(leader.HTTP())
	if err != nil {
		return err
	}
	return call(httpapi.Forward(ctx, requestID), c)
}

// leader is the member that leads, as raft says, or as gossip does where raft
// does not reach.
func (m *member) leader() (membership.Member, bool) {
	id := m.peer.Status().LeaderID
	for _, member := range m.pool.Members() {
		if !inSight(member) {
			continue
		}
		if member.NodeID == id || id == "" && httpapi.Role(member.Role) == httpapi.RoleLeader {
			return member, true
		}
	}
	return membership.Member{}, false
}

// leaderName is what people call the node that leads; empty while none does.
func (m *member) leaderName() string {
	if m.peer.Status().Role == consensus.RoleLeader {
		return m.cfg.Name
	}
	leader, _ := m.leader()
	return leader.Name
}

// worthAnotherTry reports whether an error may be gone in a moment, with
// another leader.
func worthAnotherTry(err error) bool {
	_, notLeader := errors.AsType[*consensus.NotLeaderError](err)
	return notLeader || errors.Is(err, errNobodyLeads) || errors.Is(err, consensus.ErrUnavailable) ||
		errors.Is(err, httpapi.ErrNoLeader) || errors.Is(err, httpapi.ErrNoQuorum) || errors.Is(err, httpapi.ErrNoNode) ||
		errors.Is(err, context.DeadlineExceeded)
}

// noLeader words why a write could not be done.
func (m *member) noLeader(ctx context.Context, last error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if reason := m.reason(m.peer.Status()); reason != "" {
		return fmt.Errorf("%w: %s", httpapi.ErrNoLeader, reason)
	}
	if errors.Is(last, consensus.ErrUnavailable) || errors.Is(last, httpapi.ErrNoQuorum) {
		return fmt.Errorf("%w: %w", httpapi.ErrNoQuorum, last)
	}
	return fmt.Errorf("%w: %w", httpapi.ErrNoLeader, last)
}

// apiErrors is how what the inner rooms return is called on the wire.
var apiErrors = []struct{ inner, api error }{
	{fsm.ErrInvalid, httpapi.ErrInvalid},
	{fsm.ErrNotFound, httpapi.ErrNotFound},
	{fsm.ErrTaken, httpapi.ErrConflict},
	{fsm.ErrInUse, httpapi.ErrConflict},
	{fsm.ErrNoPort, httpapi.ErrNoPort},
	{fsm.ErrBadSnapshot, httpapi.ErrBadSnapshot},
	{consensus.ErrQuorum, httpapi.ErrQuorumRisk},
	{consensus.ErrUnknownServer, httpapi.ErrNotFound},
	{consensus.ErrWrongNetwork, httpapi.ErrWrongNetwork},
	{consensus.ErrTooLarge, httpapi.ErrBadSnapshot},
	{consensus.ErrNoState, httpapi.ErrNotInNetwork},
	{consensus.ErrUnavailable, httpapi.ErrNoQuorum},
	{consensus.ErrClosed, httpapi.ErrUnavailable},
}

func apiError(err error) error {
	for _, e := range apiErrors {
		if errors.Is(err, e.inner) {
			return fmt.Errorf("%w: %w", e.api, err)
		}
	}
	if _, ok := errors.AsType[*consensus.NotLeaderError](err); ok {
		return fmt.Errorf("%w: %w", httpapi.ErrNoLeader, err)
	}
	return err
}
