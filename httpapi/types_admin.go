package httpapi

import (
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Role says what a node is to its network.
type Role string

// The roles of a node. A node of a static network is its own authority.
const (
	RoleLeader   Role = "leader"
	RoleVoter    Role = "voter"
	RoleNonvoter Role = "nonvoter"
	RoleFollower Role = "follower"
	RoleClient   Role = "client"
	RoleStatic   Role = "static"
)

// Status is the answer of GET /v1/status: who the node is and whether it
// serves. Fields that mean nothing in its kind of network are empty.
type Status struct {
	Version   string   `json:"version"`
	NodeID    string   `json:"node_id"`
	Name      string   `json:"name"`
	NetworkID string   `json:"network_id"`
	Role      Role     `json:"role"`
	Leader    string   `json:"leader"`
	Index     uint64   `json:"index"`
	Ready     bool     `json:"ready"`
	Reason    string   `json:"reason"` // why it is not ready, in words; empty when it is
	UptimeS   float64  `json:"uptime_s"`
	Insecure  bool     `json:"insecure"`           // listens off loopback without keys
	Warnings  []string `json:"warnings,omitempty"` // whole sentences for a person
}

// Spools is the answer of GET /v1/spools: every outbox and inbox of the node,
// in the order of its configuration.
type Spools struct {
	Spools []Spool `json:"spools"`
}

// Kind tells the two sorts of spool apart.
type Kind string

// The kinds of spool.
const (
	KindOutbox Kind = "outbox"
	KindInbox  Kind = "inbox"
)

// Spool is one outbox or inbox. All numbers are what is true now, taken from
// the spool itself, and count files unless the name says otherwise.
type Spool struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	Path string `json:"path"`

	Queued   int     `json:"queued"`    // outbox: waiting, claimed or not; inbox: partial uploads kept
	InFlight int     `json:"in_flight"` // being sent, or being received
	Dead     int     `json:"dead"`
	OldestS  float64 `json:"oldest_s"` // age of the oldest queued file in seconds, 0 when none

	State    string    `json:"state,omitempty"`    // empty: works; else why not, in words
	Targets  []Target  `json:"targets"`            // outbox: one per collector, sorted by id
	Waiting  []Waiting `json:"waiting,omitempty"`  // outbox: files that nobody is offered yet
	Rejected []Waiting `json:"rejected,omitempty"` // outbox: entries that will never be taken as they are
	Notes    []string  `json:"notes,omitempty"`    // fall-backs in force, e.g. that leases do not work here

	Inbox *InboxCounts `json:"inbox,omitempty"` // inbox only
}

// The states of a target.
const (
	TargetOK       = "ok"       // the last attempt succeeded, or none was made
	TargetBackoff  = "backoff"  // waits after a failure; Reason says which
	TargetDraining = "draining" // takes nothing new
	TargetGone     = "gone"     // no longer in the table, still owed something
)

// Target is what one outbox owes to one collector.
type Target struct {
	Collector string  `json:"collector"`
	Cluster   string  `json:"cluster,omitempty"`
	Queued    int     `json:"queued"`
	InFlight  int     `json:"in_flight"`
	OldestS   float64 `json:"oldest_s"`
	State     string  `json:"state"`
	Reason    string  `json:"reason"` // in words; empty when State is ok
	// AtLeastOnce is set for a collector of the original: it knows no ids, so
	// a file whose answer was lost may be published twice there.
	AtLeastOnce bool `json:"at_least_once,omitempty"`
}

// Waiting counts files that stay for one reason.
type Waiting struct {
	Reason string `json:"reason"` // in words
	Files  int    `json:"files"`
	Sample string `json:"sample,omitempty"` // the name of one of them
}

// InboxCounts are an inbox's totals since its node started.
type InboxCounts struct {
	Collector  string `json:"collector"`
	Cluster    string `json:"cluster"`
	Address    string `json:"address"` // host:port it listens on
	Published  uint64 `json:"published"`
	Renamed    uint64 `json:"renamed"`    // published under another name, since theirs was taken
	Duplicates uint64 `json:"duplicates"` // answered with an earlier receipt
	// SyncFailures counts failed syncs. Each cost files that were not acknowledged.
	SyncFailures uint64 `json:"sync_failures"`
	// RefusedConns counts connections turned away by the limits of the listener.
	RefusedConns uint64 `json:"refused_connections"`
}

// Clusters is the answer of GET /v1/clusters: the table as this node knows it.
// Index is repeated in the Relay-Index header, so that a caller can wait for
// the next change.
type Clusters struct {
	Index    uint64             `json:"index"`
	Clusters map[string]Cluster `json:"clusters"`
}

// Cluster is one cluster of the table.
type Cluster struct {
	Mode          fsm.Mode           `json:"mode"`
	Key           string             `json:"key,omitempty"`            // mode key: the regexp
	FailoverAfter string             `json:"failover_after,omitempty"` // as time.Duration prints it
	Collectors    []ClusterCollector `json:"collectors"`               // sorted by id, never null
}

// ClusterCollector is one collector of a cluster. Alive is a hint by gossip; where
// there is none it is true.
type ClusterCollector struct {
	ID      string    `json:"id"`
	Node    string    `json:"node"`
	Address string    `json:"address"`
	Port    int       `json:"port"`
	State   fsm.State `json:"state"`
	Alive   bool      `json:"alive"`
	// External is set for a collector that no member of the network runs.
	External bool `json:"external,omitempty"`
}

// NewClusters renders a table. alive says whether a collector's node is in
// sight; nil means that nobody can tell and all count as alive.
func NewClusters(table fsm.Table, alive func(fsm.Collector) bool) Clusters {
	out := Clusters{Index: table.Index, Clusters: make(map[string]Cluster, len(table.Clusters))}
	for name, c := range table.Clusters {
		out.Clusters[string(name)] = newCluster(c, alive)
	}
	return out
}

func newCluster(c fsm.Cluster, alive func(fsm.Collector) bool) Cluster {
	out := Cluster{Mode: c.Mode, Collectors: make([]ClusterCollector, 0, len(c.Collectors))}
	if out.Mode == "" {
		out.Mode = fsm.ModeAll
	}
	if c.Key != nil {
		out.Key = c.Key.String()
	}
	if c.FailoverAfter > 0 {
		out.FailoverAfter = c.FailoverAfter.String()
	}
	for _, m := range c.Collectors {
		state := m.State
		if state == "" {
			state = fsm.StateActive
		}
		out.Collectors = append(out.Collectors, ClusterCollector{
			ID: string(m.ID), Node: m.Node, Address: m.Address, Port: m.Port,
			State: state, Alive: alive == nil || alive(m), External: m.External,
		})
	}
	return out
}

// Members is the answer of GET /v1/members.
type Members struct {
	Members []Member  `json:"members"`           // sorted by name
	Refused []Refusal `json:"refused,omitempty"` // nodes that were not taken in, and why
}

// Member is one node of the network as gossip sees it.
type Member struct {
	NodeID  string `json:"node_id"`
	Name    string `json:"name"`
	Address string `json:"address"`
	HTTP    string `json:"http"`
	Raft    string `json:"raft"`
	State   string `json:"state"` // alive, suspect, failed or left
	Role    Role   `json:"role"`
	Leader  bool   `json:"leader"`
	// Generation counts the starts of the node.
	Generation uint64 `json:"generation,omitempty"`
	// Reason says why it is not yet what it is to be.
	Reason string `json:"reason,omitempty"`
}

// DeadList is the answer of GET /v1/dead: files set aside, oldest first within
// each outbox. More says that there are others beyond the listing's bound.
type DeadList struct {
	Dead []DeadFile `json:"dead"`
	More bool       `json:"more,omitempty"`
}

// DeadFile is one file set aside and why. Its id names it in the requests that
// retry or remove it.
type DeadFile struct {
	ID        string    `json:"id"`
	Spool     string    `json:"spool"` // name of the outbox
	Name      string    `json:"name"`
	Size      int64     `json:"size"`
	Code      string    `json:"code"`   // stable, kebab-case
	Reason    string    `json:"reason"` // in words
	Collector string    `json:"collector,omitempty"`
	Cluster   string    `json:"cluster,omitempty"`
	Delivered []string  `json:"delivered,omitempty"` // collectors that have it
	Owed      []string  `json:"owed,omitempty"`      // collectors that do not
	Attempts  int       `json:"attempts,omitempty"`
	At        time.Time `json:"at"` // UTC
}
