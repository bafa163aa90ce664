package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Member is what gossip knows of one node.
type Member struct {
	ID         string    // UUID; also the id of its server in raft
	Name       string    // for people
	Raft       string    // host:port that its raft is dialled at now
	HTTP       string    // host:port of its admin API
	NetworkID  string    // empty until it knows the network it is in
	Generation uint64    // grows with every start
	Expect     int       // its bootstrap_expect, 0 when it was given none
	HasState   bool      // it has raft state on its disk
	Alive      bool      // gossip sees it
	Leaving    bool      // it said that it leaves for good
	Since      time.Time // when Alive became what it is, on the clock of this process
}

// Members is the view of gossip that this package is given. Both methods return
// at once and are safe for concurrent use.
type Members interface {
	// Members lists every node that gossip knows of, this one included.
	Members() []Member
	// Changed is closed at the next change of Members.
	Changed() <-chan struct{}
}

// Query is what a node asks another before it bootstraps a network with it.
type Query struct {
	From    string   // node id
	Name    string   // of the node that asks, for people
	Expect  int      // its bootstrap_expect
	Members []string // ids of the nodes that it wants to make voters
	Version int      // of this question
}

// Answer is what a node says to a Query.
type Answer struct {
	OK        bool     // it agrees, and bootstraps no network of its own for a while
	HasState  bool     // it is part of a network already
	NetworkID string   // of that network, when it knows
	Expect    int      // its own bootstrap_expect
	Members   []string // ids of the nodes that it would choose
	Reason    string   // why not, in words
}

// Config says how a Peer is built. NodeID, Dir, Listen and Members are required.
type Config struct {
	// NodeID is the id of this server in raft, and stays the same for as long as
	// Dir does. Name is what people call the node.
	NodeID, Name string
	// Dir holds the log, the stable store and the snapshots.
	Dir string
	// Listen is the host:port that raft listens at; port 0 takes a free one.
	// Advertise is the host that the others dial, an address or a DNS name that
	// is resolved at every dial; empty: the host of Listen.
	Listen, Advertise string
	// NetworkID is the network that this node belongs to; empty while it has none.
	NetworkID string
	// HTTP returns the host:port of the node's admin API, for its catalogue entry.
	HTTP func() string
	// Expect is the number of nodes that found the network together. With 1 this
	// node founds it alone; with 0, or with JoinOnly, it waits to be adopted.
	Expect   int
	JoinOnly bool
	// Timing is how long everything may take; zero fields have defaults.
	Timing Timing
	// Members is what gossip knows.
	Members Members
	// Ask puts a question to another node, at the host:port of its admin API.
	Ask func(ctx context.Context, http string, q Query) (Answer, error)
	// NewID draws an id at random, for networks and requests; nil: 16 random bytes.
	NewID func() string
	// Logger takes the messages of this package and of raft; nil discards.
	Logger *slog.Logger
	// Network makes listeners and dials; nil: TCP.
	Network Network

	// For tests: what stands in for the disk, and for what a leader does.
	disk disk
	lead func(context.Context, *Peer)
}

// withDefaults fills what was left out.
func (c Config) withDefaults() Config {
	c.Timing = c.Timing.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.NewID == nil {
		c.NewID = randomID
	}
	if c.Network == nil {
		c.Network = tcpNetwork{}
	}
	if c.HTTP == nil {
		c.HTTP = func() string { return "" }
	}
	if c.lead == nil {
		c.lead = func(ctx context.Context, p *Peer) { p.leaderLoop(ctx) }
	}
	c.disk = c.disk.withDefaults()
	return c
}

// Validate reports everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(c.NodeID != "", "a node id is required")
	require(len(c.NodeID) <= maxID, "the node id has %d bytes, more than %d", len(c.NodeID), maxID)
	require(len(c.NetworkID) <= maxID, "the network id has %d bytes, more than %d", len(c.NetworkID), maxID)
	require(c.Dir != "", "a directory is required")
	require(c.Members != nil, "the members of gossip are required")
	require(c.Expect >= 0, "expect %d is negative", c.Expect)
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen %q: %w", c.Listen, err))
	}
	errs = append(errs, c.Timing.Validate())
	return errors.Join(errs...)
}

// Server is one server of raft's configuration.
type Server struct {
	ID      string
	Address string // as the configuration has it; gossip may know a newer one
	Voter   bool
}

// Role is what a node is to raft.
type Role string

// The roles.
const (
	RoleLeader   Role = "leader"
	RoleVoter    Role = "voter"
	RoleNonvoter Role = "nonvoter"
	// RoleFollower is a node outside raft's configuration, which follows the
	// table by other means, or waits to be adopted.
	RoleFollower Role = "follower"
)

// Status is how things stand with a Peer.
type Status struct {
	Role      Role
	LeaderID  string // node id; empty: no leader is known
	Term      uint64
	LastIndex uint64    // of the last entry in the log
	Commit    uint64    // index up to which the log is known to be committed
	Applied   uint64    // raft index of the last command in FSM().View()
	HasState  bool      // there is raft state: this node is part of a network
	NetworkID string    // empty until the network has one
	Reason    string    // in words, why there is no network or no leader; empty: there is one
	Since     time.Time // of the last change that Changed tells of
}

// Health is how the servers of the configuration are, as the leader sees them.
type Health struct {
	Servers []ServerHealth // sorted by id
	Voters  int
	// FailureTolerance is how many healthy voters may fail before the quorum is lost.
	FailureTolerance int
}

// ServerHealth is how one server is.
type ServerHealth struct {
	ID     string
	Voter  bool
	Leader bool
	Alive  bool // gossip sees it
	// LastContact is how long ago it last answered the leader; negative: never
	// in this process. Zero for the leader itself.
	LastContact time.Duration
	// Lag is how many log entries it has not acknowledged.
	Lag uint64
}

// Healthy reports whether s answers: gossip sees it and it was in contact not
// longer ago than within.
func (s ServerHealth) Healthy(within time.Duration) bool {
	return s.Alive && s.LastContact >= 0 && s.LastContact <= within
}
