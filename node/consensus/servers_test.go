package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

func TestHandedOverLeadershipNeedsNoTimeout(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		if err := leader.Transfer(t.Context(), p.cfg.NodeID); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if got := n.mustLead(); got != p {
			t.Errorf("%s leads, not %s", got.cfg.NodeID, p.cfg.NodeID)
		}
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("it took %s", took)
		}
	})
}

func TestTransferRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		if err := leader.Transfer(t.Context(), "nobody"); !errors.Is(err, ErrUnknownServer) {
			t.Errorf("to nobody: %v", err)
		}
		if err := leader.Transfer(t.Context(), leader.cfg.NodeID); err != nil {
			t.Errorf("to itself: %v", err)
		}
		for id, p := range n.by {
			if p != leader {
				n.gossip.set(Member{ID: id}) // dead, by gossip's account
			}
		}
		if err := leader.Transfer(t.Context(), ""); !errors.Is(err, ErrQuorum) {
			t.Errorf("to the dead: %v", err)
		}
	})
}

func TestClosingLeaderHandsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		delete(n.by, leader.cfg.NodeID)
		pause(t.Context(), time.Second)
		if err := leader.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		n.mustLead()
		if took := time.Since(start); took > 300*time.Millisecond {
			t.Errorf("the next leader took %s", took)
		}
	})
}

func TestLeaderStuckInATransferGivesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		// As in hashicorp/raft#696: commands are refused, and nothing else is wrong.
		_ = leader.explain(t.Context(), raft.ErrLeadershipTransferInProgress)
		pause(t.Context(), 40*time.Second)
		select {
		case err := <-leader.Failed():
			t.Errorf("it takes commands, and gave up: %v", err)
		default:
		}
		leader.wedge.ask = func(context.Context) error { return raft.ErrLeadershipTransferInProgress }
		_ = leader.explain(t.Context(), raft.ErrLeadershipTransferInProgress)
		pause(t.Context(), 29*time.Second)
		select {
		case err := <-leader.Failed():
			t.Errorf("it gave up too soon: %v", err)
		default:
		}
		pause(t.Context(), 3*time.Second)
		select {
		case err := <-leader.Failed():
			if !errors.Is(err, ErrWedged) {
				t.Errorf("failed with %v", err)
			}
		default:
			t.Error("it goes on")
		}
	})
}

func TestHealthTellsWhoAnswers(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		pause(t.Context(), time.Second)
		h, err := leader.Health()
		if err != nil || h.Voters != 3 || h.FailureTolerance != 1 || len(h.Servers) != 3 {
			t.Fatalf("%+v, %v", h, err)
		}
		for _, s := range h.Servers {
			if s.Lag != 0 || s.LastContact < 0 || s.LastContact > 300*time.Millisecond || !s.Alive {
				t.Errorf("%+v", s)
			}
		}
		p := other(n, leader)
		isolate(n.net, p.cfg.NodeID)
		for _, name := range []string{"c1", "c2", "c3"} {
			mustPropose(t, leader, name)
		}
		pause(t.Context(), 2*time.Second)
		h, err = leader.Health()
		if err != nil || h.FailureTolerance != 0 {
			t.Errorf("%+v, %v", h, err)
		}
		for _, s := range h.Servers {
			if s.ID == p.cfg.NodeID && (s.Lag != 3 || s.LastContact < time.Second) {
				t.Errorf("of the one that is cut off: %+v", s)
			}
		}
		n.net.Heal()
	})
}

func TestRemoveKeepsAHealthyMajority(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		third := otherOf(n, leader, p)
		n.stop(p.cfg.NodeID)
		pause(t.Context(), 2*time.Second)
		if err := leader.Remove(t.Context(), third.cfg.NodeID); !errors.Is(err, ErrQuorum) {
			t.Errorf("of three with one dead, the second healthy one was removed: %v", err)
		}
		if err := leader.Remove(t.Context(), p.cfg.NodeID); err != nil {
			t.Errorf("the dead one: %v", err)
		}
		if err := leader.Remove(t.Context(), p.cfg.NodeID); !errors.Is(err, ErrUnknownServer) {
			t.Errorf("the dead one again: %v", err)
		}
		if s := leader.Servers(); len(s) != 2 {
			t.Errorf("left are %+v", s)
		}
		if err := leader.Remove(t.Context(), third.cfg.NodeID); err != nil {
			t.Errorf("of two healthy ones: %v", err)
		}
		if err := leader.Remove(t.Context(), leader.cfg.NodeID); !errors.Is(err, ErrQuorum) {
			t.Errorf("the last one: %v", err)
		}
		if s := third.Status(); s.Role != RoleFollower && s.Role != RoleVoter {
			t.Errorf("the one removed says %+v", s)
		}
	})
}

func TestRemovedLeaderHandsOverFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		pause(t.Context(), time.Second)
		err := leader.Remove(t.Context(), leader.cfg.NodeID)
		var not *NotLeaderError
		if !errors.As(err, &not) {
			t.Fatalf("remove itself: %v", err)
		}
		next := n.mustLead()
		if next == leader {
			t.Fatal("it leads still")
		}
		pause(t.Context(), time.Second)
		if err := next.Remove(t.Context(), leader.cfg.NodeID); err != nil {
			t.Error(err)
		}
	})
}

func TestRemoveTakesANodeOutOfTheCatalogue(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		if _, err := leader.Propose(t.Context(), fsm.Command{Body: fsm.NodePut{Node: fsm.Node{ID: "f1", Name: "f1", HTTP: "f1:1"}}}); err != nil {
			t.Fatal(err)
		}
		if err := leader.Remove(t.Context(), "f1"); err != nil {
			t.Error(err)
		}
		if nodes := leader.FSM().View().Nodes; len(nodes) != 0 {
			t.Errorf("left are %+v", nodes)
		}
	})
}

func TestServersAreAddedPromotedDemotedAndRemoved(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := n.mustOpen("n4")
		s := Server{ID: "n4", Address: p.Addr()}
		voter := s
		voter.Voter = true
		for _, step := range []struct {
			name string
			do   func(context.Context, Server, uint64) error
			want Role
		}{
			{"add", leader.addNonvoter, RoleNonvoter},
			{"promote", leader.addVoter, RoleVoter},
			{"demote", leader.demote, RoleNonvoter},
			{"remove", leader.removeServer, RoleFollower},
		} {
			_, index := leader.configuration()
			if err := step.do(t.Context(), s, index); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if got := roleOf(leader.Servers(), "n4"); got != step.want {
				t.Errorf("after %s it is %s", step.name, got)
			}
			pause(t.Context(), time.Second)
			if got := p.Status().Role; got != step.want && step.want != RoleFollower {
				t.Errorf("after %s it says it is %s", step.name, got)
			}
		}
		if !p.hasState() {
			t.Error("the adopted node has no state")
		}
	})
}

func TestChangeOfAnotherConfigurationIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		_, index := leader.configuration()
		if index == 0 {
			t.Fatal("the index of the configuration is not known")
		}
		if err := leader.addNonvoter(t.Context(), Server{ID: "n4", Address: "n4:1"}, index); err != nil {
			t.Fatal(err)
		}
		if err := leader.addNonvoter(t.Context(), Server{ID: "n5", Address: "n5:1"}, index); err == nil {
			t.Error("a change of an old configuration was made")
		}
	})
}

func TestLeaderLoopRunsWhileLeadingOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeadership()
		var running atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.run(ctx, func(ctx context.Context) {
				running.Add(1)
				<-ctx.Done()
				pause(context.Background(), time.Second) // slow to stop
				running.Add(-1)
			})
		}()
		expect := func(want int32) {
			t.Helper()
			synctest.Wait()
			if got := running.Load(); got != want {
				t.Errorf("%d are running, want %d", got, want)
			}
		}
		expect(0)
		l.elect(true)
		expect(1)
		l.elect(false)
		l.elect(true) // at once: another leadership, after the first has stopped
		expect(1)
		pause(ctx, 2*time.Second)
		expect(1)
		l.withdraw(true)
		pause(ctx, 2*time.Second)
		expect(0)
		l.withdraw(false)
		expect(1)
		cancel()
		<-done
		expect(0)
	})
}

func TestRemovedServerLearnsOfItAlsoWhileARequestIsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		s, _ := leader.server(p.cfg.NodeID)
		n.net.Delay(p.cfg.NodeID, leader.cfg.NodeID, 200*time.Millisecond) // one nearly always is
		pause(t.Context(), time.Second)
		if err := leader.removeServer(t.Context(), s, 0); err != nil {
			t.Fatal(err)
		}
		pause(t.Context(), 100*time.Millisecond)
		if got := roleOf(p.Servers(), s.ID); got != RoleFollower {
			t.Errorf("the removed one takes itself for a %s", got)
		}
	})
}

// With the race detector this shows that raft is not read and written at once.
func TestAddressChangesWhileEntriesFlow(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					mustPropose(t, leader, fmt.Sprintf("c%d-%d", w, i))
					pause(ctx, time.Millisecond)
				}
			})
		}
		for i := range 30 {
			s := Server{ID: p.cfg.NodeID, Address: fmt.Sprintf("elsewhere:%d", i)}
			if err := leader.addVoter(t.Context(), s, 0); err != nil {
				t.Fatal(err)
			}
		}
		cancel()
		wg.Wait()
	})
}
