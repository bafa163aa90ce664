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
// A [Courier] hands single files to a cluster for somebody who waits, without a
// node or an outbox. It asks a running node for the table and then decides as an
// uploader does.
//
// The package holds no HTTP handlers, no file formats and no rules of the
// replicated state.
package node
