package consensus

import (
	"context"
	"errors"
	"testing"
	"time"
)

// An heir that is cut off is not handed anything, however often that is asked for. The
// leader that lost its leadership meanwhile takes commands when it leads again: raft
// would refuse them for ever (hashicorp/raft#696).
func TestTransferToOneThatDoesNotFollowWedgesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		heir := other(n, leader)
		isolate(n.net, heir.cfg.NodeID)
		pause(t.Context(), time.Second)
		mustPropose(t, leader, "missed-by-the-heir")
		for range 3 {
			if err := leader.Transfer(t.Context(), heir.cfg.NodeID); !errors.Is(err, ErrUnavailable) {
				t.Errorf("transfer to one that does not answer: %v", err)
			}
		}
		mustPropose(t, leader, "led-on")

		isolate(n.net, leader.cfg.NodeID)
		pause(t.Context(), time.Second)
		n.net.Heal()
		next := n.mustLead()
		if next != leader {
			n.eventually("leadership handed back", func() (bool, string) {
				err := next.Transfer(context.Background(), leader.cfg.NodeID)
				return n.mustLead() == leader, errText(err)
			})
		}
		mustPropose(t, leader, "leads-again")
	})
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
