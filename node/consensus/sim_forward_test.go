package consensus

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// writeOnce asks until it has an answer of the state machine, always under the same
// request id. It may be called by any goroutine.
func (s *sim) writeOnce(at, reqID string, body fsm.Body) (res fsm.Result, tries int) {
	s.t.Helper()
	var err error
	for begin := time.Now(); time.Since(begin) < 20*time.Second; pause(s.t.Context(), simPause) {
		tries++
		res, err = s.write(s.t.Context(), at, reqID, body)
		if err == nil {
			return res, tries
		}
		if !worthAnother(err) {
			break
		}
	}
	s.t.Errorf("%s after %d tries: %v", reqID, tries, err)
	return res, tries
}

// mustCount is how often a request is in a node's log.
func (s *sim) mustCount(p *Peer, reqID string) (n int) {
	s.t.Helper()
	logs := p.engine.logs
	first, err := logs.FirstIndex()
	if err != nil {
		s.t.Fatal(err)
	}
	for i := first; i <= p.Status().Commit; i++ {
		var l raft.Log
		if err := logs.GetLog(i, &l); err != nil {
			s.t.Fatal(err)
		}
		if c, err := fsm.Decode(l.Data); l.Type == raft.LogCommand && err == nil && c.ReqID == reqID {
			n++
		}
	}
	return n
}

// ends are the ways in which a leader is lost.
var ends = []struct {
	name string
	come func(s *sim, id string)
}{
	{"muted", (*sim).mute},
	{"deafened", (*sim).deafen},
	{"cut off", func(s *sim, id string) { s.split(id) }},
	{"crashed", (*sim).crash},
}

// A write is passed on to a leader that is lost at any moment of it: before it has
// the request, before the others have it, before it knows that they have, before
// its answer is back. The request is repeated until it is answered, and is done
// once: a second deletion would find nothing to delete, or delete what was made
// again since.
func TestSimLeaderLostInAForwardedWrite(t *testing.T) {
	t.Parallel()
	inSim(t, Timing{}, func(t *testing.T, s *sim) {
		s.mustBegin("n1", "n2", "n3")
		begun, repeated, twice := 0, 0, 0
		step := either(500*time.Microsecond, 100*time.Microsecond)
		for after := time.Duration(0); after < 6*time.Millisecond; after += step {
			for _, end := range ends {
				begun++
				name := numbered("round", begun)
				tries, entries := s.mustLoseLeader(name, after, func(id string) { end.come(s, id) })
				if tries > 1 {
					repeated++
				}
				if entries > 1 {
					twice++
				}
			}
		}
		t.Logf("%d writes, of which %d were sent again and %d were in the log more than once", begun, repeated, twice)
		if repeated == 0 || twice == 0 || repeated == begun {
			t.Error("the leader was not lost in the middle")
		}
	})
}

// mustLoseLeader has a cluster deleted by way of a follower, and the leader lost after
// that time. It returns how often the follower was asked, and how often the deletion is
// in the log.
func (s *sim) mustLoseLeader(name fsm.ClusterName, after time.Duration, lose func(id string)) (tries, entries int) {
	s.t.Helper()
	var leader *Peer
	s.until(10*time.Second, "leader", func() bool {
		leader = s.leader()
		return leader != nil && leader.Confirm(s.t.Context()) == nil
	})
	id := leader.cfg.NodeID
	rest := without(s.running(), id)
	s.writeOnce(id, "make-"+string(name), fsm.ClusterPut{Name: name})
	s.mustSettle(time.Second)

	lost := make(chan struct{})
	go func() {
		pause(s.t.Context(), after)
		close(lost)
	}()
	var writing sync.WaitGroup
	var res fsm.Result
	writing.Go(func() {
		res, tries = s.writeOnce(rest[0], "delete-"+string(name), fsm.ClusterDelete{Name: name})
	})
	<-lost
	lose(id)
	writing.Wait()
	if !res.Changed {
		s.t.Errorf("%s: the deletion is answered as one that changed nothing", name)
	}
	s.writeOnce(rest[1], "remake-"+string(name), fsm.ClusterPut{Name: name})
	s.note(name)
	s.mustMend()
	s.mustSettle(3 * time.Second)
	return tries, s.mustCount(s.leader(), "delete-"+string(name))
}

// Whoever leads when a request comes again, and at however many nodes it comes at
// the same time, the answer is the first one.
func TestSimRequestIsAnsweredAlikeByEveryLeader(t *testing.T) {
	t.Parallel()
	inSim(t, Timing{}, func(t *testing.T, s *sim) {
		s.mustBegin("n1", "n2", "n3")
		made := make(map[string]fsm.Result)
		for round := range either(10, 100) {
			reqID := fmt.Sprintf("request-%d", round)
			body := fsm.ClusterPut{Name: "c", FailoverAfterMS: int64(1000 + round)}
			made[reqID] = s.writeEverywhere(reqID, body)
			if !made[reqID].Changed {
				t.Fatalf("%s changed nothing", reqID)
			}
			leader := s.leader()
			if round%2 == 0 {
				s.crash(leader.cfg.NodeID)
			} else if err := leader.Transfer(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			s.until(10*time.Second, "another leader", func() bool { return s.leader() != nil && s.leader() != leader })
			s.mustMend()
			for reqID, want := range made {
				if got := s.writeEverywhere(reqID, body); got != want {
					t.Errorf("%s is answered with %+v, and was with %+v", reqID, got, want)
				}
			}
			view, err := s.read(context.Background(), "n1")
			if err != nil || view.Table.Clusters["c"].FailoverAfter != time.Duration(1000+round)*time.Millisecond {
				t.Errorf("after round %d the value is %s, %v", round, view.Table.Clusters["c"].FailoverAfter, err)
			}
		}
		s.mustSettle(3 * time.Second)
	})
}

// writeEverywhere makes one request at all nodes at the same time.
func (s *sim) writeEverywhere(reqID string, body fsm.Body) fsm.Result {
	s.t.Helper()
	var all sync.WaitGroup
	results := make([]fsm.Result, len(s.by))
	for i, id := range s.running() {
		all.Go(func() { results[i], _ = s.writeOnce(id, reqID, body) })
	}
	all.Wait()
	for _, res := range results {
		if res != results[0] {
			s.t.Errorf("%s is answered with %+v and %+v", reqID, res, results[0])
		}
	}
	return results[0]
}
