package node

import (
	"sync/atomic"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// claimKey finds a claim within one outbox.
type claimKey struct{ epoch, seq uint64 }

func keyOf(it spool.Item) claimKey { return claimKey{it.ID.Epoch, it.ID.Seq} }

// tracked is a claimed item in memory. All fields but digest are guarded by
// the uploader's mutex.
type tracked struct {
	item     spool.Item
	clusters []fsm.ClusterName // where the rules sent it
	gen      uint64            // the routes it was planned with
	debts    []*debt           // to whom it is owed; never empty while active
	since    time.Time         // when it was claimed
	accepted bool              // some collector has it, so the rules are applied no more
	vanished bool              // its file is not there any more
	offered  bool              // some collector was sent some of it
	moving   bool              // being renamed; nobody else may touch it
	digest   atomic.Pointer[digestOf]
}

// digestOf is the SHA-256 of the file as it was when it was hashed.
type digestOf struct {
	sum  [32]byte
	size int64
}

// debtState says how far one debt is.
type debtState int

const (
	debtWaiting   debtState = iota // in its target's queue, or waiting for its back-off
	debtSending                    // in a request
	debtDelivered                  // receipt in
	debtRefused                    // refused for good, with a reason
	debtParked                     // known only by its target's parked set
	debtCancelled                  // void: whoever finds it in a queue drops it
)

// debt is one item owed to one collector. In a one or key cluster the
// collector may change as long as the item was not accepted.
type debt struct {
	of      *tracked
	cluster fsm.ClusterName
	mode    fsm.Mode
	to      *target
	state   debtState

	attempts  int
	tried     []fsm.CollectorID // one, key: refused it in this round
	unknown   time.Time         // one, key: since when its outcome at to is not known; zero: it is
	duplicate bool              // may be at another collector already
	code, why string            // the last failure
	resume    bool              // part of it may be at the collector
	pauses    int               // counts its pauses, so that an entry of an older one is void
	mismatch  int               // how often its digest did not match there
}

// movable reports whether the debt may go to another collector now.
func (d *debt) movable(now time.Time, failover time.Duration) bool {
	if isAll(d.mode) {
		return false
	}
	return d.unknown.IsZero() || now.Sub(d.unknown) >= failover
}

// over reports whether nothing is owed any more: every debt has ended, and at
// least one of them by an answer. An item that nobody has is never over, whatever
// became of those it was owed to, unless its file vanished.
func (t *tracked) over() bool {
	answered := false
	for _, d := range t.debts {
		switch d.state {
		case debtDelivered, debtRefused:
			answered = true
		case debtCancelled:
		default:
			return false
		}
	}
	return answered || t.vanished
}

// busy reports whether some request carries the item.
func (t *tracked) busy() bool {
	for _, d := range t.debts {
		if d.state == debtSending {
			return true
		}
	}
	return t.moving
}

// refused returns the debts that a collector refused for good.
func (t *tracked) refused() []*debt {
	var out []*debt
	for _, d := range t.debts {
		if d.state == debtRefused {
			out = append(out, d)
		}
	}
	return out
}

// doubtful reports whether a collector may have the item without our knowing.
func (t *tracked) doubtful() bool {
	for _, d := range t.debts {
		if !d.unknown.IsZero() {
			return true
		}
	}
	return false
}

// cancel voids all debts, so that queues, parked sets and results let go of them.
func (t *tracked) cancel() {
	for _, d := range t.debts {
		if d.state == debtParked {
			d.to.unpark(t.item.ID)
		}
		d.state = debtCancelled
	}
	t.debts = nil
}
