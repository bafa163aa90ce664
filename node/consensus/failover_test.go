package consensus

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// isolate cuts every way between a node and the others.
func isolate(net *MemoryNetwork, id string) {
	for _, o := range []string{"n1", "n2", "n3"} {
		if o != id {
			net.Cut(o, id)
			net.Cut(id, o)
		}
	}
}

// loseLeader takes the leader from the others and returns how long it takes until
// a write commits.
func loseLeader(t *testing.T, n *nodes, i int) time.Duration {
	leader := n.mustLead()
	pause(t.Context(), time.Second+time.Duration(i)*7*time.Millisecond) // at any phase of the timers
	isolate(n.net, leader.cfg.NodeID)
	start := time.Now()
	n.eventually("write", func() (bool, string) {
		for _, p := range n.by {
			if p != leader && propose(t.Context(), p, fmt.Sprintf("c%d", i)) == nil {
				return true, ""
			}
		}
		return false, ""
	})
	took := time.Since(start)
	n.net.Heal()
	return took
}

func TestLeaderLostNextWriteCommitsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		onFaulty(n) // which is in memory
		n.mustForm("n1", "n2", "n3")
		var took []time.Duration
		for i := range 200 {
			took = append(took, loseLeader(t, n, i))
		}
		slices.Sort(took)
		t.Logf("p50 %s, p90 %s, p99 %s, max %s", took[100], took[180], took[198], took[199])
		if took[198] > 1200*time.Millisecond {
			t.Errorf("p99 of the next write is %s, above 1.2s", took[198])
		}
		last := "c199"
		for _, p := range n.by {
			n.mustHave(p, last)
		}
		for id := range n.by {
			n.stop(id)
		}
	})
}

func TestHealedFollowerCatchesUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		onFaulty(n) // which is in memory
		n.mustForm("n1", "n2", "n3")
		leader := n.mustLead()
		follower := other(n, leader)
		isolate(n.net, follower.cfg.NodeID)
		for i := range 300 { // five minutes: raft's pauses have reached their most
			mustPropose(t, leader, fmt.Sprintf("c%d", i))
			pause(context.Background(), time.Second)
		}
		n.net.Heal()
		start := time.Now()
		n.mustHave(follower, "c299")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the follower caught up after %s, more than 2s", took)
		} else {
			t.Logf("caught up after %s", took)
		}
		if n.mustLead() != leader {
			t.Error("the follower that was away has deposed the leader")
		}
		for id := range n.by {
			n.stop(id)
		}
	})
}
