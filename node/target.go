package node

import (
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// Sizes of requests. Small files travel in batches, because the processor goes
// to requests and not to the disk; a large file has a request of its own.
const (
	smallFile  = 256 << 10 // largest file in a batch
	batchFiles = 256
	batchBytes = 4 << 20
	resumable  = 1 << 20 // smallest file of which a collector keeps a part
	smallConns = 4       // batches under way per collector; more would only make them smaller
)

// peerKind says what answers at a collector's address.
type peerKind int

const (
	peerUnknown  peerKind = iota // not yet spoken to: one PUT at a time
	peerRelay                    // answers with receipts: everything
	peerOriginal                 // answers "success": bare PUTs only, at-least-once
)

// target is one collector as one uploader sees it: queue, concurrency, breaker.
// All fields are guarded by the uploader's mutex.
type target struct {
	id      fsm.CollectorID
	cluster fsm.ClusterName // whose it is by the table
	peer    httpapi.Peer
	kind    peerKind
	gone    bool // not in the table any more
	drain   drain
	down    bool // its node is not in sight, and it has not answered since
	noBatch bool // refuses batches as such

	small, large queue
	smallSending int
	largeSending int
	itemsSending int
	delayed      int          // debts that wait for a back-off of their own
	parked       spool.SeqSet // owed, durable in claimed/, but not in memory
	passedBy     bool         // the pass met claims parked for it while it was full
	seen         spool.SeqSet // of parked: met on disk by the pass under way, or parked since it began
	breaker      breaker
	room         int       // debts held in memory at most
	slow         bool      // full, and did not drain while the scan waited
	skipped      bool      // files were left in the outbox for want of room
	probed       time.Time // when a file was last chosen to probe it
	probe        string    // the name of that file
	sentMarks    map[uint64]uint64
	code, why    string // the last failure; empty after a success
}

// held is the number of debts in memory.
func (t *target) held() int { return t.small.len() + t.large.len() + t.itemsSending + t.delayed }

// park and unpark change what is owed but not in memory. A pass over the claims
// on disk notes in seen which of it is still there.
func (t *target) park(id spool.ID) {
	t.parked.Add(id.Epoch, id.Seq)
	t.seen.Add(id.Epoch, id.Seq)
}

func (t *target) unpark(id spool.ID) {
	t.parked.Remove(id.Epoch, id.Seq)
	t.seen.Remove(id.Epoch, id.Seq)
}

func (t *target) full() bool { return t.held() >= t.room }

// roomy reports whether it is time to bring more into memory.
func (t *target) roomy() bool { return t.held() <= t.room/2 }

// load orders collectors by how busy they are.
func (t *target) load() int { return t.held() + t.parked.Len() }

// probeable reports whether bringing an item into memory would get it sent.
func (t *target) probeable(now time.Time) bool {
	return !t.breaker.open() || (t.held() == 0 && !now.Before(t.breaker.until))
}

// ailing reports whether a collector is chosen last: it failed, or its node is
// not in sight.
func (t *target) ailing() bool { return t.down || t.breaker.open() }

// dueForProbe reports whether a file that another would get should be given to
// an ailing collector, to see whether it works. The file that was chosen last may
// not be claimed yet, so there is a pause before another is; it may itself be
// asked about again until it is.
func (t *target) dueForProbe(name string, now time.Time) bool {
	if !t.ailing() || t.load() > 0 || now.Before(t.breaker.until) {
		return false
	}
	pause := backoffMin
	if t.down {
		pause = downPause
	}
	return name == t.probe || now.Sub(t.probed) >= pause
}

// chooseProbe notes that a file was chosen to probe the collector.
func (t *target) chooseProbe(name string, now time.Time) { t.probe, t.probed = name, now }

func (t *target) requests() int { return t.smallSending + t.largeSending }

// push queues a waiting debt.
func (t *target) push(d *debt) {
	d.state = debtWaiting
	if d.of.item.Size <= smallFile {
		t.small.push(d)
		return
	}
	t.large.push(d)
}

// take removes the debts of the next request from the queue: a batch of small
// files or one large file; nil when nothing may start.
func (t *target) take(now time.Time, maxConn int) []*debt {
	if t.requests() >= maxConn || !t.breaker.allow(now, t.requests()) {
		return nil
	}
	single := t.kind != peerRelay || t.ailing() || t.noBatch
	if (t.kind == peerUnknown || t.down) && t.requests() > 0 {
		return nil
	}
	smallMax, largeMax := min(smallConns, maxConn), max(1, maxConn/4)
	if t.kind == peerOriginal {
		smallMax = maxConn
	}
	if t.smallSending < smallMax {
		if batch := t.small.take(single); batch != nil {
			return batch
		}
	}
	if t.largeSending < largeMax {
		return t.large.take(true)
	}
	return nil
}

// queue is a first-in first-out queue of debts. Cancelled ones are dropped on
// the way out.
type queue struct {
	debts []*debt
	head  int
}

func (q *queue) len() int { return len(q.debts) - q.head }

func (q *queue) push(d *debt) {
	if q.head > 1024 && q.head*2 > len(q.debts) {
		n := copy(q.debts, q.debts[q.head:])
		clear(q.debts[n:])
		q.debts, q.head = q.debts[:n], 0
	}
	q.debts = append(q.debts, d)
}

func (q *queue) pop() *debt {
	for q.head < len(q.debts) {
		d := q.debts[q.head]
		q.debts[q.head] = nil
		q.head++
		if d.state == debtWaiting {
			return d
		}
	}
	q.debts, q.head = q.debts[:0], 0
	return nil
}

// take removes up to a batch, by number and by bytes; one debt when single.
func (q *queue) take(single bool) []*debt {
	var batch []*debt
	var bytes int64
	for len(batch) < batchFiles && bytes < batchBytes {
		d := q.pop()
		if d == nil {
			break
		}
		batch = append(batch, d)
		bytes += d.of.item.Size
		if single {
			break
		}
	}
	return batch
}

// compact drops cancelled debts, which would else count until their turn comes.
func (q *queue) compact() { q.filter(func(*debt) bool { return true }) }

// filter keeps the debts for which keep is true and returns the others that wait.
func (q *queue) filter(keep func(*debt) bool) []*debt {
	var kept, out []*debt
	for d := q.pop(); d != nil; d = q.pop() {
		if keep(d) {
			kept = append(kept, d)
		} else {
			out = append(out, d)
		}
	}
	q.debts, q.head = kept, 0
	return out
}
