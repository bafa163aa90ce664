package consensus

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// link is two transports in memory, of which n2 answers every request with yes.
type link struct {
	net *MemoryNetwork
	n1  *transport
	to  raft.ServerAddress // of n2
	rpc chan raft.RPC      // what n2 was asked
}

func newLink(t *testing.T) *link {
	t.Helper()
	l := &link{net: NewMemoryNetwork(), rpc: make(chan raft.RPC, 100)}
	open := func(id string) *transport {
		cfg := Config{NodeID: id, Listen: id + ":0", Network: l.net.Host(id), Timing: Timing{}.withDefaults(), Logger: slog.New(slog.DiscardHandler)}
		s, err := openStream(t.Context(), cfg, func() string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		return newTransport(cfg, s, func(string) string { return "" })
	}
	n2 := open("n2")
	l.n1, l.to = open("n1"), n2.LocalAddr()
	n2.SetHeartbeatHandler(func(r raft.RPC) { t.Error("a heartbeat went beside the main loop") })
	done := make(chan struct{})
	go func() {
		for {
			select {
			case r := <-n2.Consumer():
				l.rpc <- r
				r.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(done)
		_ = l.n1.Close()
		_ = n2.Close()
	})
	return l
}

func (l *link) heartbeat() error {
	var resp raft.AppendEntriesResponse
	return l.n1.AppendEntries("n2", l.to, &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{Addr: []byte("n1:1")}, Term: 3}, &resp)
}

func (l *link) entries(from, n uint64) error {
	var resp raft.AppendEntriesResponse
	args := &raft.AppendEntriesRequest{Term: 3, PrevLogEntry: from, PrevLogTerm: 3, Entries: make([]*raft.Log, n)}
	for i := range args.Entries {
		args.Entries[i] = &raft.Log{Index: from + uint64(i) + 1, Term: 3}
	}
	return l.n1.AppendEntries("n2", l.to, args, &resp)
}

func TestHeartbeatsGoThroughTheMainLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		if err := l.heartbeat(); err != nil {
			t.Fatal(err)
		}
		if len(l.rpc) != 1 {
			t.Errorf("the main loop was asked %d times", len(l.rpc))
		}
	})
}

func TestTransportWatchesContactAndAcknowledgements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		if last, acked := l.n1.seen("n2"); !last.IsZero() || acked != 0 {
			t.Errorf("before any answer: %s, %d", last, acked)
		}
		if err := l.entries(10, 3); err != nil {
			t.Fatal(err)
		}
		if last, acked := l.n1.seen("n2"); !last.Equal(time.Now()) || acked != 13 {
			t.Errorf("after three entries after 10: %s, %d", last, acked)
		}
		pause(t.Context(), time.Minute)
		if err := l.heartbeat(); err != nil {
			t.Fatal(err)
		}
		if last, acked := l.n1.seen("n2"); !last.Equal(time.Now()) || acked != 13 {
			t.Errorf("after a heartbeat: %s, %d", last, acked)
		}
	})
}

// down lets n1 find out that n2 does not answer.
func (l *link) down(t *testing.T) {
	l.net.Cut("n1", "n2")
	if err := l.heartbeat(); err == nil {
		t.Fatal("a heartbeat crossed the cut")
	}
}

func TestEntriesWaitForAPeerThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink(t)
		l.down(t)
		sent := make(chan error, 1)
		go func() { sent <- l.entries(1, 1) }()
		pause(t.Context(), time.Hour)
		select {
		case err := <-sent:
			t.Fatalf("they did not wait: %v", err)
		default:
		}
		l.net.Heal()
		if err := l.heartbeat(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		select {
		case err := <-sent:
			if err != nil {
				t.Error(err)
			}
		default:
			t.Error("the peer is back, and they wait")
		}
	})
}

func TestEntriesDoNotWaitInVain(t *testing.T) {
	for name, end := range map[string]func(*transport){
		"the transport closes":    func(l *transport) { _ = l.Close() },
		"raft is about to close":  (*transport).stopWaiting,
		"this node leads no more": func(l *transport) { no := func(uint64, string) bool { return false }; l.leads.Store(&no) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLink(t)
				l.down(t)
				done := make(chan struct{})
				go func() { defer close(done); l.n1.await("n2", 3) }()
				synctest.Wait()
				end(l.n1)
				start := time.Now()
				<-done
				if took := time.Since(start); took > time.Second {
					t.Errorf("they waited for %s", took)
				}
			})
		})
	}
}

func TestPeerIsDialledWhereGossipSeesIt(t *testing.T) {
	g := newGossip()
	a := &addresses{members: g}
	if got := a.of("n2"); got != "" {
		t.Errorf("unknown to gossip: %q", got)
	}
	tr := &transport{resolve: a.of}
	if got := tr.target("n2", "old:1"); got != "n2@old:1" {
		t.Errorf("unknown to gossip, dialled is %q", got)
	}
	for _, at := range []string{"new:1", "newer:1"} {
		g.set(Member{ID: "n2", Raft: at})
		if got := tr.target("n2", "old:1"); string(got) != "n2@"+at {
			t.Errorf("gossip says %s, dialled is %q", at, got)
		}
	}
}

func TestPeerThatDoesNotAnswerIsLoggedOnce(t *testing.T) {
	var out bytes.Buffer
	c := newContacts(slog.New(slog.NewTextHandler(&out, nil)))
	for range 3 {
		c.note("n2", errors.New("refused"))
	}
	c.note("n2", nil)
	c.note("n2", nil)
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("%d messages:\n%s", got, out.String())
	}
}
