package consensus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

func TestThreeNodesOverTCPSurviveTheLossOfTheirLeader(t *testing.T) {
	t.Parallel() // it waits, for the most part
	n := newNodes(t, nil)
	n.mustForm("n1", "n2", "n3")
	const losses = 20
	var took []time.Duration
	for i := range losses {
		leader := n.mustLead()
		id, name := leader.cfg.NodeID, fmt.Sprintf("c%d", i)
		pause(t.Context(), time.Duration(50+i*17)*time.Millisecond) // at any phase of the timers
		start := time.Now()
		n.kill(id)
		n.eventually("write", func() (bool, string) {
			for _, p := range n.by {
				if propose(t.Context(), p, name) == nil {
					return true, ""
				}
			}
			return false, ""
		})
		took = append(took, time.Since(start))
		n.mustHave(n.mustOpen(id), name)
	}
	slices.Sort(took)
	t.Logf("next write committed after: p50 %s, p90 %s, max %s", took[losses/2], took[losses*9/10], took[losses-1])
	for _, p := range n.by {
		n.mustHave(p, fmt.Sprintf("c%d", losses-1))
	}
	n.mustAgree()
}

// mustAgree waits until all nodes have the same state.
func (n *nodes) mustAgree() {
	n.t.Helper()
	n.eventually("agreement", func() (bool, string) {
		state, hashes := "", make(map[string]bool)
		for id, p := range n.by {
			index, sum := p.FSM().Hash()
			hashes[fmt.Sprint(index, sum)] = true
			state += fmt.Sprintf(" %s at %d: %x", id, index, sum[:4])
		}
		return len(hashes) == 1, state
	})
}

// kill closes a node's connections at once, as its death would, and then the node.
func (n *nodes) kill(id string) {
	n.by[id].engine.stream.sever(true)
	n.stop(id)
}

func TestAllNodesRestartedAtNewAddressesFindEachOther(t *testing.T) {
	n := newNodes(t, nil)
	mustPropose(t, n.mustForm("n1", "n2", "n3"), "c1")
	before := n.by["n1"].Servers()
	ids := []string{"n1", "n2", "n3"}
	for _, id := range ids {
		n.mustHave(n.by[id], "c1")
	}
	for _, id := range ids {
		n.stop(id)
	}
	for _, id := range ids {
		n.mustOpen(id) // port 0: another one
	}
	leader := n.mustLead()
	mustPropose(t, leader, "c2")
	for _, s := range before {
		if n.by[s.ID].Addr() == s.Address {
			t.Fatalf("%s has its address from before: the test shows nothing", s.ID)
		}
	}
	n.eventually("configuration with the new addresses", func() (bool, string) {
		servers := leader.Servers()
		right := 0
		for _, s := range servers {
			if s.Voter && s.Address == n.by[s.ID].Addr() {
				right++
			}
		}
		return right == len(before), fmt.Sprint(servers)
	})
	if n.mustLead() != leader {
		t.Error("putting the addresses right cost the leadership")
	}
}

func TestRunningNodeLocksItsStore(t *testing.T) {
	n := newNodes(t, nil)
	n.mustForm("n1")
	dir := filepath.Join(n.dir, "n1")
	if _, err := Open(t.Context(), n.config("n1")); !errors.Is(err, ErrRunning) {
		t.Errorf("open again: %v", err)
	}
	if _, err := Inspect(dir); !errors.Is(err, ErrRunning) {
		t.Errorf("inspect: %v", err)
	}
	if _, err := Recover(t.Context(), RecoverConfig{Dir: dir, NodeID: "n1", Address: "127.0.0.1:1"}); !errors.Is(err, ErrRunning) {
		t.Errorf("recover: %v", err)
	}
}

func TestFailedOpenLeavesNothingOpen(t *testing.T) {
	n := newNodes(t, nil)
	cfg := n.config("n1")
	cfg.Listen = "192.0.2.1:1" // not an address of this host
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Fatal("it listens at an address that is not there")
	}
	n.mustForm("n1") // the store is not locked
}

func TestInspectTellsWhatTheDirectoryHolds(t *testing.T) {
	n := newNodes(t, nil)
	dir := filepath.Join(n.dir, "n1")
	if _, err := Inspect(dir); !errors.Is(err, ErrNoState) {
		t.Errorf("no directory: %v", err)
	}
	n.mustOpen("n1")
	n.stop("n1")
	if _, err := Inspect(dir); !errors.Is(err, ErrNoState) {
		t.Errorf("a node that was never in a network: %v", err)
	}
	p := n.mustForm("n1", "n2", "n3")
	mustPropose(t, p, "c1")
	n.mustHave(n.by["n1"], "c1")
	n.mustAgree()
	last := n.by["n1"].Status()
	n.stop("n1")
	in, err := Inspect(dir)
	if err != nil || in.LastIndex != last.LastIndex || in.LastTerm != last.Term || len(in.Servers) != 3 || len(in.View.Table.Clusters) != 1 {
		t.Errorf("%+v, %v; the node said %+v", in, err, last)
	}
}

func TestRecoverMakesTheOnlyVoterOfANodeThatLostItsQuorum(t *testing.T) {
	n := newNodes(t, nil)
	leader := n.mustForm("n1", "n2", "n3")
	network := n.mustName(leader)
	mustPropose(t, leader, "c1")
	n.mustHave(n.by["n1"], "c1")
	for _, id := range []string{"n2", "n3", "n1"} {
		n.stop(id)
	}
	index := uint64(0)
	cfg := RecoverConfig{
		Dir: filepath.Join(n.dir, "n1"), NodeID: "n1", Address: "127.0.0.1:1",
		Peers: func(_ context.Context, others []Server) (map[string]uint64, error) {
			if len(others) != 2 {
				t.Errorf("asked are %+v", others)
			}
			return map[string]uint64{"n3": index}, nil
		},
	}
	index = 1000
	if _, err := Recover(t.Context(), cfg); !errors.Is(err, ErrBehind) {
		t.Errorf("another one knows more: %v", err)
	}
	index = 1
	done, err := Recover(t.Context(), cfg)
	if err != nil || done.NetworkID != network || len(done.Lost) != 2 || done.LastIndex == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	p := n.mustOpen("n1")
	n.mustLead()
	if s := p.Servers(); len(s) != 1 || s[0].ID != "n1" || !has(p, "c1") {
		t.Errorf("the servers are %+v, the table %+v", s, p.FSM().View().Table)
	}
	if v := p.FSM().View(); v.Table.Index <= done.LastIndex {
		t.Errorf("the table has index %d, and the lost ones may have known %d and more", v.Table.Index, done.LastIndex)
	}
	mustPropose(t, p, "c2")
	before := p.FSM().View().Table.Index
	n.stop("n1")
	p = n.mustOpen("n1")
	n.mustLead()
	if v := p.FSM().View(); !has(p, "c1") || !has(p, "c2") || v.Table.Index != before {
		t.Errorf("after a restart the table is %+v, its index was %d", v.Table, before)
	}
}

func TestRecoverForcedAgainstTheOthers(t *testing.T) {
	n := newNodes(t, nil)
	mustPropose(t, n.mustForm("n1", "n2"), "c1")
	n.stop("n1")
	n.stop("n2")
	_, err := Recover(t.Context(), RecoverConfig{
		Dir: filepath.Join(n.dir, "n1"), NodeID: "n1", Address: "127.0.0.1:1", Force: true,
		Peers: func(context.Context, []Server) (map[string]uint64, error) { return map[string]uint64{"n2": 1000}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.mustOpen("n1")
	n.mustLead()
}

func TestRecoverWithoutStateChangesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := Recover(t.Context(), RecoverConfig{Dir: dir, NodeID: "n1", Address: "127.0.0.1:1"})
	if !errors.Is(err, ErrNoState) {
		t.Errorf("recover: %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a directory was made")
	}
}

func TestSavedStateIsLoadedByTheWholeNetwork(t *testing.T) {
	n := newNodes(t, nil)
	leader := n.mustForm("n1", "n2", "n3")
	n.mustName(leader)
	mustPropose(t, leader, "saved")
	var saved bytes.Buffer
	if err := leader.Save(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, leader, "later")
	if err := leader.Load(t.Context(), bytes.NewReader(saved.Bytes()), false); err != nil {
		t.Fatal(err)
	}
	if has(leader, "later") || !has(leader, "saved") {
		t.Errorf("the table is %+v", leader.FSM().View().Table)
	}
	mustPropose(t, leader, "after")
	for _, p := range n.by {
		n.mustHave(p, "after")
	}
	n.mustAgree()
	for _, id := range []string{"n1", "n2", "n3"} {
		n.stop(id)
	}
	for _, id := range []string{"n1", "n2", "n3"} {
		n.mustOpen(id)
	}
	if p := n.mustLead(); has(p, "later") || !has(p, "after") {
		t.Errorf("after a restart the table is %+v", p.FSM().View().Table)
	}
}

func TestLoadRefusesWhatIsDamagedOrOfAnotherNetwork(t *testing.T) {
	n := newNodes(t, nil)
	p := n.mustForm("n1")
	network := n.mustName(p)
	mustPropose(t, p, "c1")
	var saved, foreign bytes.Buffer
	if err := p.Save(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	if err := fsm.CopySnapshot(&foreign, bytes.NewReader(saved.Bytes()), fsm.Target{NetworkID: "other", Index: 7}); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, p, "c2")
	if err := p.Load(t.Context(), bytes.NewReader(saved.Bytes()[:saved.Len()-1]), true); !errors.Is(err, fsm.ErrBadSnapshot) {
		t.Errorf("one cut short: %v", err)
	}
	if err := p.Load(t.Context(), bytes.NewReader(foreign.Bytes()), false); !errors.Is(err, ErrWrongNetwork) {
		t.Errorf("one of another network: %v", err)
	}
	if !has(p, "c2") {
		t.Error("the state was changed")
	}
	if err := p.Load(t.Context(), bytes.NewReader(foreign.Bytes()), true); err != nil {
		t.Errorf("one of another network by force: %v", err)
	}
	if v := p.FSM().View(); v.NetworkID != network || has(p, "c2") {
		t.Errorf("after that the state is %+v", v)
	}
}

func TestSaveWithoutStateSaysSo(t *testing.T) {
	n := newNodes(t, nil)
	if err := n.mustOpen("n1").Save(t.Context(), new(bytes.Buffer)); !errors.Is(err, ErrNoState) {
		t.Errorf("save: %v", err)
	}
}
