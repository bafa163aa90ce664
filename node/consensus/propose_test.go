package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// inBubble runs a test with three formed nodes in memory. Their leader changes
// nothing by itself.
func inBubble(t *testing.T, test func(*testing.T, *nodes)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		onFaulty(n) // which is in memory
		stores := n.change
		n.change = func(c *Config) {
			stores(c)
			c.lead = func(ctx context.Context, _ *Peer) { <-ctx.Done() }
		}
		n.mustForm("n1", "n2", "n3")
		test(t, n)
		for id := range n.by {
			n.stop(id)
		}
	})
}

func TestOnlyTheLeaderTakesCommandsAndNamesItself(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		n.eventually("known leader", func() (bool, string) { return p.Status().LeaderID != "", "" })
		for what, err := range map[string]error{
			"propose":  propose(t.Context(), p, "c1"),
			"confirm":  p.Confirm(t.Context()),
			"transfer": p.Transfer(t.Context(), ""),
			"remove":   p.Remove(t.Context(), "n1"),
			"load":     p.Load(t.Context(), nil, false),
			"health":   func() error { _, err := p.Health(); return err }(),
		} {
			var not *NotLeaderError
			if !errors.As(err, &not) || not.ID != leader.cfg.NodeID || not.Address != leader.Addr() {
				t.Errorf("%s on a follower: %v (%+v)", what, err, not)
			}
		}
	})
}

func TestErrorOfTheStateMachineComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		_, err := leader.Propose(t.Context(), fsm.Command{Body: fsm.ClusterDelete{Name: "none"}})
		if !errors.Is(err, fsm.ErrNotFound) {
			t.Errorf("deleting no cluster: %v", err)
		}
	})
}

func TestWithoutAQuorumAWriteIsUnavailableInTime(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		isolate(n.net, leader.cfg.NodeID)
		for range 20 {
			start := time.Now()
			err := propose(t.Context(), leader, "c1")
			var not *NotLeaderError
			if !errors.Is(err, ErrUnavailable) && !errors.As(err, &not) {
				t.Errorf("propose without a quorum: %v", err)
			}
			if took := time.Since(start); took > 750*time.Millisecond {
				t.Errorf("it took %s", took)
			}
			pause(t.Context(), 20*time.Millisecond)
		}
		if err := leader.Confirm(t.Context()); err == nil {
			t.Error("a leader without a quorum confirms reads")
		}
		if r := leader.Status().Reason; r == "" {
			t.Error("no reason is given")
		}
		n.net.Heal()
	})
}

func TestCutOffLeaderNeverConfirms(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		for i := range 20 {
			leader := n.mustLead()
			if err := leader.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			isolate(n.net, leader.cfg.NodeID)
			pause(t.Context(), time.Millisecond) // vouched for at this very moment is no lie
			if err := leader.Confirm(t.Context()); err == nil {
				t.Error("confirmed without a quorum")
			}
			p := other(n, leader)
			n.eventually("write", func() (bool, string) {
				return propose(t.Context(), p, fmt.Sprint("c", i)) == nil || propose(t.Context(), otherOf(n, leader, p), fmt.Sprint("c", i)) == nil, ""
			})
			n.net.Heal()
		}
	})
}

func TestAnswerToAQuestionFromBeforeConfirmsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		id := leader.cfg.NodeID
		for o := range n.by {
			n.net.Delay(o, id, 200*time.Millisecond)
		}
		pause(t.Context(), time.Second)
		if err := leader.Confirm(t.Context()); err != nil {
			t.Fatalf("answers take long, and it does not confirm: %v", err)
		}
		for o := range n.by {
			n.net.Cut(id, o) // nothing is asked of the others from now on
		}
		pause(t.Context(), time.Millisecond) // so that "before" is before
		if err := leader.Confirm(t.Context()); err == nil {
			t.Error("confirmed by answers to what was asked before")
		}
		n.net.Heal()
	})
}

func TestNewLeaderConfirmsNothingBeforeItKnowsWhatIsCommitted(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		for from := range n.by {
			for to := range n.by {
				n.net.Delay(from, to, 40*time.Millisecond)
			}
		}
		for i := range 10 {
			leader := n.mustLead()
			pause(t.Context(), time.Second)
			name := fmt.Sprint("c", i)
			mustPropose(t, leader, name)
			isolate(n.net, leader.cfg.NodeID) // before the others learn that it is committed
			var next *Peer
			for next == nil {
				pause(t.Context(), time.Millisecond)
				for _, p := range n.by {
					if p != leader && p.Status().Role == RoleLeader {
						next = p
					}
				}
			}
			if err := next.Confirm(t.Context()); err != nil {
				t.Errorf("the new leader: %v", err)
			} else if !has(next, name) {
				t.Error("confirmed, and a write from before is missing")
			}
			n.net.Heal()
		}
	})
}

func otherOf(n *nodes, not ...*Peer) *Peer {
	for _, p := range n.by {
		if p != not[0] && p != not[1] {
			return p
		}
	}
	return nil
}

func TestConfirmedViewHasEveryWriteBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		for i := range 50 {
			name := fmt.Sprint("c", i)
			mustPropose(t, leader, name)
			if err := leader.Confirm(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !has(leader, name) {
				t.Fatalf("confirmed, and %s is missing", name)
			}
		}
	})
}

func TestRetryOfTheSameRequestIsAnsweredNotRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		c := fsm.Command{ReqID: "once", Body: fsm.ClusterPut{Name: "c1"}}
		leader := n.mustLead()
		first, err := leader.Propose(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		isolate(n.net, leader.cfg.NodeID)
		n.eventually("the same answer from the next leader", func() (bool, string) {
			for _, p := range n.by {
				again, err := p.Propose(t.Context(), c)
				if p != leader && err == nil {
					if again != first {
						t.Errorf("%+v, and before %+v", again, first)
					}
					return true, ""
				}
			}
			return false, ""
		})
		n.net.Heal()
	})
}

func TestTimesOfCommandsGrowAlsoWhenTheClockDoesNot(t *testing.T) {
	m := newMachine(fsm.New(), func(error) {})
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	last := m.stamp(noon)
	for _, now := range []time.Time{noon, noon.Add(-time.Hour), noon.Add(time.Microsecond)} {
		next := m.stamp(now)
		if !next.After(last) {
			t.Errorf("%s after %s", next, last)
		}
		last = next
	}
	m.advance(9, noon.Add(time.Hour)) // what a leader with a fast clock left
	if next := m.stamp(noon); !next.After(noon.Add(time.Hour)) {
		t.Errorf("%s is before what was applied", next)
	}
}

func TestTimesInTheLogGrowWithTheIndex(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() { mustPropose(t, leader, fmt.Sprint("c", i)) })
		}
		wg.Wait()
		var last time.Time
		for i := uint64(1); i <= leader.Status().LastIndex; i++ {
			var l raft.Log
			if err := leader.engine.logs.GetLog(i, &l); err != nil {
				t.Fatal(err)
			}
			if l.Type != raft.LogCommand {
				continue
			}
			c, err := fsm.Decode(l.Data)
			if err != nil || !c.Time.After(last) {
				t.Fatalf("entry %d has %s after %s, %v", i, c.Time, last, err)
			}
			last = c.Time
		}
	})
}

func TestUnknownCommandStopsTheNode(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		_ = await(t.Context(), func() raft.Future { return leader.engine.raft.Apply([]byte("from the future"), time.Second) })
		for id, p := range n.by {
			select {
			case err := <-p.Failed():
				if !errors.Is(err, fsm.ErrUnknownCommand) {
					t.Errorf("%s: %v", id, err)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("%s goes on", id)
			}
		}
	})
}

// stuck is a future that is never answered.
type stuck struct{ asked chan struct{} }

func (s stuck) Error() error { <-s.asked; return nil }

func TestAwaitDoesNotOutlastItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		end := make(chan struct{})
		for name, ask := range map[string]func() raft.Future{
			"a future that is never answered": func() raft.Future { return stuck{end} },
			"a question that is never taken":  func() raft.Future { <-end; return failed{} },
		} {
			if err := await(ctx, ask); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := await(t.Context(), func() raft.Future { return failed{raft.ErrNotLeader} }); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("the future's own error: %v", err)
		}
		close(end)
	})
}

func TestClosedPeerSaysSo(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		n.stop(leader.cfg.NodeID)
		for what, err := range map[string]error{
			"propose":  propose(t.Context(), leader, "c1"),
			"confirm":  leader.Confirm(t.Context()),
			"transfer": leader.Transfer(t.Context(), ""),
			"remove":   leader.Remove(t.Context(), "n1"),
			"save":     leader.Save(t.Context(), nil),
			"load":     leader.Load(t.Context(), nil, false),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := leader.Close(t.Context()); err != nil {
			t.Errorf("close again: %v", err)
		}
	})
}

func TestCloseDoesNotWaitForPeersThatDoNotAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		isolate(n.net, p.cfg.NodeID)
		for i := range 10 {
			mustPropose(t, leader, fmt.Sprint("c", i))
			pause(t.Context(), time.Second)
		}
		start := time.Now()
		n.stop(leader.cfg.NodeID)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %s", took)
		}
		n.net.Heal()
	})
}

func TestCloseWithoutTimeStopsRaftBeforeItsStore(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		delete(n.by, leader.cfg.NodeID)
		ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		if err := leader.Close(ctx); err != nil {
			t.Error(err)
		}
		if s := leader.engine.raft.State(); s != raft.Shutdown {
			t.Errorf("raft is %s", s)
		}
		select {
		case err := <-leader.Failed():
			t.Errorf("it failed with %v", err)
		default:
		}
	})
}
