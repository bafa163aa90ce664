package fsm

import "time"

// Command is one change of the replicated state, as a node proposes it. The
// proposer chooses everything that the state cannot know: ids, times and random
// values. Body is one of the body types of this file, by value.
type Command struct {
	// ReqID names the request, so that one sent again after a lost leadership
	// is answered and not repeated. 1–64 bytes, drawn at random by the proposer.
	ReqID string
	// Time is when the proposer made the command, to the millisecond, UTC.
	Time time.Time
	// Actor is the name of the node that proposed it, for people.
	Actor string
	// Body says what is to change.
	Body Body
}

// Body is what a command changes.
type Body interface{ kind() Kind }

// Kind tells the bodies apart in the log. Numbers are never changed or reused.
type Kind byte

// The kinds of command.
const (
	KindNetworkInit     Kind = 1
	KindClusterPut      Kind = 2
	KindClusterDelete   Kind = 3
	KindCollectorPut    Kind = 4
	KindCollectorState  Kind = 5
	KindCollectorDelete Kind = 6
	KindHeartbeat       Kind = 7
	KindNodePut         Kind = 8
	KindNodeDelete      Kind = 9
)

// NetworkInit gives the network its id. The first one holds; others change nothing.
type NetworkInit struct {
	NetworkID string `json:"network_id"`
}

// ClusterPut makes a cluster or changes it. Empty fields keep what there is, or
// the default for a new cluster. ErrInvalid when the outcome makes no sense,
// such as a mode key without a key.
type ClusterPut struct {
	Name            ClusterName `json:"name"`
	Mode            Mode        `json:"mode,omitempty"`
	Key             string      `json:"key,omitempty"`               // regexp
	FailoverAfterMS int64       `json:"failover_after_ms,omitempty"` // milliseconds
}

// ClusterDelete removes a cluster. ErrInUse while it has collectors,
// ErrNotFound when there is none.
type ClusterDelete struct {
	Name ClusterName `json:"name"`
}

// CollectorPut registers a collector, or repeats or changes a registration; the
// result has its id and port. A cluster that does not exist is made, with mode
// all. The state (active or draining) of a known collector stays as it is.
//
// With an ID: that collector is made or changed. ErrTaken when it belongs to
// another node, or when another collector has the same address and port.
//
// Without an ID the registration is known by cluster, address and port – or
// cluster and address, where no port is given – and gets the same answer as
// before; else a collector NewID is made.
//
// With Port 0 a known collector keeps its port unless that is among SkipPorts;
// else it is given the lowest free port from PortStart on that no collector at
// the same address and none of the same node has and that is not in SkipPorts;
// ErrNoPort when there is none up to 65535.
type CollectorPut struct {
	ID        CollectorID `json:"id,omitempty"`
	NewID     CollectorID `json:"new_id,omitempty"`
	Cluster   ClusterName `json:"cluster"`
	Node      string      `json:"node,omitempty"` // node id; empty for the original's collectors
	Address   string      `json:"address"`
	Port      int         `json:"port,omitempty"`
	SkipPorts []int       `json:"skip_ports,omitempty"`
	PortStart int         `json:"port_start,omitempty"` // 0: DefaultPortStart
	// External is set for a collector that no member runs: it is dropped when it
	// misses three heartbeats, which are due every EveryMS milliseconds.
	External bool  `json:"external,omitempty"`
	EveryMS  int64 `json:"every_ms,omitempty"`
}

// CollectorState sets whether a collector takes new files.
type CollectorState struct {
	Cluster ClusterName `json:"cluster,omitempty"` // empty: whichever has it
	ID      CollectorID `json:"id"`
	State   State       `json:"state"`
}

// CollectorDelete removes a collector. With IfSilentSinceMS it removes an
// external one only if its last heartbeat is not younger (Unix milliseconds),
// and else changes nothing. Its cluster stays, also when it is empty.
type CollectorDelete struct {
	Cluster         ClusterName `json:"cluster,omitempty"` // empty: whichever has it
	ID              CollectorID `json:"id"`
	IfSilentSinceMS int64       `json:"if_silent_since_ms,omitempty"`
}

// Heartbeat notes that external collectors were heard of at the command's
// time. Unknown ids are passed over. It is no change of the table.
type Heartbeat struct {
	IDs []CollectorID `json:"ids"`
}

// NodePut enters a node in the catalogue or changes its entry.
type NodePut struct {
	Node Node `json:"node"`
}

// NodeDelete removes a node and all its collectors. ErrNotFound when neither exists.
type NodeDelete struct {
	ID string `json:"id"`
}

func (NetworkInit) kind() Kind     { return KindNetworkInit }
func (ClusterPut) kind() Kind      { return KindClusterPut }
func (ClusterDelete) kind() Kind   { return KindClusterDelete }
func (CollectorPut) kind() Kind    { return KindCollectorPut }
func (CollectorState) kind() Kind  { return KindCollectorState }
func (CollectorDelete) kind() Kind { return KindCollectorDelete }
func (Heartbeat) kind() Kind       { return KindHeartbeat }
func (NodePut) kind() Kind         { return KindNodePut }
func (NodeDelete) kind() Kind      { return KindNodeDelete }

// Result is what applying a command yields beside an error.
type Result struct {
	Changed   bool      // false: everything was so already
	Index     uint64    // of the table after the command
	Collector Collector // CollectorPut: the collector as it stands in the table now
}
