package consensus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestWedgeIsARefusalThatLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := raft.ErrLeadershipTransferInProgress
		asked := 0
		w := &wedge{limit: 30 * time.Second, ask: func(context.Context) error { asked++; return answer }}
		for range 60 {
			if err := w.check(t.Context()); err != nil {
				t.Fatalf("nobody was refused: %v", err)
			}
			pause(t.Context(), time.Second)
		}
		if asked > 0 {
			t.Errorf("raft was asked %d times without a reason", asked)
		}
		w.begin()
		pause(t.Context(), 20*time.Second)
		answer = raft.ErrNotLeader // deposed: whoever leads next is another matter
		if err := w.check(t.Context()); err != nil {
			t.Error(err)
		}
		answer = raft.ErrLeadershipTransferInProgress
		w.begin()
		pause(t.Context(), 20*time.Second)
		if err := w.check(t.Context()); err != nil {
			t.Errorf("refused for 20s only: %v", err)
		}
		pause(t.Context(), 11*time.Second)
		if err := w.check(t.Context()); !errors.Is(err, ErrWedged) {
			t.Errorf("refused for 31s: %v", err)
		}
	})
}
