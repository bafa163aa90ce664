// Package node builds a node out of its parts and runs it: the only place that
// knows everything.
//
// [Load] reads the configuration and reports every mistake at once; [Open]
// starts a [Node] from it. A node has collectors, each an inbox behind an HTTP
// endpoint, and uploaders, each an outbox whose files go to collectors. For
// each uploader
//
//	outbox ──pick──▶ rules ──plan──▶ queue of each collector ──▶ request ──▶ finish
//	          claim          debts    breaker, back-off, batch     receipt    remove
//
// A claimed item carries a debt for each collector that it is owed to. Debts
// wait in the queue of their collector, so one that is dead, slow or full holds
// up only what is owed to it; what does not fit into memory is parked: only its
// number is kept, and the claim is read from disk when its turn comes.
//
// Who collects for which cluster is told by one of three: as a member the node
// agrees on it with others, by raft in the package consensus and by gossip in
// the package membership; as a client it follows members over HTTP; in a static
// network a file says it. Collectors of the first two make themselves known, and
// what the node was told last is kept on its disk:
//
//	<data_dir>/node.json        who the node is, and of which network
//	<data_dir>/table.json       the last table
//	<data_dir>/collectors.json  ids and ports that the network gave to collectors
//	<data_dir>/raft/            raft's log and snapshots, of a member
//	<data_dir>/lock             one process at a time
//
// A [Courier] hands single files to a cluster for somebody who waits, without a
// node or an outbox. It asks a running node for the table and then decides as an
// uploader does.
//
// The package holds no HTTP handlers, no file formats and no rules of the
// replicated state.
package node
