package httpapi

import "time"

// Registration is what PUT /v1/clusters/{name}/collectors/{id} says of a
// collector.
type Registration struct {
	Node    string `json:"node"`    // id of the node that runs it
	Address string `json:"address"` // IP address or DNS name that uploaders dial
	Port    int    `json:"port,omitempty"`
	// SkipPorts are ports that it cannot have; for one without a port.
	SkipPorts []int `json:"skip_ports,omitempty"`
	// PortStart is where to count from; 0 leaves it to the network.
	PortStart int `json:"port_start,omitempty"`
	// External is set by a node that is no member: the collector leaves the table
	// when it misses three heartbeats, which are repeated registrations.
	External  bool   `json:"external,omitempty"`
	Heartbeat string `json:"heartbeat,omitempty"` // External: how often, as time.ParseDuration reads it
}

// Registered is what a collector is told: what it is called and where it listens.
type Registered struct {
	ID    string `json:"id"`
	Port  int    `json:"port"`
	Index uint64 `json:"index,omitempty"` // of the first table that has it so
}

// Health is the answer of GET /v1/health: how the network judges itself.
type Health struct {
	Healthy bool   `json:"healthy"` // there is a leader and every node is alive
	Leader  string `json:"leader"`  // name; empty without one
	Voters  int    `json:"voters"`
	// FailureTolerance is how many more voters may fail before no change can be
	// agreed on. Files flow on then, too.
	FailureTolerance int          `json:"failure_tolerance"`
	Index            uint64       `json:"index"` // of the table
	Nodes            []NodeHealth `json:"nodes"` // sorted by name
	Warnings         []string     `json:"warnings,omitempty"`
}

// NodeHealth is how one node is.
type NodeHealth struct {
	NodeID        string   `json:"node_id"`
	Name          string   `json:"name"`
	State         string   `json:"state"` // as gossip has it
	Alive         bool     `json:"alive"`
	Voter         bool     `json:"voter"`
	Leader        bool     `json:"leader"`
	Role          Role     `json:"role"`
	LastContactMS *float64 `json:"last_contact_ms"` // since it answered the leader; null where raft does not go
	Lag           *uint64  `json:"lag"`             // log entries it has not confirmed; null likewise
	Reason        string   `json:"reason,omitempty"`
}

// Refusal is a node that was not taken in.
type Refusal struct {
	Name    string    `json:"name"`
	NodeID  string    `json:"node_id"`
	Address string    `json:"address"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

// Transfer is the body of POST /v1/leader/transfer.
type Transfer struct {
	To string `json:"to,omitempty"` // name or id of a node; empty for whichever is best
}

// Probe is the question of a node that would form a network, POST
// /v1/internal/bootstrap-check.
type Probe struct {
	From    string   `json:"from"` // node id
	Name    string   `json:"name"`
	Expect  int      `json:"expect"`
	Members []string `json:"members"` // ids of the nodes that it would form it with
	Version int      `json:"version"`
}

// ProbeAnswer is the answer: OK is a promise not to take part in another one for
// a while.
type ProbeAnswer struct {
	OK        bool     `json:"ok"`
	HasState  bool     `json:"has_state"`
	NetworkID string   `json:"network_id,omitempty"`
	Expect    int      `json:"expect"`
	Members   []string `json:"members"`
	Reason    string   `json:"reason,omitempty"`
}
