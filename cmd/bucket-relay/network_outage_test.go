package main_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestFilesFlowWithoutQuorum kills two nodes of three: files go on between what
// is left and the collectors that it knows, at the same rate, and a write is
// refused within a second.
func TestFilesFlowWithoutQuorum(t *testing.T) {
	span := 3 * time.Second
	if isFull() {
		span = 30 * time.Second
	}
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.netInbox("c1", "c")
	nodes := []*node{w.member("n1", out, in), w.member("n2"), w.member("n3")}
	together(nodes...)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	r := readInbox(t, in.dir, takeSome)
	f := startFlow(t, out, 11, 5*time.Millisecond)
	waitFor(t, patienceLimit, "files flow", func() (bool, string) { return r.seen() > 20, "" })
	before := f.share(r, span)
	nodes[1].kill()
	nodes[2].kill()
	after := f.share(r, span)
	t.Logf("of the files dropped %.3f arrived in the same time with a quorum, %.3f without", before, after)
	least := 0.95
	if !isFull() {
		least = 0.8 // over so short a time one hiccup of the machine counts
	}
	if after < least*before {
		t.Errorf("without a quorum %.3f of the files arrived, before %.3f", after, before)
	}
	var took spread
	for range 5 {
		begun := time.Now()
		status, body := nodes[0].setCluster("late", "one")
		took = append(took, time.Since(begun))
		if status != 503 || !strings.Contains(body, `"code":"no-`) {
			t.Fatalf("a write without a quorum: %d %s", status, body)
		}
	}
	t.Logf("a write without a quorum is refused after %v (median), %v (longest)", took.at(0.5), took.at(1))
	if took.at(1) > within(time.Second) {
		t.Errorf("refused after %v, want within 1 s", took.at(1))
	}
	// Restarted alone it still sends, by the table on its disk.
	nodes[0].kill()
	nodes[0].start()
	seen := r.seen()
	waitFor(t, patienceLimit, "files flow after a restart alone", func() (bool, string) {
		return r.seen() > seen+10, fmt.Sprintf("%d files", r.seen())
	})
	f.checkAll(t, out, r)
}

// TestAllKilledComesBackAtOnce kills every node and starts them again.
func TestAllKilledComesBackAtOnce(t *testing.T) {
	const filesLimit, leaderLimit = time.Second, 3 * time.Second
	rounds := 2
	if isFull() {
		rounds = 10
	}
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	nodes[0].awaitCollector("c2")
	f := startFlow(t, out, 13, 5*time.Millisecond)
	readers := []*reader{readInbox(t, ins[0].dir, takeSome), readInbox(t, ins[1].dir, takeSome)}
	var files, leads spread
	for range rounds {
		for _, n := range nodes {
			n.kill()
		}
		seen := readers[0].seen()
		begun := time.Now()
		for _, n := range nodes {
			n.start()
		}
		waitFor(t, patienceLimit, "files flow", func() (bool, string) { return readers[0].seen() > seen, "" })
		files = append(files, time.Since(begun))
		awaitLeader(t, nodes...)
		leads = append(leads, time.Since(begun))
		for _, n := range nodes {
			n.awaitReady()
		}
	}
	t.Logf("all killed and restarted: files after %v (longest %v), a leader after %v (longest %v)",
		files.at(0.5), files.at(1), leads.at(0.5), leads.at(1))
	if files.at(1) > within(filesLimit) {
		t.Errorf("files after %v, want within %v", files, filesLimit)
	}
	if leads.at(1) > within(leaderLimit) {
		t.Errorf("a leader after %v, want within %v", leads, leaderLimit)
	}
	f.checkAll(t, out, readers...)
}

// TestRollingRestartLosesNothing restarts the nodes one after the other, under load.
func TestRollingRestartLosesNothing(t *testing.T) {
	restarts := 6
	if isFull() {
		restarts = 20
	}
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	nodes[0].awaitCollector("c2")
	f := startFlow(t, out, 17, 3*time.Millisecond)
	readers := []*reader{readInbox(t, ins[0].dir, takeSome), readInbox(t, ins[1].dir, takeSome)}
	var written []string
	for i := range restarts {
		n := nodes[i%len(nodes)]
		n.stop()
		name := fmt.Sprintf("during%d", i)
		timeToWrite(t, time.Now(), nodes[(i+1)%len(nodes)], name)
		written = append(written, name)
		n.start()
		n.awaitReady()
	}
	f.checkAll(t, out, readers...)
	awaitEqualTables(t, patienceLimit, nodes...)
	table := nodes[0].table()
	for _, name := range written {
		if _, ok := table.Clusters[name]; !ok {
			t.Errorf("acknowledged write %s is gone", name)
		}
	}
}

// TestClientFollowsTheNetwork has a node that is no member send to members and
// collect for them, while the servers that it knows die one after the other.
func TestClientFollowsTheNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, _, ins := trio(w)
	startAll(nodes...)
	out, in := w.outbox("far", "c"), w.netInbox("far", "back")
	back := w.outbox("home", "back")
	nodes[1].kill()
	nodes[1].outboxes = append(nodes[1].outboxes, back)
	nodes[1].startReady()
	far := w.client("far", nodes, out, in)
	far.startReady()
	nodes[1].awaitCollector("far")
	if st := far.status(); st.Role != "client" || st.NetworkID != nodes[0].status().NetworkID {
		t.Errorf("%+v", st)
	}
	relayed(t, out, ins, 20)
	relayed(t, back, []*inbox{in}, 20)
	nodes[0].kill()
	relayed(t, out, ins, 20)
	if _, ok := far.collector("far"); !ok {
		t.Error("the client's collector left the table although it beats")
	}
	far.stop()
	waitFor(t, patienceLimit, "its collector is dropped after three heartbeats", func() (bool, string) {
		_, ok := nodes[1].collector("far")
		return !ok, fmt.Sprintf("%+v", nodes[1].table())
	})
	// It starts with nobody there, from the table on its disk.
	for _, n := range nodes {
		if n.running() {
			n.kill()
		}
	}
	if _, err := os.Stat(far.dataDir() + "/table.json"); err != nil {
		t.Error(err)
	}
	far.start()
	waitFor(t, patienceLimit, "the table of its disk", func() (bool, string) {
		_, ok := far.collector("c1")
		return ok, fmt.Sprintf("%+v", far.table())
	})
}

// TestLeaveTakesANodeOutForGood has a node leave, start again as another one,
// and a dead one removed.
func TestLeaveTakesANodeOutForGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, ins := trio(w)
	fourth := w.member("n4", w.netInbox("c4", "c"))
	startAll(nodes...)
	joining(nodes[0], fourth)
	fourth.startReady()
	nodes[0].awaitCollector("c4")
	was := fourth.status()
	if status, body := fourth.httpDo("POST", "/v1/leave", ""); status/100 != 2 {
		t.Fatalf("leave: %d %s", status, body)
	}
	if code := fourth.awaitEnd(patienceLimit).ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, fourth.tail())
	}
	waitFor(t, patienceLimit, "its collector is gone", func() (bool, string) {
		_, ok := nodes[0].collector("c4")
		return !ok, fmt.Sprintf("%+v", nodes[0].table())
	})
	fourth.startReady()
	if st := fourth.status(); st.NodeID == was.NodeID || st.NetworkID != was.NetworkID {
		t.Errorf("after leaving it is %+v, was %+v", st, was)
	}
	nodes[0].awaitCollector("c4")
	if status, body := nodes[0].httpDo("DELETE", "/v1/members/n4", ""); status != 409 {
		t.Errorf("removing a node that is alive: %d %s", status, body)
	}
	fourth.kill()
	waitFor(t, patienceLimit, "the dead node can be removed", func() (bool, string) {
		status, body := nodes[0].httpDo("DELETE", "/v1/members/n4", "")
		return status/100 == 2, fmt.Sprintf("%d %s", status, body)
	})
	waitFor(t, patienceLimit, "its collector is gone again", func() (bool, string) {
		_, ok := nodes[1].collector("c4")
		return !ok, fmt.Sprintf("%+v", nodes[1].table())
	})
	relayed(t, out, ins, 10)
}
