package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// courierDoublings bounds the back-off of a courier, for whom somebody waits:
// after the fifth failure in a row the pause, 2 to 4 s, grows no more.
const courierDoublings = 5

var (
	// errInterrupted is what a file fails with when the context ends.
	errInterrupted = errors.New("interrupted before it was acknowledged")
	// errGone is why a collector that has left the cluster does not get the file.
	errGone = errors.New("it left the cluster")
)

// handover brings one copy of a parcel to one of its collectors. One goroutine
// uses it.
type handover struct {
	trip
	parcel *parcel
	choice []httpapi.ClusterCollector // who may get it, the preferred one first; at least one
	at     int                        // whose turn it is

	failoverAfter time.Duration
	unknown       time.Time // when a collector may have got it without saying so; zero: surely none has
	resume        bool      // the collector may hold part of it
	duplicate     bool      // another collector may have it
	failing       time.Time // since when this copy fails; zero before the first failure
	sent          int64     // how far the attempt under way has read
	furthest      int64     // how far any attempt has read
}

// to is the collector whose turn it is.
func (h *handover) to() fsm.CollectorID { return fsm.CollectorID(h.choice[h.at].ID) }

// run tries until a collector has acknowledged the file, refuses it for good,
// or has failed for longer than the courier's timeout. Of a copy that failed
// nothing counts as expected or moved any more.
func (h *handover) run(ctx context.Context) (httpapi.Receipt, error) {
	for n := 1; ; n++ {
		receipt, err := h.attempt(ctx)
		if err == nil {
			return receipt, nil
		}
		if err := h.next(ctx, n, err); err != nil {
			h.progress.Expect(-h.parcel.stat.Size())
			h.progress.Moved(-h.sent)
			return httpapi.Receipt{}, err
		}
	}
}

// attempt offers the file once.
func (h *handover) attempt(ctx context.Context) (httpapi.Receipt, error) {
	m := h.choice[h.at]
	offer := h.parcel.offer(func(upTo int64) {
		h.progress.Moved(upTo - h.sent)
		h.sent = upTo
	})
	offer.ID, offer.Cluster = h.id, h.cfg.Cluster
	offer.Resume, offer.PossibleDuplicate = h.resume, h.duplicate
	h.begin()
	addr := fsm.Collector{Address: m.Address, Port: m.Port}.HostPort()
	receipt, err := h.sender.Put(ctx, httpapi.Peer{Base: "http://" + addr}, offer)
	h.end(err == nil)
	if err != nil {
		return receipt, err
	}
	h.progress.Moved(h.parcel.stat.Size() - h.sent) // a duplicate or a resumed file costs no body
	h.sent = h.parcel.stat.Size()
	if receipt.Collector == "" {
		receipt.Collector = m.ID // the original's say nothing of themselves
	}
	return receipt, nil
}

// next decides after the n-th attempt has failed, n from 1 on. It returns nil
// when it is time for another one, to whose collector it may have turned or for
// which it has waited, and else why there is none.
func (h *handover) next(ctx context.Context, n int, err error) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	failed, ok := errors.AsType[*httpapi.SendError](err)
	if !ok || hopeless(failed) {
		return err
	}
	if changed := h.parcel.unchanged(); changed != nil {
		return changed
	}
	if h.turn(failed) && h.at > 0 {
		return nil // another one, at once
	}
	since := h.since()
	if since >= h.cfg.Timeout {
		return fmt.Errorf("given up after %s: %w", since.Round(time.Second), err)
	}
	pause := min(max(backoff(min(n, courierDoublings)), failed.RetryAfter), h.cfg.Timeout-since)
	h.progress.Waits(h.parcel.path, string(h.to()), err, pause)
	if !waited(ctx, pause) {
		return errInterrupted
	}
	return h.refresh(ctx)
}

// hopeless reports whether trying again is of no use.
func hopeless(e *httpapi.SendError) bool {
	return e.Outcome == httpapi.Permanent || e.Outcome == httpapi.Settled || e.Code == httpapi.CodeSource
}

// turn chooses who is next after a failure and reports whether it is another
// one. While a collector may have the file, only that one can tell; after
// failoverAfter another one gets it, marked as a possible duplicate.
func (h *handover) turn(e *httpapi.SendError) bool {
	now := time.Now()
	if h.sent > h.furthest { // it got further than ever: not stuck
		h.furthest, h.failing = h.sent, time.Time{}
	}
	if h.failing.IsZero() {
		h.failing = now
	}
	if e.Outcome == httpapi.Unknown && h.unknown.IsZero() {
		h.unknown = now
	}
	h.resume = h.resume || e.Outcome != httpapi.Refused
	if !h.unknown.IsZero() && now.Sub(h.unknown) < h.failoverAfter || len(h.choice) == 1 {
		return false
	}
	h.at = (h.at + 1) % len(h.choice)
	h.duplicate = h.duplicate || !h.unknown.IsZero()
	h.resume = false
	return true
}

// since is for how long this copy has failed, or the collector whose turn it
// is, whichever is longer: when a collector is down, each file after the first
// makes only one attempt more.
func (h *handover) since() time.Duration {
	h.mu.Lock()
	failing := h.postLocked(h.to()).failing
	h.mu.Unlock()
	if failing.IsZero() || h.failing.Before(failing) {
		failing = h.failing
	}
	return time.Since(failing)
}

// begin notes that an attempt is under way.
func (h *handover) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.postLocked(h.to()).inFlight++
}

// end notes how the attempt went, for all copies to the same collector.
func (h *handover) end(ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.postLocked(h.to())
	p.inFlight--
	switch {
	case ok:
		p.failing = time.Time{}
	case p.failing.IsZero():
		p.failing = time.Now()
	}
}

// refresh takes over the addresses that the collectors have now. One that left
// the cluster is no longer tried; none left is errGone.
func (h *handover) refresh(ctx context.Context) error {
	cluster, err := h.table.look(ctx)
	if err != nil {
		return nil // the last known addresses are still the best there are
	}
	current := string(h.to())
	var choice []httpapi.ClusterCollector
	for _, old := range h.choice {
		if i := indexOf(cluster.Collectors, old.ID); i >= 0 {
			choice = append(choice, cluster.Collectors[i])
		}
	}
	if len(choice) == 0 {
		return errGone
	}
	h.choice, h.at = choice, max(0, indexOf(choice, current))
	return nil
}

func indexOf(ms []httpapi.ClusterCollector, id string) int {
	return slices.IndexFunc(ms, func(m httpapi.ClusterCollector) bool { return m.ID == id })
}

// waited lets time go by and reports whether it did before the context ended.
func waited(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
