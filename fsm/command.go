package fsm

import "time"

// Command is one change of the replicated state, as a node proposes it. The
// proposer chooses everything that the state cannot know: ids, times and random
// values. Body is one of the body types of this file, by value.
//
// Every command with an error leaves the state as it was, and every command that
// asks for what is so already succeeds with Result.Changed false. Beside the
// errors that are named with each body, all of them return ErrInvalid for names,
// addresses and numbers that are none or are out of bounds.
type Command struct {
	// ReqID names the request, so that one sent again after a lost leadership
	// is answered and not repeated. 1–64 bytes of UTF-8, drawn at random by the
	// proposer.
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
// the default for a new cluster: mode all, DefaultFailoverAfter. A mode other
// than key drops the key that there was. ErrInvalid when the outcome makes no
// sense: mode key without a key, a key with another mode, a key that is no
// regexp or longer than 1000 bytes, failover_after below 0 or beyond 7 days.
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
// With an ID: that collector is made or changed, and moves when Cluster is
// another. ErrTaken when it belongs to another node, or when another collector
// has the same address and port. NewID is not looked at.
//
// Without an ID the registration is known by node, cluster, address and port –
// or node, cluster and address, where no port is given; of several the one with
// the lowest id – and gets the same answer as before; else a collector NewID is
// made. ErrTaken when NewID is in use, or another collector has the address and
// port.
//
// With Port 0 a known collector keeps its port unless that is among SkipPorts
// or is somebody else's at its new address; else it is given the lowest port
// from PortStart on that no collector at the same address and none of the same
// node has and that is not in SkipPorts; ErrNoPort when there is none up to
// 65535. A port that is asked for may be one that the node has at another
// address.
//
// Addresses are the same when they are the same IP address in any form, also
// IPv4 within IPv6, or the same host name in any case, with or without a dot at
// the end. Names are not resolved.
type CollectorPut struct {
	ID        CollectorID `json:"id,omitempty"`
	NewID     CollectorID `json:"new_id,omitempty"`
	Cluster   ClusterName `json:"cluster"`
	Node      string      `json:"node,omitempty"` // node id; empty for the original's collectors
	Address   string      `json:"address"`
	Port      int         `json:"port,omitempty"`
	SkipPorts []int       `json:"skip_ports,omitempty"` // at most 1000
	PortStart int         `json:"port_start,omitempty"` // 0: DefaultPortStart
	// External is set for a collector that no member runs: it is dropped when it
	// misses three heartbeats, which are due every EveryMS milliseconds (1 s to
	// 24 h; 0: DefaultHeartbeat). Its registration is a heartbeat. One without a
	// Node has to be external.
	External bool  `json:"external,omitempty"`
	EveryMS  int64 `json:"every_ms,omitempty"`
}

// CollectorState sets whether a collector takes new files. ErrNotFound when
// there is none.
type CollectorState struct {
	Cluster ClusterName `json:"cluster,omitempty"` // empty: whichever has it
	ID      CollectorID `json:"id"`
	State   State       `json:"state"`
}

// CollectorDelete removes a collector. With IfSilentSinceMS it removes an
// external one only if its last heartbeat is not younger (Unix milliseconds),
// and else changes nothing, nor does it remove one that is not external. Its
// cluster stays, also when it is empty. ErrNotFound when there is none. The
// result has the collector as it was.
type CollectorDelete struct {
	Cluster         ClusterName `json:"cluster,omitempty"` // empty: whichever has it
	ID              CollectorID `json:"id"`
	IfSilentSinceMS int64       `json:"if_silent_since_ms,omitempty"`
}

// Heartbeat notes that external collectors were heard of at the command's
// time. Unknown ids, and times before the last one, are passed over. It is no
// change of the table.
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
	Changed   bool      // false: Table, Nodes and NetworkID were so already
	Index     uint64    // of the table after the command
	Collector Collector // of the commands on a collector: as it stands in the table, or last stood
}
