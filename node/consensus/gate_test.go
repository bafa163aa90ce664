package consensus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeldPeerIsSentNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gate
		closing := make(chan struct{})
		passed := make(chan string, 10)
		send := func(id string) { g.pass(id, closing); passed <- id }
		send("n2")
		<-passed
		go func() { pause(t.Context(), 50*time.Millisecond); send("n2") }()
		start := time.Now()
		release := g.hold(t.Context(), "n2", time.Second)
		if took := time.Since(start); took != 50*time.Millisecond {
			t.Errorf("it returned after %s, and the request came after 50ms", took)
		}
		send("n3")
		if got := <-passed; got != "n3" {
			t.Errorf("%s passed", got)
		}
		pause(t.Context(), time.Minute)
		if len(passed) > 0 {
			t.Error("the held one passed")
		}
		release()
		if got := <-passed; got != "n2" {
			t.Errorf("%s passed", got)
		}
		release = g.hold(t.Context(), "n2", time.Second) // nothing is to be sent
		go send("n2")
		synctest.Wait()
		close(closing)
		<-passed
		release()
		release()
	})
}

func TestChangeThatIsGivenUpHoldsNothingBack(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		follower := other(n, leader)
		moving := Server{ID: follower.cfg.NodeID, Address: "nowhere.invalid:1", Voter: true}
		isolate(n.net, follower.cfg.NodeID) // so that no request comes that is to be held back
		pause(t.Context(), 2*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := leader.addVoter(ctx, moving, 0); err == nil {
			t.Error("the change was not given up")
		}
		n.net.Heal()
		mustPropose(t, leader, "after")
		n.mustHave(follower, "after")
	})
}
