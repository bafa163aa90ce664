package node

import (
	"math/rand/v2"
	"time"
)

// The back-off of a collector and of a single item: doubling from backoffMin to
// backoffMax, each wait drawn from its upper half so that senders spread.
const (
	backoffMin = 250 * time.Millisecond
	backoffMax = 30 * time.Second
)

// backoff returns the wait after the n-th failure in a row, n from 1 on.
func backoff(n int) time.Duration {
	d := backoffMax
	if n < 8 {
		d = min(backoffMax, backoffMin<<(n-1))
	}
	return d/2 + rand.N(d/2+1)
}

// breaker keeps a failing collector from being asked all the time. Guarded by
// its owner's mutex.
type breaker struct {
	fails int
	until time.Time // no request before
}

// open reports whether the collector is left alone or only probed.
func (b *breaker) open() bool { return b.fails > 0 }

// allow reports whether a request may start: always while closed; while open,
// one at a time, once the back-off is over.
func (b *breaker) allow(now time.Time, inFlight int) bool {
	return b.fails == 0 || (inFlight == 0 && !now.Before(b.until))
}

// fail counts a failure. The collector's own wish for a pause is heeded when
// it is longer than ours, up to backoffMax. Requests that were under way when
// it opened and fail after it count as one failure with the first.
func (b *breaker) fail(now time.Time, wish time.Duration) {
	if b.fails > 0 && now.Before(b.until) {
		return
	}
	b.fails++
	b.until = now.Add(max(backoff(b.fails), min(wish, backoffMax)))
}

func (b *breaker) succeed() { *b = breaker{} }
