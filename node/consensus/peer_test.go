package consensus

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSingleNodeKeepsWhatItCommittedAcrossARestart(t *testing.T) {
	n := newNodes(t, nil)
	p := n.mustForm("n1")
	mustPropose(t, p, "c1")
	n.stop("n1")
	p = n.mustOpen("n1")
	n.mustHave(p, "c1")
	n.mustLead()
	mustPropose(t, p, "c2")
}
