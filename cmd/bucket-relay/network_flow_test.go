package main_test

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// flow drops files into an outbox at a steady pace until it is stopped, and
// notes when. Its methods are for one goroutine beside its own.
type flow struct {
	samples  *samples
	producer *producer
	end      chan struct{}
	ended    chan struct{}
	once     sync.Once
}

// startFlow drops one file every pace.
func startFlow(t testing.TB, out *outbox, seed uint64, pace time.Duration) *flow {
	t.Helper()
	s := newSamples(seed)
	f := &flow{samples: s, producer: newProducer(t, out.dir, s), end: make(chan struct{}), ended: make(chan struct{})}
	go f.run(pace)
	t.Cleanup(f.stop)
	return f
}

func (f *flow) run(pace time.Duration) {
	defer close(f.ended)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-f.end:
			return
		case <-tick.C:
			f.producer.drop(1)
		}
	}
}

// stop ends the flow; the files that were dropped are f.samples.made().
func (f *flow) stop() {
	f.once.Do(func() { close(f.end) })
	<-f.ended
}

// checkAll stops the flow and checks that every inbox has every file, once.
func (f *flow) checkAll(t testing.TB, out *outbox, readers ...*reader) {
	t.Helper()
	f.stop()
	for _, r := range readers {
		r.await(2*patienceLimit, f.samples.made())
	}
	out.awaitEmpty(patienceLimit)
	for _, r := range readers {
		r.check(f.samples.made())
	}
}

// share is how many files become visible in an inbox within a time, divided by
// how many were dropped in it: the pace of the producer is the machine's.
func (f *flow) share(r *reader, span time.Duration) float64 {
	seen, made := r.seen(), f.samples.made()
	timer := time.NewTimer(span)
	<-timer.C
	return float64(r.seen()-seen) / float64(f.samples.made()-made)
}

// spread is a set of durations that a test measured.
type spread []time.Duration

// at is the duration that a share of them does not exceed: 0.5 is the median.
func (s spread) at(share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	i := int(math.Ceil(share*float64(len(sorted)))) - 1 // the nearest rank
	return sorted[max(i, 0)]
}

// within is a limit that a test holds itself to. It is exact in the runs at full
// length, which have the machine to themselves; beside other tests four times as
// much passes, which still finds what hangs.
func within(limit time.Duration) time.Duration {
	if isFull() {
		return limit
	}
	return 4 * limit
}
