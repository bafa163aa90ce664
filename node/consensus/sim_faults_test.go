package consensus

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Partitions. All of them stay until net.Heal.

// split cuts all ways between the nodes of one group and all others.
func (s *sim) split(group ...string) {
	for id := range s.disks {
		for _, other := range group {
			if !slices.Contains(group, id) {
				s.net.Cut(id, other)
				s.net.Cut(other, id)
			}
		}
	}
}

// ring leaves each node the ways to its two neighbours only.
func (s *sim) ring(order ...string) {
	for i, a := range order {
		for j, b := range order {
			if apart := (i - j + len(order)) % len(order); apart != 0 && apart != 1 && apart != len(order)-1 {
				s.net.Cut(a, b)
			}
		}
	}
}

// mute cuts all ways from a node, and deafen all ways to it.
func (s *sim) mute(id string) {
	for other := range s.disks {
		if other != id {
			s.net.Cut(id, other)
		}
	}
}

func (s *sim) deafen(id string) {
	for other := range s.disks {
		if other != id {
			s.net.Cut(other, id)
		}
	}
}

// mustMend undoes every fault: all ways are open and quick, and all nodes run.
func (s *sim) mustMend() {
	s.t.Helper()
	s.net.Heal()
	for id := range s.disks {
		s.bringNear(id)
		if s.by[id] == nil {
			s.mustStart(id, 0)
		}
	}
}

// mustHurt does something random to the network, to a node, or to the leader. At
// most two nodes are down at a time. It returns what it did.
func (s *sim) mustHurt(rng *rand.Rand) string {
	s.t.Helper()
	all := sortedKeys(s.disks)
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	victim, few := all[0], all[:1+rng.IntN(len(all)/2)]
	if leader := s.leader(); leader != nil && rng.IntN(2) == 0 {
		victim = leader.cfg.NodeID
	}
	switch rng.IntN(11) {
	case 0:
		s.split(few...)
		return "split"
	case 1:
		s.split(victim)
		return "isolate " + victim
	case 2:
		s.mute(victim)
		return "mute " + victim
	case 3:
		s.deafen(victim)
		return "deafen " + victim
	case 4:
		s.ring(all...)
		return "ring"
	case 5:
		s.net.Cut(all[0], all[1])
		return "cut " + all[0] + " to " + all[1]
	case 6:
		s.setDelay(all[0], all[1], time.Duration(rng.IntN(1000))*time.Millisecond)
		return "delay between " + all[0] + " and " + all[1]
	case 7, 8:
		return s.mustToggle(victim)
	case 9:
		return s.strand()
	default:
		return s.handOver()
	}
}

// strand has the leader be heard by nobody any more, while answers to what it said
// before still come in: it takes longer to notice than the others take to elect
// another.
func (s *sim) strand() string {
	leader := s.leader()
	if leader == nil {
		return "nothing"
	}
	id := leader.cfg.NodeID
	for other := range s.disks {
		if other != id {
			s.net.Delay(other, id, s.timing.withDefaults().times(180*time.Millisecond))
		}
	}
	pause(s.t.Context(), s.timing.withDefaults().times(time.Second))
	s.mute(id)
	return "strand " + id
}

// mustToggle crashes a node, or starts one when two are down.
func (s *sim) mustToggle(id string) string {
	s.t.Helper()
	if s.by[id] != nil && len(s.by) > len(s.disks)-2 {
		s.crash(id)
		return "crash " + id
	}
	for other := range s.disks {
		if s.by[other] == nil {
			id = other
		}
	}
	if s.by[id] != nil {
		return "nothing"
	}
	s.mustStart(id, 0)
	return "start " + id
}

// handOver has the leader give its leadership away.
func (s *sim) handOver() string {
	leader := s.leader()
	if leader == nil {
		return "nothing"
	}
	if err := leader.Transfer(s.t.Context(), ""); err != nil {
		return "no transfer: " + err.Error()
	}
	return "transfer from " + leader.cfg.NodeID
}
