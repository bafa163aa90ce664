package consensus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Times of forming a network.
const (
	formEvery = time.Second
	// promiseFor is how long a node that agreed forms no network with others, and
	// askFor how long asking may take; the second is shorter, so that nobody
	// bootstraps on a promise that is over.
	promiseFor = 30 * time.Second
	askFor     = 5 * time.Second
)

// former brings a network into being: of the nodes that are told to expect the
// same number, only the one with the lowest id acts, and only when all that it
// wants have promised it not to join another.
type former struct {
	self      string // node id
	expect    int
	joinOnly  bool
	members   Members
	ask       func(ctx context.Context, http string, q Query) (Answer, error)
	hasState  func() bool
	networkID func() string
	bootstrap func(ctx context.Context, servers []Server) error
	setReason func(string)
	logger    *slog.Logger

	mu       sync.Mutex
	promised promise
	founding bool // the list is being bootstrapped: no promise to anybody
}

// promise is to one node id, its own while it asks, and until a time.
type promise struct {
	to    string
	until time.Time
}

func newFormer(p *Peer) *former {
	return &former{
		self: p.cfg.NodeID, expect: p.cfg.Expect, joinOnly: p.cfg.JoinOnly || p.cfg.Expect == 0,
		members: p.cfg.Members, ask: p.cfg.Ask, logger: p.cfg.Logger,
		hasState: p.hasState, networkID: p.networkID, bootstrap: p.bootstrap, setReason: p.setReason,
	}
}

// formLoop runs while there is no raft state, until ctx ends.
func (p *Peer) formLoop(ctx context.Context) { p.former.loop(ctx) }

// loop tries every second, and when gossip changes, until there is raft state:
// from this node's own bootstrap or from the leader that took it in.
func (f *former) loop(ctx context.Context) {
	ticker := time.NewTicker(formEvery)
	defer ticker.Stop()
	told := ""
	for ctx.Err() == nil && !f.hasState() {
		changed := f.members.Changed()
		reason := f.round(ctx)
		f.setReason(reason)
		if reason != told && reason != "" {
			f.logger.Info("no network yet", "reason", reason)
		}
		told = reason
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-changed:
		}
	}
	f.setReason("")
}

// round does what can be done now and says why there is no network yet.
func (f *former) round(ctx context.Context) string {
	s := f.look()
	switch {
	case f.expect == 1 && !f.joinOnly && s.network == "":
		return f.found(ctx, []Member{s.self})
	case s.network != "":
		return s.waitForOwn()
	case len(s.settled) > 0:
		return "waiting to be taken in by the network of " + names(s.settled)
	case f.joinOnly && len(s.others) == 0:
		return "waiting for a node to join: none answers"
	case f.joinOnly:
		return "waiting for a network to join: " + names(s.others) + " has none either"
	case s.odd.ID != "":
		return fmt.Sprintf("expect mismatch with %s: it expects %d, this node %d", s.odd.Name, s.odd.Expect, f.expect)
	case s.twice != "":
		return fmt.Sprintf("two nodes in sight are named %s", s.twice)
	case len(s.equal) < f.expect:
		return fmt.Sprintf("forming: %d of %d (%s)", len(s.equal), f.expect, names(s.equal))
	}
	chosen := s.equal[:f.expect]
	if chosen[0].ID != f.self {
		return fmt.Sprintf("forming: %d of %d (%s), begun by %s", len(chosen), f.expect, names(chosen), chosen[0].Name)
	}
	return f.found(ctx, chosen)
}

// found asks the chosen, of whom this node is the first, and bootstraps when all
// agree. It returns why it did not.
func (f *former) found(ctx context.Context, chosen []Member) string {
	if why := f.begin(); why != "" {
		return why
	}
	if why := f.askAll(ctx, chosen); why != "" {
		f.release()
		return fmt.Sprintf("forming: %d of %d, but %s", len(chosen), f.expect, why)
	}
	if why := f.commit(); why != "" {
		return why
	}
	servers := make([]Server, len(chosen))
	for i, m := range chosen {
		servers[i] = Server{ID: m.ID, Address: m.Raft, Voter: true}
	}
	err := f.bootstrap(ctx, servers)
	f.release()
	if err != nil {
		f.logger.Error("a network could not be bootstrapped", "err", err)
		return "the network could not be bootstrapped: " + err.Error()
	}
	f.logger.Info("network bootstrapped", "voters", names(chosen))
	return ""
}

// askAll asks everybody at the same time. It returns the first no, in their order.
func (f *former) askAll(ctx context.Context, chosen []Member) string {
	for _, m := range chosen {
		if m.Raft == "" {
			return m.Name + " has not said where its raft listens"
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	q := Query{From: f.self, Name: chosen[0].Name, Expect: f.expect, Members: ids(chosen), Version: 1}
	whys := make([]string, len(chosen))
	var wg sync.WaitGroup
	for i, m := range chosen {
		if m.ID != f.self {
			wg.Go(func() { whys[i] = f.askOne(ctx, m, q) })
		}
	}
	wg.Wait()
	for _, why := range whys {
		if why != "" {
			return why
		}
	}
	if ctx.Err() != nil {
		return "asking the others took too long"
	}
	return ""
}

func (f *former) askOne(ctx context.Context, m Member, q Query) string {
	answer, err := f.ask(ctx, m.HTTP, q)
	switch {
	case err != nil:
		return fmt.Sprintf("%s cannot be asked: %v", m.Name, err)
	case !answer.OK:
		return fmt.Sprintf("%s does not agree: %s", m.Name, answer.Reason)
	}
	return ""
}

func names(members []Member) string {
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.Name
		if m.Name == "" {
			all[i] = m.ID
		}
	}
	return strings.Join(all, ", ")
}

func ids(members []Member) []string {
	all := make([]string, len(members))
	for i, m := range members {
		all[i] = m.ID
	}
	slices.Sort(all)
	return all
}
