package consensus

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Seven nodes, five voters among them, live through an hour of everything that can
// happen to them; more than half of the time something is wrong. In between, and at
// the end, all have the same, and nothing that was acknowledged is lost.
//
// The short run has raft's multiplier at 5, as a network of slow disks has: its
// timers fire less often.
func TestSimAnHourOfFaults(t *testing.T) {
	t.Parallel()
	rng := mustSeed(t)
	timing := Timing{Multiplier: either(5, 1), Commit: either(150*time.Millisecond, 30*time.Millisecond)}
	inSim(t, timing, func(t *testing.T, s *sim) {
		s.mustBegin(ids5()...)
		s.mustStart("n6", 0)
		s.mustStart("n7", 0)
		stop := s.writersEvery(15*time.Second, "hour", sortedKeys(s.disks)...)
		faults := 0
		for begin := time.Now(); time.Since(begin) < either(time.Hour, 6*time.Hour); {
			faults += s.mustSuffer(rng)
			s.mustMend()
			pause(t.Context(), time.Duration(rng.IntN(40))*time.Second)
			s.mustSettle(time.Minute)
		}
		writes := 0
		for _, n := range stop() {
			writes += n
		}
		s.mustSettle(time.Minute)
		t.Logf("%d faults, %d writes acknowledged, %d terms, voters %s at the end", faults, writes, s.leader().Status().Term, s.shape())
		if writes < 500 || faults < 100 {
			t.Error("too little has happened to prove anything")
		}
	})
}

// mustSuffer adds one fault to the other, up to five, and lets them last. It returns
// how many there were.
func (s *sim) mustSuffer(rng *rand.Rand) int {
	s.t.Helper()
	n := 1 + rng.IntN(5)
	for range n {
		s.t.Logf("%s: %s", time.Now().Format("15:04:05.000"), s.mustHurt(rng))
		pause(s.t.Context(), time.Duration(rng.IntN(20000))*time.Millisecond)
	}
	s.mustAgree()
	return n
}
