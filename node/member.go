package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// raftDir is where raft keeps its log and snapshots, in the data directory.
const raftDir = "raft"

// commandLevel is the highest version of the replicated commands that this
// program understands. It is gossiped, so that later versions know when all do.
const commandLevel = 1

// lastWords bounds how long gossip may take to say goodbye.
const lastWords = 2 * time.Second

// member is the node's part in a network of full nodes: gossip, raft, and what
// goes between the two and the node. It is one-way glue: gossip and raft
// know nothing of each other nor of the node.
//
// Goroutines: stateLoop (tells gossip and the node what raft says), sightLoop
// (tells the uploaders who is out of sight), followLoop (asks for the table
// while raft does not bring it).
type member struct {
	cfg     Config
	log     *slog.Logger
	id      *identityKeeper
	tables  *assignments
	clients *clientPool

	sight *sight
	peer  *consensus.Peer
	pool  *membership.Pool

	down   func(nodes map[string]bool) // told which nodes are out of sight
	failed func(error)

	ctx    context.Context // ends when close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	followed  bool   // the last question for the table was answered
	following string // why not
	leaving   bool
}

// memberConfig is what a member needs of its node.
type memberConfig struct {
	cfg    Config
	http   string // host:port that the admin API listens on
	id     *identityKeeper
	tables *assignments
	log    *slog.Logger
	down   func(nodes map[string]bool)
	failed func(error)
}

// openMember opens raft, then gossip, and starts the loops between. Raft comes
// first, so that gossip tells from its first word whether this node has state.
func openMember(ctx context.Context, c memberConfig) (_ *member, err error) {
	base, cancel := context.WithCancel(context.Background())
	m := &member{
		cfg: c.cfg, log: c.log.With("component", "network"), id: c.id, tables: c.tables, clients: newClientPool(),
		down: c.down, failed: c.failed, ctx: base, cancel: cancel,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.close(context.WithoutCancel(ctx)))
		}
	}()
	id := c.id.get()
	m.sight = newSight(consensus.Member{ID: id.NodeID, Name: id.Name, Generation: id.Generation, Expect: expectOf(c.cfg), Alive: true})
	m.peer, err = consensus.Open(ctx, consensus.Config{
		NodeID: id.NodeID, Name: id.Name, NetworkID: id.NetworkID,
		Dir: filepath.Join(c.cfg.DataDir, raftDir), Listen: c.cfg.Raft, Advertise: advertised(c.cfg, c.cfg.Raft),
		Expect: expectOf(c.cfg), JoinOnly: joinOnly(c.cfg), Timing: timingOf(c.cfg),
		Members: m.sight, Ask: m.ask, NewID: newNodeID, Logger: c.log.With("component", "raft"),
	})
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	meta, err := m.firstMeta(c.http)
	if err != nil {
		return nil, err
	}
	m.pool, err = membership.Open(ctx, membership.Config{
		Meta: meta, Listen: c.cfg.Gossip, Advertise: advertised(c.cfg, c.cfg.Gossip),
		Seeds: c.cfg.Network.Join, Logger: c.log.With("component", "gossip"),
	})
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	m.sight.attach(m.pool)
	m.wg.Go(m.stateLoop)
	m.wg.Go(m.sightLoop)
	m.wg.Go(m.followLoop)
	m.log.Info("talking to the network", "raft", m.peer.Addr(), "gossip", m.pool.Addr(), "network_id", id.NetworkID)
	return m, nil
}

// firstMeta is what gossip tells of this node at its start.
func (m *member) firstMeta(http string) (membership.Meta, error) {
	httpPort, err := portOf(http)
	if err != nil {
		return membership.Meta{}, fmt.Errorf("http address: %w", err)
	}
	raftPort, err := portOf(m.peer.Addr())
	if err != nil {
		return membership.Meta{}, fmt.Errorf("raft address: %w", err)
	}
	id, st := m.id.get(), m.peer.Status()
	return membership.Meta{
		NodeID: id.NodeID, NetworkID: id.NetworkID, Name: id.Name, Generation: id.Generation,
		HTTPPort: httpPort, RaftPort: raftPort, Advertise: m.cfg.Advertise,
		Expect: expectOf(m.cfg), HasState: st.HasState, Role: membership.Role(st.Role), Level: commandLevel,
	}, nil
}

// close stops the loops, closes raft with its stores, which hands over the
// leadership, and then says in gossip that the node stops. In this order: raft
// finds its peers by gossip. The last words have a time of their own, since
// without them everybody would look for the node for a second.
func (m *member) close(ctx context.Context) error {
	m.cancel()
	m.wg.Wait()
	var errs []error
	if m.peer != nil {
		errs = append(errs, m.peer.Close(ctx))
	}
	if m.pool != nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		errs = append(errs, m.pool.Close(last))
		cancel()
	}
	m.clients.close()
	return errors.Join(errs...)
}

// expectOf is how many nodes form the network: with neither join nor
// bootstrap_expect, this one alone.
func expectOf(c Config) int {
	if len(c.Network.Join) == 0 && c.Network.BootstrapExpect == 0 {
		return 1
	}
	return c.Network.BootstrapExpect
}

// joinOnly reports whether the node never begins a network.
func joinOnly(c Config) bool { return len(c.Network.Join) > 0 && c.Network.BootstrapExpect == 0 }

// advertised is the host by which others reach a listener at an address: what
// the configuration says, else the host that is listened on.
func advertised(c Config, address string) string {
	if c.Advertise != "" {
		return c.Advertise
	}
	host, _, err := splitAddress(address)
	if err != nil || isEveryInterface(host) {
		return ""
	}
	return host
}

func timingOf(c Config) consensus.Timing {
	return consensus.Timing{Multiplier: c.Network.RaftMultiplier, MaxVoters: c.Network.MaxVoters, DeadAfter: c.Network.DeadAfter}
}

func portOf(address string) (int, error) {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// status completes what the node says of itself.
func (m *member) status(st *httpapi.Status) {
	peer := m.peer.Status()
	st.Role, st.NetworkID = httpapi.Role(peer.Role), peer.NetworkID
	if st.NetworkID == "" {
		st.NetworkID = m.id.get().NetworkID
	}
	st.Leader = m.leaderName()
	if reason := m.reason(peer); reason != "" && st.Ready {
		st.Ready, st.Reason = false, reason
	}
}

// reason says why this node is not yet, or no longer, what it is to be; empty
// when nothing is wrong.
func (m *member) reason(peer consensus.Status) string {
	m.mu.Lock()
	leaving, followed, following := m.leaving, m.followed, m.following
	m.mu.Unlock()
	if leaving {
		return "leaving the network"
	}
	refusals, alone := m.pool.Refusals(), m.pool.Reason()
	for _, r := range refusals {
		if r.Fatal {
			return r.Reason
		}
	}
	if alone != "" && len(refusals) > 0 {
		return alone // it is told to join a network that it does not belong to
	}
	if peer.Role == consensus.RoleFollower && followed {
		return "" // it has the table, which is all that it needs
	}
	reason := peer.Reason
	if reason == "" && peer.Role == consensus.RoleFollower {
		reason = following
	}
	if reason != "" && alone != "" {
		return reason + "; " + alone
	}
	return reason
}
