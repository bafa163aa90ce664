package consensus

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// register is one request to a register: a cluster, whose value is its failover_after
// in milliseconds, 0 when there is none. No value is written twice.
type register struct {
	key   fsm.ClusterName
	write int64 // 0: it is read
}

// registers is the model that a history is checked against: a read yields what was
// written last.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		by := make(map[fsm.ClusterName][]porcupine.Operation)
		for _, op := range history {
			key := op.Input.(register).key
			by[key] = append(by[key], op)
		}
		for _, key := range sortedKeys(by) {
			parts = append(parts, by[key])
		}
		return parts
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		if in := input.(register); in.write != 0 {
			return true, in.write
		}
		return output == state, state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %v", input, output) },
}

// history is what clients asked and were told, in the order in which it happened.
// Safe for concurrent use.
type history struct {
	clock  atomic.Int64
	values atomic.Int64 // the last one written

	mu   sync.Mutex
	ops  []porcupine.Operation
	open int // writes of which nobody knows whether they were done
}

func (h *history) add(op porcupine.Operation, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	op.Return = h.clock.Add(1)
	if !known {
		op.Return = math.MaxInt64 // it may be done at any time from its call on
		h.open++
	}
	h.ops = append(h.ops, op)
}

// mustJudge checks the history.
func (h *history) mustJudge(t *testing.T) porcupine.CheckResult {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	reads := 0
	for _, op := range h.ops {
		if op.Input.(register).write == 0 {
			reads++
		}
	}
	t.Logf("%d reads, %d writes, of which %d ended in the dark", reads, len(h.ops)-reads, h.open)
	if reads < 100 || len(h.ops)-reads < 100 {
		t.Error("too little was done to prove anything")
	}
	result := porcupine.CheckOperationsTimeout(registers, h.ops, either(time.Minute, 10*time.Minute))
	if result == porcupine.Unknown {
		t.Fatal("the check took too long")
	}
	return result
}

// reader gets a view by way of a node.
type reader func(s *sim, ctx context.Context, at string) (fsm.View, error)

// reads has a client read registers by way of random nodes, until ctx ends.
func (s *sim) reads(ctx context.Context, h *history, id int, rng *rand.Rand, read reader) {
	for pause(ctx, time.Duration(rng.IntN(20))*time.Millisecond) {
		key := numbered("register", rng.IntN(3))
		op := porcupine.Operation{ClientId: id, Input: register{key: key}, Call: h.clock.Add(1)}
		if view, err := read(s, ctx, ids5()[rng.IntN(5)]); err == nil {
			op.Output = view.Table.Clusters[key].FailoverAfter.Milliseconds()
			h.add(op, true)
		}
	}
}

// writes has a client write registers. What is not answered is repeated, as it is, at
// another node.
func (s *sim) writes(ctx context.Context, h *history, id int, rng *rand.Rand) {
	for pause(ctx, time.Duration(rng.IntN(50))*time.Millisecond) {
		key, value := numbered("register", rng.IntN(3)), h.values.Add(1)
		op := porcupine.Operation{ClientId: id, Input: register{key: key, write: value}, Call: h.clock.Add(1)}
		known := false
		for try := 0; try < 100 && !known && ctx.Err() == nil; try++ {
			_, err := s.write(ctx, ids5()[rng.IntN(5)], fmt.Sprint("write-", value), fsm.ClusterPut{Name: key, FailoverAfterMS: value})
			known = err == nil
			pause(ctx, simPause)
		}
		h.add(op, known)
	}
}

// mustRecord has clients at work for that long while the network suffers, and returns
// what they saw.
func mustRecord(t *testing.T, long time.Duration, read reader) *history {
	t.Helper()
	h := &history{}
	rng := mustSeed(t)
	inSim(t, Timing{}, func(t *testing.T, s *sim) {
		s.apart = 5 * time.Millisecond // so that much is under way at any time
		s.mustBegin(ids5()...)
		ctx, cancel := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for id := range 6 {
			dice, more := rand.New(rand.NewPCG(rng.Uint64(), 2)), rand.New(rand.NewPCG(rng.Uint64(), 3))
			clients.Go(func() { s.reads(ctx, h, 2*id, dice, read) })
			clients.Go(func() { s.writes(ctx, h, 2*id+1, more) })
		}
		for begin := time.Now(); time.Since(begin) < long; {
			var fault string
			if rng.IntN(3) > 0 {
				fault = s.mustHurt(rng)
			} else {
				s.mustMend()
				fault = s.strand()
			}
			t.Logf("%s: %s", time.Since(begin), fault)
			pause(ctx, time.Duration(rng.IntN(3000))*time.Millisecond)
			if rng.IntN(2) == 0 {
				s.mustMend()
				pause(ctx, time.Duration(rng.IntN(2000))*time.Millisecond)
			}
		}
		s.mustMend()
		pause(ctx, 3*time.Second)
		cancel()
		clients.Wait()
		s.mustSettle(3 * time.Second)
	})
	return h
}

func TestSimReadsAndWritesAreLinearizable(t *testing.T) {
	t.Parallel()
	for range either(1, 20) {
		h := mustRecord(t, either(time.Minute, 5*time.Minute), func(s *sim, ctx context.Context, at string) (fsm.View, error) {
			return s.read(ctx, at)
		})
		if got := h.mustJudge(t); got != porcupine.Ok {
			t.Error("the history is not linearizable")
		}
	}
}

// The check finds what it is to find: the same clients that read what their node has,
// whether a leader confirms it or not, see what is over.
func TestSimReadsOfAnyNodeAreNotLinearizable(t *testing.T) {
	t.Parallel()
	h := mustRecord(t, 30*time.Second, func(s *sim, _ context.Context, at string) (fsm.View, error) {
		p := s.peer(at)
		if p == nil {
			return fsm.View{}, errDown
		}
		return p.FSM().View(), nil
	})
	if got := h.mustJudge(t); got != porcupine.Illegal {
		t.Error("reads without a leader are taken for linearizable")
	}
}

// A history of one stale read among others is found out, and so is one of a write
// that was done twice; a write in the dark may have been done or not.
func TestSimCheckFindsWhatIsNotLinearizable(t *testing.T) {
	put := func(v, from, to int64) porcupine.Operation {
		return porcupine.Operation{Input: register{"r", v}, Call: from, Return: to}
	}
	get := func(v, from, to int64) porcupine.Operation {
		return porcupine.Operation{Input: register{key: "r"}, Output: v, Call: from, Return: to}
	}
	dark := int64(math.MaxInt64)
	for _, c := range []struct {
		name string
		ops  []porcupine.Operation
		want bool
	}{
		{"one after the other", []porcupine.Operation{get(0, 1, 2), put(1, 3, 4), get(1, 5, 6), put(2, 7, 8), get(2, 9, 10)}, true},
		{"a read at the same time", []porcupine.Operation{put(1, 1, 4), get(0, 2, 3), get(1, 5, 6)}, true},
		{"a stale read", []porcupine.Operation{put(1, 1, 2), put(2, 3, 4), get(1, 5, 6)}, false},
		{"a read back in time", []porcupine.Operation{put(1, 1, 10), get(1, 2, 3), get(0, 4, 5)}, false},
		{"a write done twice", []porcupine.Operation{put(1, 1, 2), put(2, 3, 4), get(2, 5, 6), get(1, 7, 8)}, false},
		{"a write lost", []porcupine.Operation{put(1, 1, 2), get(0, 3, 4)}, false},
		{"a write in the dark, done", []porcupine.Operation{put(1, 1, dark), get(0, 2, 3), get(1, 4, 5)}, true},
		{"a write in the dark, not done", []porcupine.Operation{put(1, 1, dark), get(0, 2, 3), get(0, 4, 5)}, true},
		{"a write in the dark, undone", []porcupine.Operation{put(1, 1, dark), get(1, 2, 3), get(0, 4, 5)}, false},
	} {
		if got := porcupine.CheckOperations(registers, slices.Clone(c.ops)); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
