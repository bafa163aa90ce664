package spool

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A SeqSet is held against a map, with few values so that ranges meet.
func TestSeqSetIsAsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s SeqSet
		model := map[claimKey]bool{}
		draw := func(t *rapid.T) claimKey {
			return claimKey{rapid.Uint64Range(0, 2).Draw(t, "epoch"), rapid.Uint64Range(1, 40).Draw(t, "seq")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				k := draw(t)
				if got := s.Add(k.epoch, k.seq); got == model[k] {
					t.Fatalf("Add(%v) = %v", k, got)
				}
				model[k] = true
			},
			"remove": func(t *rapid.T) {
				k := draw(t)
				if got := s.Remove(k.epoch, k.seq); got != model[k] {
					t.Fatalf("Remove(%v) = %v", k, got)
				}
				delete(model, k)
			},
			"": func(t *rapid.T) { sameAsModel(t, &s, model) },
		})
	})
}

func sameAsModel(t *rapid.T, s *SeqSet, model map[claimKey]bool) {
	if s.Len() != len(model) {
		t.Fatalf("Len %d, want %d", s.Len(), len(model))
	}
	low := map[uint64]uint64{}
	ranges := 0
	for k := range model {
		if !s.Has(k.epoch, k.seq) {
			t.Fatalf("lost %v", k)
		}
		if l, ok := low[k.epoch]; !ok || k.seq < l {
			low[k.epoch] = k.seq
		}
		if !model[claimKey{k.epoch, k.seq - 1}] {
			ranges++
		}
	}
	if got := s.Epochs(); !slices.Equal(got, slices.Sorted(maps.Keys(low))) {
		t.Fatalf("epochs %v, want %v", got, low)
	}
	for epoch := range uint64(4) {
		if got, ok := s.Min(epoch); got != low[epoch] || ok != (low[epoch] > 0) {
			t.Fatalf("Min(%d) = %d, %v", epoch, got, ok)
		}
		for seq := range uint64(43) {
			if s.Has(epoch, seq) != model[claimKey{epoch, seq}] {
				t.Fatalf("Has(%d, %d) is wrong", epoch, seq)
			}
		}
		ranges -= len(s.epochs[epoch])
	}
	if ranges != 0 {
		t.Fatal("more ranges than gaps")
	}
}

func TestSeqSetOfAMillionInOrderIsOneRange(t *testing.T) {
	var s SeqSet
	for i := range uint64(1_000_000) {
		s.Add(7, i+1)
	}
	if len(s.epochs[7]) != 1 || s.Len() != 1_000_000 {
		t.Errorf("%d ranges, %d claims", len(s.epochs[7]), s.Len())
	}
	for i := range uint64(1_000_000) {
		s.Remove(7, i+1)
	}
	if s.Len() != 0 || len(s.Epochs()) != 0 {
		t.Errorf("left: %d", s.Len())
	}
}

func TestSeqSetAtItsEnds(t *testing.T) {
	var s SeqSet
	const top = ^uint64(0)
	for _, seq := range []uint64{top, 0, top - 1, 1} {
		if !s.Add(1, seq) || !s.Has(1, seq) {
			t.Errorf("Add(%x)", seq)
		}
	}
	if len(s.epochs[1]) != 2 || s.Has(1, 2) || s.Has(1, top-2) {
		t.Errorf("ranges %v", s.epochs[1])
	}
	for _, seq := range []uint64{0, top, 1, top - 1} {
		if !s.Remove(1, seq) || s.Has(1, seq) {
			t.Errorf("Remove(%x)", seq)
		}
	}
}
