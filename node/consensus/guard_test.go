package consensus

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// faulty is a store in memory, whose writes hang or fail as told. Safe for concurrent use.
type faulty struct {
	*raft.InmemStore
	mu   sync.Mutex
	hold chan struct{} // writes wait until it is closed; nil: they do not
	err  error
}

func newFaulty() *faulty { return &faulty{InmemStore: raft.NewInmemStore()} }

func (f *faulty) Close() error { return nil }

// hang has every write wait until the returned function is called.
func (f *faulty) hang() (resume func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	hold := make(chan struct{})
	f.hold = hold
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.hold == hold {
			close(hold)
			f.hold = nil
		}
	}
}

func (f *faulty) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *faulty) before() error {
	f.mu.Lock()
	hold, err := f.hold, f.err
	f.mu.Unlock()
	if hold != nil {
		<-hold
	}
	return err
}

func (f *faulty) StoreLogs(logs []*raft.Log) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.InmemStore.StoreLogs(logs)
}

func (f *faulty) SetUint64(key []byte, v uint64) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.InmemStore.SetUint64(key, v)
}

func (f *faulty) Set(key, v []byte) error {
	if err := f.before(); err != nil {
		return err
	}
	return f.InmemStore.Set(key, v)
}

// onFaulty gives every node a faulty store, whose probe fails and hangs with it.
func onFaulty(n *nodes) map[string]*faulty {
	stores := make(map[string]*faulty)
	n.change = func(c *Config) {
		s := stores[c.NodeID]
		if s == nil {
			s = newFaulty()
			stores[c.NodeID] = s
		}
		c.disk.open = func(string) (store, error) { return s, nil }
		c.disk.probe = func(*os.File) error { return s.before() }
	}
	return stores
}

func TestLeaderWhoseDiskHangsIsReplacedAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		stores := onFaulty(n)
		n.mustForm("n1", "n2", "n3")
		leader := n.mustLead()
		resume := stores[leader.cfg.NodeID].hang()
		start := time.Now()
		n.eventually("another leader", func() (bool, string) {
			for _, p := range n.by {
				if p != leader && propose(t.Context(), p, "while-it-hangs") == nil {
					return true, ""
				}
			}
			return false, ""
		})
		// At most the wait for a probe, the bound, and an election.
		if took := time.Since(start); took > 5500*time.Millisecond {
			t.Errorf("another one led after %s", took)
		}
		if s := leader.Status(); s.Role == RoleLeader || s.LeaderID != "" || s.Reason == "" {
			t.Errorf("the node whose disk hangs says %+v", s)
		}
		if err := leader.Confirm(t.Context()); err == nil {
			t.Error("the node whose disk hangs confirms reads")
		}
		resume()
		n.mustHave(leader, "while-it-hangs")
		if s := leader.Status(); s.Reason != "" {
			t.Errorf("the node is back and says %q", s.Reason)
		}
		select {
		case err := <-leader.Failed():
			t.Errorf("the node gave up: %v", err)
		default:
		}
		for id := range n.by {
			n.stop(id)
		}
	})
}

func TestSingleLeaderLeadsAgainAfterItsDiskHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		stores := onFaulty(n)
		p := n.mustForm("n1")
		resume := stores["n1"].hang()
		pause(t.Context(), 10*time.Second)
		if s := p.Status(); s.Role == RoleLeader {
			t.Errorf("a hanging disk, and it says %+v", s)
		}
		resume()
		n.mustLead()
		mustPropose(t, p, "c1")
		n.stop("n1")
	})
}

func TestFailedWritePoisonsTheStoreAndStopsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		stores := onFaulty(n)
		n.mustForm("n1", "n2", "n3")
		leader := n.mustLead()
		id := leader.cfg.NodeID
		stores[id].fail(errors.New("input/output error"))
		if err := propose(t.Context(), leader, "lost"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("propose on a disk that fails: %v", err)
		}
		select {
		case err := <-leader.Failed():
			if !errors.Is(err, ErrDisk) {
				t.Errorf("failed with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the node was not told to stop")
		}
		stores[id].fail(nil) // an fsync after one that failed succeeds, and proves nothing
		pause(t.Context(), 10*time.Second)
		if s := leader.Status(); s.Role == RoleLeader || s.Reason == "" {
			t.Errorf("the node with the poisoned store says %+v", s)
		}
		mustPropose(t, n.mustLead(), "after")
		pause(t.Context(), time.Second)
		if has(leader, "after") {
			t.Error("a poisoned store was written to")
		}
		for id := range n.by {
			n.stop(id)
		}
	})
}

func TestFailedTermWriteDoesNotPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		stores := onFaulty(n)
		p := n.mustForm("n1")
		stores["n1"].fail(errors.New("input/output error"))
		_ = propose(t.Context(), p, "lost") // the leader of one steps down and stands again: a new term
		pause(t.Context(), 5*time.Second)
		if err := p.Confirm(t.Context()); err == nil {
			t.Error("a server without a disk confirms reads")
		}
		n.stop("n1")
	})
}

func TestOpenOnAFailedDiskReturnsAnError(t *testing.T) {
	n := newNodes(t, nil)
	stores := onFaulty(n)
	cfg := n.config("n1")
	stores["n1"].fail(errors.New("input/output error"))
	if _, err := Open(t.Context(), cfg); !errors.Is(err, ErrDisk) {
		t.Errorf("open: %v", err)
	}
}

func TestGuardGivesUpOnAWriteThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var withdrawn, failures int
		g := &guard{hang: 3 * time.Second, fatal: time.Minute,
			withdraw: func(bool) { withdrawn++ }, failed: func(error) { failures++ }}
		ctx, end := context.WithCancel(t.Context())
		err := g.do("write", func() error { <-ctx.Done(); return nil })
		if !errors.Is(err, ErrDisk) || failures != 1 || withdrawn == 0 {
			t.Errorf("%v, failed %d times, withdrew %d times", err, failures, withdrawn)
		}
		if err := g.do("write", func() error { t.Error("written"); return nil }); !errors.Is(err, errPoisoned) {
			t.Errorf("the next write: %v", err)
		}
		end()
	})
}

func TestCloseDoesNotWaitForAProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNodes(t, NewMemoryNetwork())
		stores := onFaulty(n)
		p := n.mustForm("n1")
		resume := stores["n1"].hang()
		pause(t.Context(), 1500*time.Millisecond)
		start := time.Now()
		n.stop("n1")
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %s", took)
		}
		resume()
		synctest.Wait()
		select {
		case err := <-p.Failed():
			t.Errorf("it failed with %v", err)
		default:
		}
	})
}

// One write ends, and is about to say so, when another has hung for too long.
func TestGuardStaysWithdrawnForTheWriteThatHangsLast(t *testing.T) {
	var mu sync.Mutex
	gone := false
	speak := make(chan struct{})
	g := &guard{hang: 3 * time.Second, fatal: time.Minute, failed: func(error) {}, withdraw: func(g bool) {
		if !g {
			<-speak
		}
		mu.Lock()
		defer mu.Unlock()
		gone = g
	}}
	g.enter(time.Now())
	var both sync.WaitGroup
	both.Go(g.recover)
	time.Sleep(10 * time.Millisecond)
	both.Go(func() { g.enter(time.Now()) })
	time.Sleep(10 * time.Millisecond)
	close(speak)
	both.Wait()
	if !gone {
		t.Error("it is back while a write hangs")
	}
}

func TestGuardTakesNoTimeForWaitedThatItStoodStill(t *testing.T) {
	g := &guard{hang: 3 * time.Second, fatal: time.Minute}
	for waited := time.Duration(0); waited < g.fatal; {
		part := g.slice(waited)
		if part <= 0 || part > g.hang/2 {
			t.Fatalf("after %s one timer runs for %s", waited, part)
		}
		if before := waited; before < g.hang && before+part > g.hang {
			t.Fatalf("after %s it passes over the bound by %s", waited, before+part-g.hang)
		}
		waited += part
	}
}
