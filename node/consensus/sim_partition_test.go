package consensus

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// writers has a client at each of these nodes make clusters, one after the other,
// until stop is called. It counts by node what was acknowledged.
func (s *sim) writers(name string, at ...string) (stop func() map[string]int) {
	return s.writersEvery(50*time.Millisecond, name, at...)
}

func (s *sim) writersEvery(every time.Duration, name string, at ...string) (stop func() map[string]int) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := make(map[string]int)
	for _, id := range at {
		wg.Go(func() {
			for i := 0; pause(ctx, every); i++ {
				if s.put(ctx, id, numbered(name+"-"+id, i)) == nil {
					mu.Lock()
					count[id]++
					mu.Unlock()
				}
			}
		})
	}
	return func() map[string]int {
		cancel()
		wg.Wait()
		return count
	}
}

// partitions are the ways in which the network of five falls apart, seen from who
// leads, and the nodes at which writes must go on and those at which none can.
var partitions = []struct {
	name string
	cut  func(s *sim, leader string, others []string)
	on   func(leader string, others []string) (writable, silent []string)
}{
	{
		"the leader with one other is cut off from three",
		func(s *sim, leader string, others []string) { s.split(leader, others[0]) },
		func(leader string, others []string) ([]string, []string) {
			return others[1:], []string{leader, others[0]}
		},
	},
	{
		"the leader with two others is cut off from two",
		func(s *sim, leader string, others []string) { s.split(leader, others[0], others[1]) },
		func(leader string, others []string) ([]string, []string) {
			return []string{leader, others[0], others[1]}, others[2:]
		},
	},
	{
		"the leader is cut off",
		func(s *sim, leader string, _ []string) { s.split(leader) },
		func(leader string, others []string) ([]string, []string) { return others, []string{leader} },
	},
	{
		"the leader is not heard",
		func(s *sim, leader string, _ []string) { s.mute(leader) },
		func(leader string, others []string) ([]string, []string) { return others, []string{leader} },
	},
	{
		"the leader hears nothing",
		func(s *sim, leader string, _ []string) { s.deafen(leader) },
		func(leader string, others []string) ([]string, []string) { return others, []string{leader} },
	},
	{
		"a follower does not hear the leader",
		func(s *sim, leader string, others []string) { s.net.Cut(leader, others[0]) },
		func(leader string, others []string) ([]string, []string) {
			return append(slices.Clone(others[1:]), leader), nil
		},
	},
	{
		"a follower is not heard by the leader",
		func(s *sim, leader string, others []string) { s.net.Cut(others[0], leader) },
		func(leader string, others []string) ([]string, []string) {
			return append(slices.Clone(others[1:]), leader), nil
		},
	},
	{
		"two followers are cut off from each other",
		func(s *sim, _ string, others []string) {
			s.net.Cut(others[0], others[1])
			s.net.Cut(others[1], others[0])
		},
		func(leader string, others []string) ([]string, []string) {
			return append(slices.Clone(others), leader), nil
		},
	},
	{
		"a ring",
		func(s *sim, leader string, others []string) { s.ring(append(slices.Clone(others), leader)...) },
		func(leader string, others []string) ([]string, []string) {
			return []string{leader, others[0], others[3]}, nil // the leader and its neighbours
		},
	},
	{
		"all are cut off from all",
		func(s *sim, leader string, others []string) {
			for _, id := range others {
				s.split(id)
			}
		},
		func(leader string, others []string) ([]string, []string) {
			return nil, append(slices.Clone(others), leader)
		},
	},
}

// Whoever reaches a majority goes on, whoever does not acknowledges nothing, and
// what both were told is true for all once the network is healed.
func TestSimPartitionsHeal(t *testing.T) {
	t.Parallel()
	for _, p := range partitions {
		t.Run(p.name, func(t *testing.T) {
			inSim(t, Timing{}, func(t *testing.T, s *sim) {
				leader := s.mustBegin(ids5()...).cfg.NodeID
				others := without(ids5(), leader)
				writable, silent := p.on(leader, others)
				stop := s.writers("before", ids5()...)
				pause(t.Context(), time.Second)
				p.cut(s, leader, others) // in the middle of what goes on
				pause(t.Context(), 2*time.Second)
				stop()

				stop = s.writers("cut", ids5()...)
				pause(t.Context(), either(5*time.Second, time.Minute))
				count := stop()
				for _, id := range writable {
					if count[id] < 20 {
						t.Errorf("%s has a majority, and acknowledged %d writes (%v)", id, count[id], count)
					}
				}
				for _, id := range silent {
					if count[id] > 0 {
						t.Errorf("%s has no majority, and acknowledged %d writes", id, count[id])
					}
				}
				s.mustAgree()
				stop = s.writers("healed", ids5()...)
				s.mustMend()
				pause(t.Context(), 2*time.Second)
				count = stop()
				for _, id := range ids5() {
					if count[id] == 0 {
						t.Errorf("%s is back, and acknowledges nothing: %v", id, count)
					}
				}
				s.mustSettle(3 * time.Second)
			})
		})
	}
}

// A follower that was away has what it missed within two seconds.
func TestSimCutOffFollowerHasWhatItMissed(t *testing.T) {
	t.Parallel()
	for _, cut := range []string{"split", "mute", "deafen"} {
		t.Run(cut, func(t *testing.T) {
			inSim(t, Timing{}, func(t *testing.T, s *sim) {
				leader := s.mustBegin(ids5()...)
				follower := without(ids5(), leader.cfg.NodeID)[0]
				map[string]func(){
					"split":  func() { s.split(follower) },
					"mute":   func() { s.mute(follower) },
					"deafen": func() { s.deafen(follower) },
				}[cut]()
				stop := s.writers("missed", leader.cfg.NodeID)
				pause(t.Context(), 20*time.Second)
				if n := stop()[leader.cfg.NodeID]; n < 300 {
					t.Errorf("only %d writes without the follower", n)
				}
				behind := s.by[follower].Status().Applied
				s.net.Heal()
				healed := time.Now()
				s.mustSettle(2 * time.Second)
				t.Logf("%d entries %s after the heal", leader.Status().Applied-behind, time.Since(healed))
				if s.leader() != leader {
					t.Error("the follower that was away has deposed the leader")
				}
			})
		})
	}
}

// A follower far away slows nobody down. One that is not too far for Timing.Dial
// keeps up but for the way; one that is has it all once it has come nearer.
func TestSimSlowFollowerSlowsNobody(t *testing.T) {
	t.Parallel()
	for _, far := range []time.Duration{100 * time.Millisecond, 600 * time.Millisecond} {
		t.Run(far.String(), func(t *testing.T) {
			inSim(t, Timing{}, func(t *testing.T, s *sim) {
				leader := s.mustBegin("n1", "n2", "n3")
				slow := without([]string{"n1", "n2", "n3"}, leader.cfg.NodeID)[0]
				before := s.mustTime("before", leader, 200)
				for id := range s.disks {
					s.setDelay(slow, id, far)
				}
				pause(t.Context(), 5*time.Second)
				during := s.mustTime("during", leader, either(400, 4000))
				t.Logf("99 %% take at most %s with all near, %s with one far", before, during)
				if during > before+time.Millisecond {
					t.Errorf("a write takes %s, and took %s before", during, before)
				}
				if 2*far > s.by[slow].cfg.Timing.Dial {
					s.mustMend()
					far = time.Second / 10
				}
				begin := time.Now()
				s.mustSettle(10 * far)
				t.Logf("the slow one had it all after %s", time.Since(begin))
				if s.leader() != leader {
					t.Error("the slow one has deposed the leader")
				}
			})
		})
	}
}

// mustTime writes by way of the leader and returns how long 99 % of it took at most.
func (s *sim) mustTime(name string, leader *Peer, n int) time.Duration {
	s.t.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		begin := time.Now()
		if err := s.put(s.t.Context(), leader.cfg.NodeID, numbered(name, i)); err != nil {
			s.t.Fatal(err)
		}
		took[i] = time.Since(begin)
		pause(s.t.Context(), 7*time.Millisecond)
	}
	slices.Sort(took)
	return took[n*99/100]
}
