package spool

import (
	"container/heap"
	"time"
)

// observed is a file that is not ready yet and will be looked at again.
type observed struct {
	name  string
	kind  hintKind
	st    fileStat  // as it was at since
	since time.Time // since when it has not changed, on our monotonic clock
	due   time.Time
	why   string
	looks int // looks since the last event
	slot  int // its place in the heap, -1 when it is in none
}

// quietFor returns how long the file has looked as it does now.
func (ob *observed) quietFor(st fileStat, now time.Time) time.Duration {
	if !ob.st.same(st) {
		ob.st, ob.since = st, now
	}
	return now.Sub(ob.since)
}

// changed returns about when the file came to be as it is: its ctime, which a
// producer can't set, else its mtime. For ages shown to people, not for decisions.
func (a fileStat) changed() time.Time {
	if a.CTime.IsZero() {
		return a.MTime
	}
	return a.CTime
}

// observedSet holds at most max files, ordered by when they are due. When it is
// full, the pass waits and names from events are left to the next pass.
type observedSet struct {
	max    int
	byName map[string]*observed
	byDue  dueHeap
}

func (s *observedSet) init(max int) {
	s.max = max
	s.byName = map[string]*observed{}
}

func (s *observedSet) full() bool { return len(s.byName) >= s.max }

func (s *observedSet) get(name string) *observed { return s.byName[name] }

// put adds a file or moves it to its new due time; false when there is no room.
func (s *observedSet) put(ob *observed) bool {
	if s.byName[ob.name] == ob {
		heap.Fix(&s.byDue, ob.slot)
		return true
	}
	if s.full() {
		return false
	}
	s.byName[ob.name] = ob
	heap.Push(&s.byDue, ob)
	return true
}

func (s *observedSet) drop(name string) {
	if ob := s.byName[name]; ob != nil {
		delete(s.byName, name)
		heap.Remove(&s.byDue, ob.slot)
	}
}

// distrust forgets what events told, after some were lost: a file that was
// written to since may look as if it had been linked in.
func (s *observedSet) distrust() {
	for _, ob := range s.byDue {
		ob.kind = hintNone
	}
}

// first returns the file that is due first, or nil.
func (s *observedSet) first() *observed {
	if len(s.byDue) == 0 {
		return nil
	}
	return s.byDue[0]
}

type dueHeap []*observed

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].slot, h[j].slot = i, j
}

func (h *dueHeap) Push(x any) {
	ob := x.(*observed)
	ob.slot = len(*h)
	*h = append(*h, ob)
}

func (h *dueHeap) Pop() any {
	old := *h
	ob := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return ob
}
