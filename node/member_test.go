package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// memberFile writes the configuration of a member on a loopback address.
func memberFile(t *testing.T, name, gossip, network, more string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o750); err != nil {
		t.Fatal(err)
	}
	host, _, err := splitAddress(gossip)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "relay.yaml")
	mustWrite(t, file, fmt.Sprintf("name: %s\ndata_dir: %s/data\nhttp: %[3]s:0\nraft: %[3]s:0\ngossip: %[4]s\nnetwork: { %[5]s }\n%[6]s",
		name, dir, host, gossip, network, strings.ReplaceAll(more, "DIR", dir)))
	return file
}

// three is a network of three nodes in this process. The second runs collector c1.
type three struct {
	t       *testing.T
	nodes   []*Node
	clients []*httpapi.Client
}

func newThree(t *testing.T) *three {
	t.Helper()
	f := &three{t: t}
	var gossip []string
	for i := range 3 {
		gossip = append(gossip, fmt.Sprintf("127.0.201.%d:%d", i+1, freePort(t)))
	}
	network := fmt.Sprintf("bootstrap_expect: 3, join: [ %s ]", strings.Join(gossip, ", "))
	for i, g := range gossip {
		more := ""
		if i == 1 {
			more = "collectors: [ { cluster: c, id: c1, address: 127.0.201.2, spool: DIR/in } ]\n"
		}
		n := mustOpen(t, mustLoadFile(t, memberFile(t, fmt.Sprint("n", i+1), g, network, more)))
		c, err := httpapi.NewClient(n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		f.nodes, f.clients = append(f.nodes, n), append(f.clients, c)
	}
	for _, n := range f.nodes {
		eventually(t, "ready", func() (bool, string) { st := n.Status(); return st.Ready && st.Leader != "", fmt.Sprintf("%+v", st) })
	}
	return f
}

// leader is the place of the node that leads, by its own word.
func (f *three) leader() int {
	f.t.Helper()
	at := -1
	eventually(f.t, "a leader", func() (bool, string) {
		for i, n := range f.nodes {
			if n.Status().Role == httpapi.RoleLeader {
				at = i
			}
		}
		return at >= 0, ""
	})
	return at
}

// follower is the place of one that does not.
func (f *three) follower() int { return (f.leader() + 1) % 3 }

func TestNetworkOfThree(t *testing.T) {
	t.Parallel()
	f := newThree(t)
	t.Run("takes writes anywhere", f.testWrites)
	t.Run("tells who is there", f.testReports)
	t.Run("drains", f.testDrain)
	t.Run("hands leadership over", f.testTransfer)
	t.Run("goes back to a snapshot", f.testSnapshot)
	t.Run("reloads rules", f.testReload)
	t.Run("lets nodes go", f.testRemoveAndLeave)
}

func (f *three) testWrites(t *testing.T) {
	ctx := t.Context()
	for i, c := range f.clients {
		name := fmt.Sprint("w", i)
		if err := c.SetCluster(ctx, name, httpapi.ClusterSpec{Mode: fsm.ModeOne}); err != nil {
			t.Fatalf("through node %d: %v", i, err)
		}
		for j, other := range f.clients { // at once, at whichever
			table, err := other.ClustersConsistent(ctx)
			if err != nil || table.Clusters[name].Mode != fsm.ModeOne {
				t.Errorf("written through %d, read through %d: %+v %v", i, j, table, err)
			}
		}
		if err := f.clients[(i+1)%3].DeleteCluster(ctx, name); err != nil {
			t.Error(err)
		}
		if err := c.DeleteCluster(ctx, name); !errors.Is(err, httpapi.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		if err := c.DeleteCluster(ctx, "c"); !errors.Is(err, httpapi.ErrConflict) {
			t.Errorf("one that has collectors: %v", err)
		}
	}
	err := f.clients[0].SetCluster(ctx, "x", httpapi.ClusterSpec{Mode: fsm.ModeOne, FailoverAfter: "soon"})
	if !errors.Is(err, httpapi.ErrInvalid) {
		t.Errorf("failover_after soon: %v", err)
	}
}

func (f *three) testReports(t *testing.T) {
	for i, c := range f.clients {
		eventually(t, fmt.Sprint("members and health at node ", i), func() (bool, string) {
			ms, err := c.Members(t.Context())
			h, err2 := c.Health(t.Context())
			voters, leaders := 0, 0
			for _, m := range ms.Members {
				if m.State == string(membership.StateAlive) && m.Role == httpapi.RoleVoter {
					voters++
				}
				if m.Leader && m.Role == httpapi.RoleLeader {
					leaders++
				}
			}
			measured := 0
			for _, n := range h.Nodes {
				if n.Alive && n.Voter && n.Lag != nil {
					measured++
				}
			}
			return voters == 2 && leaders == 1 && measured == 3 && h.Healthy && h.Voters == 3 && h.FailureTolerance == 1 && h.Leader != "" && len(h.Warnings) == 0,
				fmt.Sprintf("%+v %v\n%+v %v", ms, err, h, err2)
		})
	}
}

func (f *three) testDrain(t *testing.T) {
	state := func(want string) {
		t.Helper()
		for _, n := range f.nodes {
			eventually(t, want, func() (bool, string) {
				c, ok := n.Table().Collector("c1")
				return ok && string(c.State) == want && c.Port >= fsm.DefaultPortStart, fmt.Sprintf("%+v", n.Table())
			})
		}
	}
	state("active")
	at := f.follower()
	if err := f.clients[at].Drain(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	state("draining")
	if err := f.clients[at].Undrain(t.Context(), "c1"); err != nil {
		t.Fatal(err)
	}
	state("active")
	if err := f.clients[at].Drain(t.Context(), "c9"); !errors.Is(err, httpapi.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if err := f.clients[at].DrainIn(t.Context(), "another", "c1", true); !errors.Is(err, httpapi.ErrNotFound) {
		t.Errorf("one that is in another cluster: %v", err)
	}
}

func (f *three) testTransfer(t *testing.T) {
	was := f.leader()
	to := (was + 1) % 3
	through := (was + 2) % 3
	if err := f.clients[through].TransferLeadership(t.Context(), fmt.Sprint("n", to+1)); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.nodes {
		eventually(t, "the new leader", func() (bool, string) {
			return n.Status().Leader == fmt.Sprint("n", to+1), fmt.Sprintf("%+v", n.Status())
		})
	}
	if err := f.clients[through].TransferLeadership(t.Context(), "nobody"); !errors.Is(err, httpapi.ErrNotFound) {
		t.Errorf("to a node that is not there: %v", err)
	}
}

func (f *three) testSnapshot(t *testing.T) {
	ctx, at := t.Context(), f.follower()
	if err := f.clients[at].SetCluster(ctx, "kept", httpapi.ClusterSpec{Mode: fsm.ModeOne}); err != nil {
		t.Fatal(err)
	}
	var saved bytes.Buffer
	if err := f.clients[at].SaveSnapshot(ctx, &saved); err != nil {
		t.Fatal(err)
	}
	if err := f.clients[at].SetCluster(ctx, "later", httpapi.ClusterSpec{Mode: fsm.ModeOne}); err != nil {
		t.Fatal(err)
	}
	before := f.nodes[0].Table().Index
	if err := f.clients[at].RestoreSnapshot(ctx, bytes.NewReader(saved.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	for _, n := range f.nodes {
		eventually(t, "the state of the snapshot", func() (bool, string) {
			table := n.Table()
			_, kept := table.Clusters["kept"]
			_, later := table.Clusters["later"]
			return kept && !later && table.Index > before, fmt.Sprintf("%+v", table)
		})
	}
	damaged := bytes.Clone(saved.Bytes())
	damaged[len(damaged)/2] ^= 1
	if err := f.clients[at].RestoreSnapshot(ctx, bytes.NewReader(damaged), false); !errors.Is(err, httpapi.ErrBadSnapshot) {
		t.Errorf("a damaged one: %v", err)
	}
}

func (f *three) testReload(t *testing.T) {
	n := f.nodes[0]
	index := n.Table().Index
	next := n.cfg
	next.Network.MaxVoters++
	if fixed := n.Reload(next); len(fixed) != 1 || fixed[0] != "network" || n.Table().Index != index {
		t.Errorf("needs a restart for %q; the table went from %d to %d", fixed, index, n.Table().Index)
	}
}

func (f *three) testRemoveAndLeave(t *testing.T) {
	ctx := t.Context()
	if err := f.clients[0].RemoveMember(ctx, "n3"); !errors.Is(err, httpapi.ErrConflict) {
		t.Errorf("one that is alive: %v", err)
	}
	if err := f.nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the dead one is removed", func() (bool, string) {
		err := f.clients[0].RemoveMember(ctx, "n3")
		return err == nil, fmt.Sprint(err)
	})
	eventually(t, "it is gone", func() (bool, string) {
		ms, err := f.clients[1].Members(ctx)
		return err == nil && len(ms.Members) == 2, fmt.Sprintf("%+v %v", ms, err)
	})
	id := f.nodes[1].Status().NodeID
	// It leads, and is the only voter by now: the other is one of two, which is none
	// too many. It becomes one when it is known for long enough.
	if err := f.clients[1].Leave(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.nodes[1].Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("it left, and does not end")
	}
	if err := f.nodes[1].Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "its collector is gone", func() (bool, string) {
		_, there := f.nodes[0].Table().Collector("c1")
		return !there, fmt.Sprintf("%+v", f.nodes[0].Table())
	})
	if now, err := readIdentity(filepath.Join(f.nodes[1].cfg.DataDir, identityFile)); err != nil || now.NodeID == id || now.NetworkID != "" {
		t.Errorf("%+v %v", now, err)
	}
	if err := f.clients[0].Leave(ctx); !errors.Is(err, httpapi.ErrQuorumRisk) || !f.nodes[0].Status().Ready {
		t.Errorf("the last one may not leave: %v, %+v", err, f.nodes[0].Status())
	}
	if err := f.clients[0].SetCluster(ctx, "alone", httpapi.ClusterSpec{Mode: fsm.ModeAll}); err != nil {
		t.Errorf("the last one: %v", err)
	}
}

// beside opens a node that sees, by gossip, a leader whose API is a fake.
func beside(t *testing.T, leader *fakeServer) *Node {
	t.Helper()
	port, err := portOf(strings.TrimPrefix(leader.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := membership.Open(t.Context(), membership.Config{
		Meta: membership.Meta{
			NodeID: newNodeID(), NetworkID: "", Name: "leader", Generation: 1, HTTPPort: port, RaftPort: freePort(t),
			HasState: true, Role: membership.Role(httpapi.RoleLeader), Level: commandLevel,
		},
		Listen: "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	n := mustOpen(t, mustLoadFile(t, memberFile(t, "n1", "127.0.0.1:0", "join: [ "+pool.Addr()+" ]", "")))
	eventually(t, "the leader in sight", func() (bool, string) { st := n.Status(); return st.Leader == "leader", fmt.Sprintf("%+v", st) })
	return n
}

// send sends a node one PUT of a cluster, as passed on by another when id is given.
func send(t *testing.T, n *Node, id string) (*http.Response, time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+n.Addr()+"/v1/clusters/x", strings.NewReader(`{"mode":"all"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	if id != "" {
		req.Header.Set("Relay-Forwarded", id)
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp, time.Since(began)
}

// A write is brought to the leader under one id, however often that takes; one
// that another node brought is not passed on.
func TestWriteIsPassedOnUnderOneId(t *testing.T) {
	t.Parallel()
	leader := newFakeServer(t, "", 7)
	ids := make(chan string, 100)
	tries := 0
	leader.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		ids <- r.Header.Get("Relay-Forwarded")
		if tries++; tries < 3 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"type":"about:blank","title":"T","status":503,"code":"no-leader"}`))
			return true
		}
		w.WriteHeader(http.StatusNoContent)
		return true
	}
	n := beside(t, leader)
	if resp, _ := send(t, n, ""); resp.StatusCode/100 != 2 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if a, b, c := <-ids, <-ids, <-ids; a == "" || a != b || b != c {
		t.Errorf("passed on as %q, %q and %q", a, b, c)
	}
	resp, took := send(t, n, "r-1")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || took > 1500*time.Millisecond {
		t.Errorf("a request that meets no leader: %d after %v, Retry-After %q", resp.StatusCode, took, resp.Header.Get("Retry-After"))
	}
	if len(ids) > 0 {
		t.Errorf("it was passed on a second time, as %q", <-ids)
	}
}

func TestWriteWithoutALeaderIsAnsweredSoon(t *testing.T) {
	t.Parallel()
	leader := newFakeServer(t, "", 7)
	leader.answer = silence
	n := beside(t, leader)
	resp, took := send(t, n, "")
	if resp.StatusCode != http.StatusServiceUnavailable || took > 1500*time.Millisecond {
		t.Errorf("a leader that is silent: %d after %v", resp.StatusCode, took)
	}
	alone := mustOpen(t, mustLoadFile(t, memberFile(t, "n1", "127.0.0.1:0", fmt.Sprintf("join: [ 127.0.0.1:%d ]", freePort(t)), "")))
	if resp, took = send(t, alone, ""); resp.StatusCode != http.StatusServiceUnavailable || took > 1500*time.Millisecond {
		t.Errorf("no leader: %d after %v", resp.StatusCode, took)
	}
	h, err := (memberAPI{alone}).Health(t.Context())
	if err != nil || h.Healthy || len(h.Warnings) != 1 || len(h.Nodes) != 1 || h.Leader != "" {
		t.Errorf("health alone: %+v %v", h, err)
	}
}

func TestErrorsOfTheInnerRoomsHaveANameOnTheWire(t *testing.T) {
	for _, c := range []struct{ inner, want error }{
		{fsm.ErrInvalid, httpapi.ErrInvalid}, {fsm.ErrNotFound, httpapi.ErrNotFound}, {fsm.ErrTaken, httpapi.ErrConflict},
		{fsm.ErrInUse, httpapi.ErrConflict}, {fsm.ErrNoPort, httpapi.ErrNoPort}, {fsm.ErrBadSnapshot, httpapi.ErrBadSnapshot},
		{consensus.ErrQuorum, httpapi.ErrQuorumRisk}, {consensus.ErrUnknownServer, httpapi.ErrNotFound},
		{consensus.ErrWrongNetwork, httpapi.ErrWrongNetwork}, {consensus.ErrUnavailable, httpapi.ErrNoQuorum},
		{consensus.ErrClosed, httpapi.ErrUnavailable}, {&consensus.NotLeaderError{ID: "n"}, httpapi.ErrNoLeader},
		{consensus.ErrTooLarge, httpapi.ErrBadSnapshot}, {consensus.ErrNoState, httpapi.ErrNotInNetwork},
	} {
		got := apiError(fmt.Errorf("deep: %w", c.inner))
		if !errors.Is(got, c.want) || !strings.Contains(got.Error(), c.inner.Error()) {
			t.Errorf("%v is told as %v, want %v", c.inner, got, c.want)
		}
	}
	if got := apiError(errors.New("x")); got.Error() != "x" || apiError(nil) != nil {
		t.Errorf("what has no name is changed: %v", got)
	}
}
