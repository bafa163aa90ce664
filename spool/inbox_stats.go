package spool

import "sync/atomic"

// InboxStats is a look at an inbox. Counts are since the start, but for Dead.
type InboxStats struct {
	// Reason says why nothing can be published right now; "" while all is well.
	Reason string
	// UnderWay counts the items being received.
	UnderWay int
	// Partials counts the cut uploads that are kept for a resume.
	Partials     int
	PartialBytes int64
	// Dead counts the entries of .relay/dead.
	Dead int

	// Published counts the files made visible, PublishedBytes their bytes,
	// Renamed those among them that got another name because theirs was taken.
	Published      int64
	PublishedBytes int64
	Renamed        int64
	// Duplicates counts arrivals of items that had been published before.
	Duplicates int64
	// Groups counts the ledger's transactions for publishing.
	Groups int64
	// Abandoned counts partials that were removed because nobody came back.
	Abandoned int64
	// SyncFailures counts failed fsyncs; each has cost one item or group its bytes.
	SyncFailures int64
	// Recovered counts files that were published by a recovery.
	Recovered int64
}

// inboxCounts are the counters behind InboxStats.
type inboxCounts struct {
	dead, published, bytes, renamed, duplicates, groups, abandoned, syncFailures, recovered atomic.Int64
}

// Stats returns what the inbox is doing. It does not wait and may be called at
// any time, also after Close.
func (in *Inbox) Stats() InboxStats {
	reason, underWay, partials, partialBytes := in.book.count()
	c := &in.counts
	return InboxStats{
		Reason: reason, UnderWay: underWay, Partials: partials, PartialBytes: partialBytes, Dead: int(c.dead.Load()),
		Published: c.published.Load(), PublishedBytes: c.bytes.Load(), Renamed: c.renamed.Load(),
		Duplicates: c.duplicates.Load(), Groups: c.groups.Load(), Abandoned: c.abandoned.Load(),
		SyncFailures: c.syncFailures.Load(), Recovered: c.recovered.Load(),
	}
}
