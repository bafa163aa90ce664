package spool

import "math"

// Closed is the Seq of a Mark for an epoch in which nothing is pending and
// nothing will ever be claimed again.
const Closed = math.MaxUint64

// Mark says that in one epoch everything up to and including Seq is over: its
// receipts are in and the removal of its claim is durable. A receiver may drop
// what it remembers of those items.
type Mark struct {
	Epoch uint64
	Seq   uint64
}
