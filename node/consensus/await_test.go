package consensus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// Raft puts what it is asked in its lines also when it has shut down, and answers no more:
// whoever waits for that is left behind, and the bubble of this test would not end.
func TestClosedPeerLeavesNobodyWaiting(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		n.stop(leader.cfg.NodeID)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 30 {
			if err := leader.verify(ctx); !errors.Is(err, ErrClosed) {
				t.Errorf("verify after close: %v", err)
			}
		}
	})
}

func TestAsksAreAnsweredBeforeTheyAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsks()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		asked := make(chan struct{})
		err := a.await(ctx, func() raft.Future {
			close(asked)
			pause(context.Background(), 3*time.Second)
			return failed{nil}
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an answer that takes longer than its context: %v", err)
		}
		<-asked
		start := time.Now()
		a.close(time.Minute)
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("closed after %s, not when the last was answered", took)
		}
		if err := a.await(t.Context(), func() raft.Future { return failed{nil} }); !errors.Is(err, raft.ErrRaftShutdown) {
			t.Errorf("asked after close: %v", err)
		}
		a.close(time.Minute) // again
	})
}

func TestAsksAreClosedInTimeAlsoWhenRaftHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAsks()
		hang := make(chan struct{})
		defer close(hang)
		go func() {
			_ = a.await(t.Context(), func() raft.Future { <-hang; return failed{nil} }) // ends with the test
		}()
		synctest.Wait()
		start := time.Now()
		a.close(time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}
