package consensus

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Waits of the leader's loop.
const (
	// lookAgain is how soon the leader looks again while something is under way,
	// such as a nonvoter that catches up.
	lookAgain = time.Second
	// actionTimeout bounds one action; a leader without quorum is none before that.
	actionTimeout = 10 * time.Second
	// retryMax bounds the wait before an action that failed is tried again. It
	// doubles from lookAgain on.
	retryMax = 30 * time.Second
)

// seat is what the leader's loop works on: a *Peer that leads.
type seat interface {
	myTurn(ctx context.Context) (done func(), err error)
	barrier(ctx context.Context) error
	configuration() (servers []Server, index uint64)
	Health() (Health, error)
	view() fsm.View
	beats() map[fsm.CollectorID]fsm.Beat
	addNonvoter(ctx context.Context, s Server, prevIndex uint64) error
	addVoter(ctx context.Context, s Server, prevIndex uint64) error
	demote(ctx context.Context, s Server, prevIndex uint64) error
	removeServer(ctx context.Context, s Server, prevIndex uint64) error
	apply(ctx context.Context, c fsm.Command) (fsm.Result, error)
	Transfer(ctx context.Context, to string) error
}

// reconciler brings raft's configuration and the catalogue in line with gossip,
// one change at a time. One goroutine owns it.
type reconciler struct {
	seat    seat
	self    string
	timing  Timing
	members Members
	newID   func() string // of a network that has none yet
	logger  *slog.Logger
	reasons *atomic.Pointer[map[string]string] // what Reasons tells

	memory *memory
	failed map[string]failure // by key, of actions that are still to be done
}

// failure is what became of an action that is still to be done.
type failure struct {
	text  string // of the error
	tries int
	until time.Time // not tried again before
}

// leaderLoop runs while this peer leads, until ctx ends.
func (p *Peer) leaderLoop(ctx context.Context) {
	r := &reconciler{
		seat: p, self: p.cfg.NodeID, timing: p.cfg.Timing, members: p.cfg.Members,
		newID: func() string { return cmp.Or(p.cfg.NetworkID, p.cfg.NewID()) }, logger: p.cfg.Logger, reasons: &p.reasons,
	}
	r.loop(ctx)
}

// Reasons says of members that are not what they could be why that is, by node
// id: refused, not yet ready, spare. It is empty on a node that does not lead.
func (p *Peer) Reasons() map[string]string {
	if reasons := p.reasons.Load(); reasons != nil {
		return maps.Clone(*reasons)
	}
	return map[string]string{}
}

// loop waits until all that earlier leaders did is known here, then looks at
// every event of gossip, and every so often. It returns when ctx ends.
func (r *reconciler) loop(ctx context.Context) {
	r.memory, r.failed = newMemory(), make(map[string]failure)
	defer r.reasons.Store(nil)
	for r.seat.barrier(ctx) != nil {
		if !pause(ctx, lookAgain) {
			return
		}
	}
	for ctx.Err() == nil {
		changed := r.members.Changed() // before the look, so that nothing is missed
		timer := time.NewTimer(r.pass(ctx))
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pass acts until there is nothing left that can be done now, and returns when
// to look again.
func (r *reconciler) pass(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		if wait, more := r.step(ctx); !more {
			return wait
		}
	}
	return 0
}

// step looks, and does the most urgent thing. Nobody else changes the
// configuration in between: what is safe was judged by the one that was seen.
func (r *reconciler) step(ctx context.Context) (wait time.Duration, more bool) {
	done, err := r.seat.myTurn(ctx)
	if err != nil {
		return 0, false
	}
	defer done()
	p, index, err := r.look()
	if err != nil {
		return lookAgain, false // the leadership is going
	}
	next, ok := r.choose(p)
	if !ok {
		return r.wait(p), false
	}
	r.act(ctx, next, index)
	return 0, true
}

// look takes the situation in.
func (r *reconciler) look() (*picture, uint64, error) {
	servers, index := r.seat.configuration() // first: what follows is at least as new
	health, err := r.seat.Health()
	if err != nil {
		return nil, 0, err
	}
	view := r.seat.view()
	s := situation{
		now: time.Now(), self: r.self, timing: r.timing, networkID: view.NetworkID,
		members: r.members.Members(), servers: servers, nodes: view.Nodes,
		replication: make(map[string]replication),
	}
	for _, h := range health.Servers {
		s.replication[h.ID] = replication{contact: h.LastContact, lag: h.Lag}
	}
	r.memory.look(&s, r.seat.beats())
	return newPicture(s), index, nil
}

// choose takes the most urgent action that has not just failed, and forgets the
// failures of what is no longer to be done.
func (r *reconciler) choose(p *picture) (action, bool) {
	reasons := p.reasons()
	r.reasons.Store(&reasons)
	var chosen action
	found := false
	still := make(map[string]failure)
	for _, a := range p.decide() {
		f, failed := r.failed[a.key()]
		if failed {
			still[a.key()] = f
		}
		if !found && !p.now.Before(f.until) {
			chosen, found = a, true
		}
	}
	r.failed = still
	return chosen, found
}

// act does one action. A failure is logged when it is a new one. An action that
// is still to be done after it was done waits like one that failed, so that
// nothing that has no effect keeps the loop busy.
func (r *reconciler) act(ctx context.Context, a action, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	log := r.logger.With("step", string(a.step), "subject", a.subject(), "reason", a.reason)
	f := r.failed[a.key()]
	switch err := r.do(ctx, a, index); {
	case err == nil:
		log.Info("membership changed")
		f.text = ""
	case f.text != err.Error():
		log.Warn("membership change not possible", "err", err)
		f.text = err.Error()
	}
	f.tries++
	f.until = time.Now().Add(min(retryMax, lookAgain<<min(f.tries-1, 10)))
	r.failed[a.key()] = f
}

func (r *reconciler) do(ctx context.Context, a action, index uint64) error {
	switch a.step {
	case stepAdd:
		return r.seat.addNonvoter(ctx, a.server, index)
	case stepPromote:
		return r.seat.addVoter(ctx, a.server, index)
	case stepAddress:
		if a.server.Voter {
			return r.seat.addVoter(ctx, a.server, index)
		}
		return r.seat.addNonvoter(ctx, a.server, index)
	case stepDemote:
		return r.seat.demote(ctx, a.server, index)
	case stepRemove:
		return r.seat.removeServer(ctx, a.server, index)
	case stepTransfer:
		return r.seat.Transfer(ctx, a.server.ID)
	case stepInit:
		return r.command(ctx, fsm.NetworkInit{NetworkID: r.newID()})
	case stepPutNode:
		return r.command(ctx, fsm.NodePut{Node: a.node})
	case stepDeleteNode:
		return r.command(ctx, fsm.NodeDelete{ID: a.node.ID})
	case stepDeleteCollector:
		return r.command(ctx, fsm.CollectorDelete{ID: a.silent.id, IfSilentSinceMS: a.silent.lastMS})
	default:
		panic("consensus: no such step: " + string(a.step))
	}
}

func (r *reconciler) command(ctx context.Context, body fsm.Body) error {
	_, err := r.seat.apply(ctx, fsm.Command{Body: body})
	return err
}

// wait is how long nothing needs to be looked at unless gossip changes.
func (r *reconciler) wait(p *picture) time.Duration {
	wait := r.timing.Every
	if len(r.failed) > 0 || p.underWay() {
		wait = min(wait, lookAgain)
	}
	if next := r.memory.nextSilence(r.seat.beats()); !next.IsZero() {
		// What is due already has just been tried, and waits for its next try.
		if due := next.Sub(p.now); due > 0 {
			wait = min(wait, max(time.Millisecond, due))
		} else {
			wait = min(wait, lookAgain)
		}
	}
	return wait
}

// key names the action: what is the same again.
func (a action) key() string {
	return string(a.step) + " " + a.subject() + " " + a.server.Address
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// view and beats are what the replicated state holds now.
func (p *Peer) view() fsm.View                      { return p.FSM().View() }
func (p *Peer) beats() map[fsm.CollectorID]fsm.Beat { return p.FSM().Beats() }
