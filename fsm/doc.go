// Package fsm is the shared vocabulary of the relay and the replicated state as
// pure data: who collects for which cluster.
//
// Its main types are [Table], an immutable view of every [Cluster] with its
// [Collector]s; [Command], one change of the state; and [FSM], to which raft
// applies the commands and of which everybody else reads a [View]. The distinct
// string types [ClusterName] and [CollectorID] keep the two from being swapped. A
// [Mode] says how a cluster's collectors share its files.
//
// The package has no clock, no randomness, no files and no goroutines; what it
// yields never depends on map order. The same commands give the same state, and
// the same state the same bytes, on every replica. It does not know who is alive,
// who leads, or how a command came to be agreed on.
//
// # Log entry
//
// A command in raft's log; numbers are big-endian:
//
//	 0        1         2                 6
//	┌────────┬─────────┬─────────────────┬──────────────────────────────────────┐
//	│ kind   │ version │ CRC-32C of all  │ {"req_id":…,"time_ms":…,"actor":…,   │
//	│ 1 byte │ 1       │ the other bytes │  "body":{…}}       JSON, ≤ 1 MiB     │
//	└────────┴─────────┴─────────────────┴──────────────────────────────────────┘
//
// The kind says which body it is. A reader takes it whole or not at all: a kind,
// version or field that it does not know, data after the end or another checksum
// is [ErrUnknownCommand], and the replica stops, since the others may have
// understood. So a command gets a new field or meaning only together with a new
// version, and that is proposed only once all nodes understand it.
//
// # Snapshot
//
//	"BRSNAP" 0x01                        magic, version of the format
//	┌──────┬──────────────┬───────────┐
//	│ type │ length       │ JSON      │  a record, ≤ 1 MiB; any number of them
//	│ 1    │ 4 big-endian │           │
//	└──────┴──────────────┴───────────┘
//	SHA-256 of all that stands before    32 bytes, the end of the file
//
// Records stand in this order, and none stands twice:
//
//	  1 header     applied, network_id, table_index       exactly one
//	  2 cluster    name, mode, key, failover_after_ms     by name
//	  3 collector  id, cluster, node, address, port, …    by cluster and id
//	  4 node       id, name, http                         by id
//	  5 beat       id, last_ms, every_ms                  by id; one for each external collector
//	  6 request    req_id, outcome                        oldest first, at most 4096
//	255 end        number of the records before it        exactly one
//
// A snapshot is written from a frozen state, while commands go on being applied,
// and restored as a whole or not at all. [FSM.Hash] is the SHA-256 at its end.
//
// # Table on disk
//
// [EncodeTable] gives what a node keeps of the table, to start from when nobody
// else is up: one line of JSON, {"version":1,"sha256":"…","table":{…}}, with the
// digest of the table's bytes as they stand there.
package fsm
