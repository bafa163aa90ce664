package consensus

import (
	"context"
	"errors"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// A client of a sim asks one node, which passes on to the leader what it cannot do
// itself, as package node does: see member_write.go there. It gives up after
// simBudget, and tries again every simPause until then.
const (
	simBudget = 700 * time.Millisecond
	simPause  = 25 * time.Millisecond
)

var (
	errNobody = errors.New("no leader is known")
	errDown   = errors.New("the node is down")
)

// write has the node at bring a command to the leader. An error that is not the
// state machine's leaves open whether it was done.
func (s *sim) write(ctx context.Context, at, reqID string, body fsm.Body) (fsm.Result, error) {
	return atLeader(ctx, s, at, func(p *Peer) (fsm.Result, error) {
		return p.Propose(context.Background(), fsm.Command{ReqID: reqID, Actor: at, Body: body})
	})
}

// read has the node at get a linearizable view of the leader.
func (s *sim) read(ctx context.Context, at string) (fsm.View, error) {
	return atLeader(ctx, s, at, func(p *Peer) (fsm.View, error) {
		if err := p.Confirm(context.Background()); err != nil {
			return fsm.View{}, err
		}
		return p.FSM().View(), nil
	})
}

func atLeader[T any](ctx context.Context, s *sim, at string, do func(p *Peer) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.withDefaults().times(simBudget))
	defer cancel()
	for {
		got, err := tryLeader(ctx, s, at, do)
		if err == nil || !worthAnother(err) {
			return got, err
		}
		if !pause(ctx, simPause) {
			return got, err
		}
	}
}

// tryLeader does it here when this node leads, else at the one that it thinks does.
// What was passed on is not passed on again.
func tryLeader[T any](ctx context.Context, s *sim, at string, do func(p *Peer) (T, error)) (T, error) {
	var none T
	p := s.peer(at)
	if p == nil {
		return none, errDown
	}
	status := p.Status()
	if status.Role == RoleLeader {
		return do(p)
	}
	if status.LeaderID == "" || !s.gossip.of(at).sees(status.LeaderID) {
		return none, errNobody
	}
	return call(ctx, s, at, status.LeaderID, func(p *Peer) (T, error) {
		if p.Status().Role != RoleLeader {
			return none, errNobody
		}
		return do(p)
	})
}

// call is a request from one node to another, and the answer, over the network.
// After ctx the other one may still be busy with it.
func call[T any](ctx context.Context, s *sim, from, to string, do func(p *Peer) (T, error)) (T, error) {
	type answer struct {
		got T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.got, a.err = exchange(ctx, s, from, to, do)
		done <- a
	}()
	select {
	case a := <-done:
		return a.got, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

func exchange[T any](ctx context.Context, s *sim, from, to string, do func(p *Peer) (T, error)) (got T, err error) {
	if err := s.net.pass(ctx, way{from, to}); err != nil {
		return got, err
	}
	p := s.peer(to)
	if p == nil {
		return got, errRefused
	}
	answer, result := do(p)
	if err := s.net.pass(ctx, way{to, from}); err != nil {
		return got, err
	}
	if s.peer(to) != p {
		return got, errRefused // reset, when the process ended
	}
	return answer, result
}

// worthAnother reports whether an error may be gone in a moment.
func worthAnother(err error) bool {
	_, not := errors.AsType[*NotLeaderError](err)
	return not || errors.Is(err, errNobody) || errors.Is(err, ErrUnavailable) || errors.Is(err, ErrClosed) ||
		errors.Is(err, errRefused) || errors.Is(err, context.DeadlineExceeded)
}

// put makes a cluster of that name by way of a node, and notes it when it is
// acknowledged.
func (s *sim) put(ctx context.Context, at string, name fsm.ClusterName) error {
	_, err := s.write(ctx, at, "put-"+string(name), fsm.ClusterPut{Name: name})
	if err == nil {
		s.note(name)
	}
	return err
}
