package consensus

import (
	"testing"
	"time"
)

// A leadership may last for years: what is remembered of a node goes when the
// node is known nowhere any more.
func TestMemoryForgets(t *testing.T) {
	m := newMemory()
	s := scene("1V 2N:dead=10s 3N:never,deaf=10s")
	m.look(&s, nil)
	if len(m.deadSince) != 1 || len(m.unheardSince) != 1 {
		t.Fatalf("dead %v, unheard %v", m.deadSince, m.unheardSince)
	}
	s = scene("1V")
	m.look(&s, nil)
	for _, times := range []map[string]time.Time{m.deadSince, m.unheardSince, m.seen, m.heard} {
		delete(times, "1")
		if len(times) > 0 {
			t.Errorf("left: %v", times)
		}
	}
}
