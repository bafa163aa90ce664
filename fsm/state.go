package fsm

import "time"

// DefaultPortStart is the first port that a collector without one is given, as
// the original counts.
const DefaultPortStart = 10100

// Node is the catalogue entry of a node. It says nothing about whether the node
// is alive: gossip does.
type Node struct {
	ID   string `json:"id"` // UUID
	Name string `json:"name"`
	HTTP string `json:"http"` // host:port of its admin API
}

// Beat is what is known of an external collector's heartbeats.
type Beat struct {
	Last  time.Time     // of the command that brought the last one
	Every time.Duration // how often one is due
}

// View is the replicated state as it was after some command. It is immutable:
// whoever gets one may keep it and may not change what it holds.
type View struct {
	Applied   uint64 // raft index of the last command
	NetworkID string // empty until NetworkInit
	Table     Table  // its Index is the raft index of the last change to a cluster or collector
	Nodes     []Node // sorted by id
}
