package spool

import (
	"sort"
	"time"
)

// maxAges bounds the samples of one epoch; when there are more, every second
// one is dropped, and ages grow less exact.
const maxAges = 512

// ageLine tells about when a claim of an epoch was made: one sample a second
// at most, in the order of seq.
type ageLine struct{ samples []ageSample }

type ageSample struct {
	seq uint64
	at  time.Time
}

func (a *ageLine) add(seq uint64, at time.Time) {
	if n := len(a.samples); n > 0 && at.Sub(a.samples[n-1].at) < time.Second {
		return
	}
	a.samples = append(a.samples, ageSample{seq, at})
	if len(a.samples) <= maxAges {
		return
	}
	kept := a.samples[:0]
	for i := 0; i < len(a.samples); i += 2 {
		kept = append(kept, a.samples[i])
	}
	a.samples = kept
}

// of returns the time of the last sample at or before seq: never later than the
// claim was made. Samples before it are forgotten, seq being the lowest pending.
func (a *ageLine) of(seq uint64) (time.Time, bool) {
	i := sort.Search(len(a.samples), func(i int) bool { return a.samples[i].seq > seq })
	if i == 0 {
		return time.Time{}, false
	}
	a.samples = a.samples[i-1:]
	return a.samples[0].at, true
}
