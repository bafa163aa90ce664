package spool

import (
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// maxReasons bounds how many different reasons are told apart.
const maxReasons = 64

const otherReasons = "other reasons"

// Count is a number of files and the name of one of them.
type Count struct {
	N      int
	Sample string
}

// OutboxStats is derived from what lies on disk, not counted up: numbers that
// drift are corrected by the next pass.
type OutboxStats struct {
	// Queued files wait in the outbox and Claimed ones under .relay, as of now;
	// what nobody looked at since the last pass is as the pass saw it.
	Queued, Claimed, Dead int
	// OldestS is about how many seconds the oldest of them has been waiting.
	OldestS float64
	// Waiting tells why queued files are not taken, Rejected what will never be
	// taken and stays where it is. The keys are reasons in words.
	Waiting, Rejected map[string]Count
	// Fallbacks tells in words what does not work here and what is done instead.
	Fallbacks []string
}

// note is why one name was not taken.
type note struct {
	reason   string
	rejected bool
	at       time.Time // since when the file has been like this
	gen      uint64
}

// reasonKey is a reason with its kind.
type reasonKey struct {
	reason   string
	rejected bool
}

// tally keeps why files are not taken: by name up to a bound, beyond it as bare
// numbers of the last pass.
type tally struct {
	mu        sync.Mutex
	max       int
	gen       uint64 // of the pass under way or the last one
	notes     map[string]note
	extra     map[reasonKey]int // of the last pass
	extraNext map[reasonKey]int // of the pass under way
	ahead     int               // entries the pass has not come to
	foreigns  Count
	fallbacks map[string]string
	logged    map[string]uint64 // reason → fingerprint of the names last logged
}

func (t *tally) init(max int) {
	t.max = max
	t.notes = map[string]note{}
	t.extraNext = map[reasonKey]int{}
	t.fallbacks = map[string]string{}
	t.logged = map[string]uint64{}
}

// put notes why a name is not taken. inPass says that the pass came by it.
func (t *tally) put(name string, n note, inPass bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n.gen = t.gen
	_, known := t.notes[name]
	if known || len(t.notes) < t.max {
		t.notes[name] = n
		return
	}
	if inPass {
		t.extraNext[reasonKey{n.reason, n.rejected}]++
	}
}

// forget drops a name that was taken or is gone.
func (t *tally) forget(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.notes, name)
}

// passBegins and passEnds stand around a pass: what it did not see is dropped.
func (t *tally) passBegins() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gen++
	t.extraNext = map[reasonKey]int{}
}

func (t *tally) passEnds(log *slog.Logger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ahead = 0
	t.extra = t.extraNext
	t.extraNext = map[reasonKey]int{}
	maps.DeleteFunc(t.notes, func(_ string, n note) bool { return n.gen != t.gen })
	t.logRejectedLocked(log)
}

// logRejectedLocked logs each reason whose set of names changed since it was
// last logged; a directory that is never tidied does not fill the log.
func (t *tally) logRejectedLocked(log *slog.Logger) {
	prints := map[string]uint64{}
	for name, n := range t.notes {
		if n.rejected {
			h := fnv.New64a()
			_, _ = h.Write([]byte(name)) // a hash never fails
			prints[n.reason] += h.Sum64() | 1
		}
	}
	_, rejected := t.countLocked()
	for reason, print := range prints {
		if t.logged[reason] != print {
			c := rejected[reason]
			log.Warn("files are left in the outbox", "reason", reason, "files", c.N, "sample", c.Sample)
		}
	}
	t.logged = prints
}

func (t *tally) setAhead(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ahead = n
}

func (t *tally) foreign(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.foreigns = Count{N: t.foreigns.N + 1, Sample: name}
}

// fallback notes what does not work here and reports whether that is news.
func (t *tally) fallback(what, words string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fallbacks[what] == words {
		return false
	}
	t.fallbacks[what] = words
	return true
}

// countLocked adds the notes up by reason.
func (t *tally) countLocked() (waiting, rejected map[string]Count) {
	waiting, rejected = map[string]Count{}, map[string]Count{}
	add := func(k reasonKey, n int, sample string) {
		to := waiting
		if k.rejected {
			to = rejected
		}
		if _, ok := to[k.reason]; !ok && len(to) >= maxReasons {
			k.reason = otherReasons
		}
		c := to[k.reason]
		c.N += n
		if c.Sample == "" || (sample != "" && sample < c.Sample) {
			c.Sample = sample
		}
		to[k.reason] = c
	}
	for name, n := range t.notes {
		add(reasonKey{n.reason, n.rejected}, 1, name)
	}
	for k, n := range t.extra {
		add(k, n, "")
	}
	return waiting, rejected
}

// Stats tells how the outbox stands. It never waits for the disk.
func (o *Outbox) Stats() OutboxStats {
	s, oldest := o.tally.stats()
	t := &o.claims
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Claimed, s.Dead = t.pending.Len(), t.dead.Len()
	for epoch, a := range t.ages {
		low, _ := t.pending.Min(epoch)
		if at, ok := a.of(low); ok && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	if !oldest.IsZero() {
		s.OldestS = max(0, time.Since(oldest).Seconds())
	}
	return s
}

func (t *tally) stats() (OutboxStats, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s OutboxStats
	s.Waiting, s.Rejected = t.countLocked()
	s.Queued = t.ahead
	for _, c := range s.Waiting {
		s.Queued += c.N
	}
	if t.foreigns.N > 0 {
		s.Rejected["not a claim, but lies in .relay/claimed"] = t.foreigns
	}
	s.Fallbacks = slices.Sorted(maps.Values(t.fallbacks))
	var oldest time.Time
	for _, n := range t.notes {
		if !n.rejected && !n.at.IsZero() && (oldest.IsZero() || n.at.Before(oldest)) {
			oldest = n.at
		}
	}
	return s, oldest
}
