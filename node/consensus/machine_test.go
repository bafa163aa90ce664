package consensus

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

func TestWaitForWhatIsNotAppliedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(fsm.New(), func(error) {})
		done := make(chan error, 1)
		go func() { done <- m.wait(t.Context(), 7) }()
		for index := uint64(5); index < 7; index++ {
			m.advance(index, time.Time{})
			synctest.Wait()
			if len(done) > 0 {
				t.Fatalf("it did not wait beyond %d", index)
			}
		}
		m.advance(7, time.Time{})
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.wait(ctx, 8); err == nil {
			t.Error("it waited for nothing")
		}
	})
}

func TestRestoredMachineDoesNotTrustTheIndexOfTheConfiguration(t *testing.T) {
	from := fsm.New()
	s, err := from.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Persist(&savedSink{ctx: t.Context(), w: &b}); err != nil {
		t.Fatal(err)
	}
	m := newMachine(fsm.New(), func(error) {})
	m.StoreConfiguration(5, raft.Configuration{})
	if got := m.configIndex(); got != 5 {
		t.Errorf("the index is %d", got)
	}
	if err := m.Restore(io.NopCloser(&b)); err != nil {
		t.Fatal(err)
	}
	if got := m.configIndex(); got != 0 {
		t.Errorf("after a restore the index is %d: the snapshot's may be newer", got)
	}
}

func TestEntriesOfRaftsOwnAreNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		mustPropose(t, leader, "c1")
		command := leader.Status().LastIndex
		if err := leader.barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
		last := leader.Status().LastIndex
		if last == command {
			t.Fatal("the barrier is no entry")
		}
		if got := leader.toApply(last); got != command {
			t.Errorf("of %d entries the last for the state machine is %d, not %d", last, got, command)
		}
	})
}

// A snapshot may end with a configuration, of which the restored machine does not know.
func TestReadIsConfirmedAfterARestartFromASnapshot(t *testing.T) {
	n := newNodes(t, nil)
	n.change = func(c *Config) { c.lead = func(ctx context.Context, _ *Peer) { <-ctx.Done() } }
	p := n.mustForm("n1")
	mustPropose(t, p, "c1")
	if err := p.addNonvoter(t.Context(), Server{ID: "n2", Address: "127.0.0.1:1"}, 0); err != nil {
		t.Fatal(err)
	}
	if err := p.engine.raft.Snapshot().Error(); err != nil {
		t.Fatal(err)
	}
	n.stop("n1")
	p = n.mustOpen("n1")
	n.mustLead()
	if !has(p, "c1") {
		t.Error("it has not what was confirmed")
	}
}
