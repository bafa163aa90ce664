package membership

import (
	"net"
	"strconv"
	"time"
)

// State is how a member is, as this node sees it.
type State string

// The states. There is no order between them.
const (
	// StateAlive: it answers, or others say so.
	StateAlive State = "alive"
	// StateSuspect: it did not answer this node's last probe. It counts as alive
	// until it fails, a second or so later, or answers again.
	StateSuspect State = "suspect"
	// StateFailed: it went without a word.
	StateFailed State = "failed"
	// StateLeft: it said before that it would stop or leave; Intent tells which.
	StateLeft State = "left"
)

// Member is one node, as this node sees it.
type Member struct {
	Meta
	Address string // host:port of its gossip; the host is an IP address
	State   State
	Since   time.Time // local and monotonic: when this node saw it come (alive, suspect) or go (failed, left)
	Reason  string    // what is wrong with a member that is alive, for people; mostly empty
}

// HTTP is the host:port to dial for HTTP, empty when it has none.
func (m Member) HTTP() string { return m.dial(m.HTTPPort) }

// Raft is the host:port to dial for raft, empty when it has none.
func (m Member) Raft() string { return m.dial(m.RaftPort) }

// there reports whether m is to be reckoned with.
func (m Member) there() bool { return m.State == StateAlive || m.State == StateSuspect }

func (m Member) dial(port int) string {
	host := m.Advertise
	if host == "" {
		host, _, _ = net.SplitHostPort(m.Address)
	}
	if port == 0 || host == "" {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// Refusal is a node that is not let in, or that claims what is another's, with
// the reason in words. Both sides note it.
type Refusal struct {
	NodeID  string // of the node at fault; empty when it is not known
	Name    string // likewise
	Address string // host:port of its gossip
	Reason  string // complete in itself, for people
	At      time.Time
	// Fatal is set when the node at fault is this one: it is not to call itself
	// ready. In a clash of names that is the newer of the two.
	Fatal bool
}
