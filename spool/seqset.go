package spool

import (
	"maps"
	"slices"
	"sort"
)

// SeqSet is a set of claims, each an epoch and a seq, kept as ranges: its
// memory grows with the number of gaps, not with the number of claims, so a
// backlog of a million costs little. The zero value is an empty set. Not safe
// for concurrent use.
type SeqSet struct {
	epochs map[uint64][]seqRange // sorted, disjoint, never adjacent
	n      int
}

type seqRange struct{ lo, hi uint64 } // both inclusive

// Len returns the number of claims in the set.
func (s *SeqSet) Len() int { return s.n }

// Epochs returns the epochs that have a claim in the set, sorted.
func (s *SeqSet) Epochs() []uint64 { return slices.Sorted(maps.Keys(s.epochs)) }

// Has reports whether the claim is in the set.
func (s *SeqSet) Has(epoch, seq uint64) bool {
	rs := s.epochs[epoch]
	i := search(rs, seq)
	return i < len(rs) && rs[i].lo <= seq
}

// Min returns the lowest seq of an epoch.
func (s *SeqSet) Min(epoch uint64) (seq uint64, ok bool) {
	if rs := s.epochs[epoch]; len(rs) > 0 {
		return rs[0].lo, true
	}
	return 0, false
}

// Add puts a claim into the set and reports whether it was new.
func (s *SeqSet) Add(epoch, seq uint64) bool {
	rs := s.epochs[epoch]
	i := search(rs, seq)
	if i < len(rs) && rs[i].lo <= seq {
		return false
	}
	if s.epochs == nil {
		s.epochs = map[uint64][]seqRange{}
	}
	s.n++
	joinsLeft := i > 0 && rs[i-1].hi+1 == seq
	joinsRight := i < len(rs) && seq+1 == rs[i].lo
	switch {
	case joinsLeft && joinsRight:
		rs[i-1].hi = rs[i].hi
		rs = slices.Delete(rs, i, i+1)
	case joinsLeft:
		rs[i-1].hi = seq
	case joinsRight:
		rs[i].lo = seq
	default:
		rs = slices.Insert(rs, i, seqRange{seq, seq})
	}
	s.epochs[epoch] = rs
	return true
}

// Remove takes a claim out of the set and reports whether it was there.
func (s *SeqSet) Remove(epoch, seq uint64) bool {
	rs := s.epochs[epoch]
	i := search(rs, seq)
	if i == len(rs) || rs[i].lo > seq {
		return false
	}
	s.n--
	switch r := rs[i]; {
	case r.lo == r.hi:
		rs = slices.Delete(rs, i, i+1)
	case r.lo == seq:
		rs[i].lo++
	case r.hi == seq:
		rs[i].hi--
	default:
		rs[i].hi = seq - 1
		rs = slices.Insert(rs, i+1, seqRange{seq + 1, r.hi})
	}
	if len(rs) == 0 {
		delete(s.epochs, epoch)
		return true
	}
	s.epochs[epoch] = rs
	return true
}

// search returns the first range whose hi is not below seq.
func search(rs []seqRange, seq uint64) int {
	return sort.Search(len(rs), func(i int) bool { return rs[i].hi >= seq })
}
