// Package fsm is the shared vocabulary of the relay and the replicated state as
// pure data: who collects for which cluster.
//
// Its main types are [Table], an immutable view of every [Cluster] with its
// [Collector]s, and the distinct string types [ClusterName] and [CollectorID]
// that keep the two from being swapped. A [Mode] says how a cluster's
// collectors share its files.
//
// The package has no clock, no randomness, no input or output and no
// goroutines; what it yields never depends on map order. In a static network
// the table is read from a file once per start or reload; the replicated
// commands, Apply and snapshots come with the network that agrees on them.
package fsm
