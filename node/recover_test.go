package node

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// sighted is a view of gossip. It is empty until see is called.
type sighted struct {
	mu      sync.Mutex
	members []consensus.Member
	changed chan struct{}
}

func (s *sighted) Members() []consensus.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.members
}

func (s *sighted) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// see has gossip see these nodes from now on.
func (s *sighted) see(members ...consensus.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = members
	close(s.changed)
	s.changed = make(chan struct{})
}

// mustLeaveBehind makes the data directory of a node n1 that has stopped. Its
// network had another server n2, whose admin API is at that address.
func mustLeaveBehind(t *testing.T, http string) (dataDir string) {
	t.Helper()
	dataDir = t.TempDir()
	if err := writeDurably(filepath.Join(dataDir, identityFile), identity{NodeID: "id-1", Name: "n1", NetworkID: "net-1"}); err != nil {
		t.Fatal(err)
	}
	peer := mustPeer(t, dataDir, consensus.Member{ID: "id-2", Name: "n2", Alive: true, HTTP: http, Raft: "127.0.0.1:1"})
	eventually(t, "the other server in the configuration and the catalogue", func() (bool, string) {
		view := peer.FSM().View()
		return len(peer.Servers()) == 2 && len(view.Nodes) == 2, view.NetworkID + " " + peer.Status().Reason
	})
	mustCloseP(t, peer)
	return dataDir
}

// mustPeer starts n1 in its directory. Gossip sees it and the others.
func mustPeer(t *testing.T, dataDir string, others ...consensus.Member) *consensus.Peer {
	t.Helper()
	seen := &sighted{changed: make(chan struct{})}
	peer, err := consensus.Open(t.Context(), consensus.Config{
		NodeID: "id-1", Name: "n1", Dir: filepath.Join(dataDir, "raft"), Listen: "127.0.0.1:0", Expect: 1,
		Members: seen, NewID: newNodeID, HTTP: func() string { return "127.0.0.1:2" },
	})
	if err != nil {
		t.Fatal(err)
	}
	seen.see(append(others, consensus.Member{
		ID: "id-1", Name: "n1", Expect: 1, Alive: true, Raft: peer.Addr(), HTTP: "127.0.0.1:2",
	})...)
	return peer
}

func mustCloseP(t *testing.T, peer *consensus.Peer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := peer.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// answering is the host:port of a node of this id.
func answering(t *testing.T, id string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"node_id":"` + id + `"}`))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestRecoverLooksFirstAndThenMakesTheOnlyVoter(t *testing.T) {
	dir := mustLeaveBehind(t, "127.0.0.1:1")
	look, err := Recover(t.Context(), RecoverConfig{DataDir: dir, DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if look.Name != "n1" || look.LastIndex == 0 || look.LastTerm == 0 || look.Done || look.NetworkID == "" ||
		len(look.Servers) != 1 || look.Servers[0].Name != "n2" || look.Servers[0].Answers {
		t.Errorf("seen: %+v", look)
	}
	if again, err := Recover(t.Context(), RecoverConfig{DataDir: dir, DryRun: true}); err != nil || len(again.Servers) != 1 {
		t.Errorf("looking has changed it: %+v, %v", again, err)
	}
	done, err := Recover(t.Context(), RecoverConfig{DataDir: dir})
	if err != nil || !done.Done {
		t.Fatalf("%+v, %v", done, err)
	}
	peer := mustPeer(t, dir)
	defer mustCloseP(t, peer)
	eventually(t, "a leader", func() (bool, string) {
		_, err := peer.Propose(t.Context(), fsm.Command{Body: fsm.ClusterPut{Name: "c1"}})
		return err == nil, peer.Status().Reason
	})
	if s := peer.Servers(); len(s) != 1 || s[0].ID != "id-1" || !s[0].Voter {
		t.Errorf("servers: %+v", s)
	}
	if got := peer.Status().NetworkID; got != look.NetworkID {
		t.Errorf("network %q, was %q", got, look.NetworkID)
	}
}

func TestRecoverRefusesWhileOthersAnswer(t *testing.T) {
	dir := mustLeaveBehind(t, answering(t, "id-2"))
	for _, dry := range []bool{true, false} {
		r, err := Recover(t.Context(), RecoverConfig{DataDir: dir, DryRun: dry})
		if !errors.Is(err, ErrOthersAnswer) || !strings.Contains(err.Error(), "n2 at 127.0.0.1") || r.LastIndex == 0 || r.Done {
			t.Errorf("dry run %t: %+v, %v", dry, r, err)
		}
	}
	if r, err := Recover(t.Context(), RecoverConfig{DataDir: dir, Force: true}); err != nil || !r.Done {
		t.Errorf("forced: %+v, %v", r, err)
	}
}

// At the address of a server that was wiped another node answers.
func TestRecoverKnowsAnotherNodeAtTheSameAddress(t *testing.T) {
	dir := mustLeaveBehind(t, answering(t, "id-3"))
	if r, err := Recover(t.Context(), RecoverConfig{DataDir: dir}); err != nil || !r.Done {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRecoverRefusesWhatIsNoStoppedMember(t *testing.T) {
	running := mustLeaveBehind(t, "127.0.0.1:1")
	lock, err := lockDataDir(filepath.Join(running, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Close() }()
	stranger := mustLeaveBehind(t, "127.0.0.1:1")
	if err := writeDurably(filepath.Join(stranger, identityFile), identity{NodeID: "id-9", Name: "n9"}); err != nil {
		t.Fatal(err)
	}
	alone := t.TempDir()
	if err := writeDurably(filepath.Join(alone, identityFile), identity{NodeID: "id-1", Name: "n1"}); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		running: "node n1 runs in", stranger: "node n9 is no server of its network",
		alone: "no raft state", filepath.Join(alone, "missing"): "is no node's data directory",
	} {
		r, err := Recover(t.Context(), RecoverConfig{DataDir: dir})
		if err == nil || !strings.Contains(err.Error(), want) || r.Done {
			t.Errorf("%+v, %v; want %q", r, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(alone, "missing")); err == nil {
		t.Error("the missing directory was made")
	}
}
