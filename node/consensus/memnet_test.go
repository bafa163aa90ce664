package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// memoryLink is a connection from host a to host b.
func memoryLink(t *testing.T, n *MemoryNetwork) (a, b net.Conn) {
	t.Helper()
	l, err := n.Host("b").Listen(t.Context(), "b:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	if a, err = n.Host("a").Dial(t.Context(), l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	b = <-accepted
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
		_ = l.Close()
	})
	return a, b
}

// carries writes on one end and reports whether it is read on the other within a second.
func carries(t *testing.T, from, to net.Conn, text string) bool {
	t.Helper()
	if _, err := io.WriteString(from, text); err != nil {
		t.Fatal(err)
	}
	return hears(t, to, text)
}

func hears(t *testing.T, c net.Conn, text string) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	_, err := io.ReadFull(c, got)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return err == nil && string(got) == text
}

func TestCutHoldsBackOneWayOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemoryNetwork()
		a, b := memoryLink(t, n)
		n.Cut("a", "b")
		if carries(t, a, b, "held") {
			t.Error("it crossed the cut")
		}
		if !carries(t, b, a, "back") {
			t.Error("the other way is cut too")
		}
		n.Heal()
		if !hears(t, b, "held") {
			t.Error("what was held back is lost")
		}
	})
}

func TestDelayOfAWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemoryNetwork()
		a, b := memoryLink(t, n)
		n.Delay("a", "b", 300*time.Millisecond)
		start := time.Now()
		if !carries(t, a, b, "slow") || time.Since(start) != 300*time.Millisecond {
			t.Errorf("it took %s", time.Since(start))
		}
	})
}

func TestClosedConnectionEndsAfterWhatWasSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memoryLink(t, NewMemoryNetwork())
		if _, err := io.WriteString(a, "last"); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(b); err != nil || string(got) != "last" {
			t.Errorf("read %q, %v", got, err)
		}
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the closed end reads: %v", err)
		}
	})
}

func TestDialAcrossACutWaitsAndWithoutAListenerDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewMemoryNetwork()
		if _, err := n.Host("a").Dial(t.Context(), "b:1"); !errors.Is(err, errRefused) {
			t.Errorf("nobody listens: %v", err)
		}
		n.Cut("b", "a") // the answer is lost
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("a").Dial(ctx, "b:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("across the cut: %v", err)
		}
	})
}

func TestHostListensAtItsOwnFreePortsOnly(t *testing.T) {
	n := NewMemoryNetwork()
	if _, err := n.Host("a").Listen(t.Context(), "b:1"); err == nil {
		t.Error("a listens as b")
	}
	l, err := n.Host("a").Listen(t.Context(), "a:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Host("a").Listen(t.Context(), "a:1"); err == nil {
		t.Error("two listen at one port")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Host("a").Listen(t.Context(), "a:1"); err != nil {
		t.Errorf("the port is free again: %v", err)
	}
}

// A follower that hears nothing of its leader, but is heard by everybody, must
// not depose it, and has everything soon after the way is mended.
func TestFollowerThatIsHeardButHearsNothingDeposesNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, n *nodes) {
		leader := n.mustLead()
		p := other(n, leader)
		term := leader.Status().Term
		n.net.Cut(leader.cfg.NodeID, p.cfg.NodeID)
		for i := range 30 {
			mustPropose(t, leader, fmt.Sprint("c", i))
			pause(t.Context(), time.Second)
		}
		n.net.Heal()
		start := time.Now()
		n.mustHave(p, "c29")
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %s to catch up", took)
		}
		if got := leader.Status(); got.Role != RoleLeader || got.Term != term {
			t.Errorf("the leader is now %+v", got)
		}
	})
}
