package main_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// failoverLimit is how long it may take from the kill of the leader until a
// write is committed again, in 99 of 100 cases (design §8).
const failoverLimit = 1200 * time.Millisecond

// TestLeaderKilledNextWriteCommitsSoon kills the leader over and over and
// measures how long it takes until another node has committed a write.
func TestLeaderKilledNextWriteCommitsSoon(t *testing.T) {
	kills := 5
	if isFull() {
		kills = 50
	}
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	nodes[0].awaitCollector("c2")
	awaitVoters(t, 3, nodes...)
	f := startFlow(t, out, 7, 10*time.Millisecond)
	readers := []*reader{readInbox(t, ins[0].dir, takeSome), readInbox(t, ins[1].dir, takeSome)}
	var took spread
	for i := range kills {
		leader := awaitLeader(t, nodes...)
		others := slices.DeleteFunc(slices.Clone(nodes), func(n *node) bool { return n == leader })
		leader.kill()
		killed := time.Now()
		took = append(took, timeToWrite(t, killed, others[i%2], fmt.Sprintf("w%d", i)))
		leader.start()
		leader.awaitReady()
		awaitEqualTables(t, patienceLimit, nodes...)
	}
	t.Logf("%d kills of the leader: next write after %v (median), %v (p99), %v (longest)",
		kills, took.at(0.5), took.at(0.99), took.at(1))
	if p99 := took.at(0.99); p99 > within(failoverLimit) {
		t.Errorf("p99 %v, want at most %v: %v", p99, failoverLimit, took)
	}
	for _, n := range nodes {
		table := n.table()
		for i := range kills {
			if _, ok := table.Clusters[fmt.Sprintf("w%d", i)]; !ok {
				t.Errorf("%s lacks acknowledged write %d", n.name, i)
			}
		}
	}
	f.checkAll(t, out, readers...)
}

// timeToWrite repeats one write until it is acknowledged.
func timeToWrite(t *testing.T, since time.Time, n *node, name string) time.Duration {
	t.Helper()
	waitFor(t, patienceLimit, "a write through "+n.name, func() (bool, string) {
		status, body := n.setCluster(name, "one")
		return status/100 == 2, fmt.Sprintf("%d %s", status, body)
	})
	return time.Since(since)
}

// awaitVoters waits until the network has so many voters.
func awaitVoters(t *testing.T, want int, nodes ...*node) {
	t.Helper()
	waitFor(t, patienceLimit, fmt.Sprintf("%d voters", want), func() (bool, string) {
		for _, n := range nodes {
			var h struct {
				Voters int `json:"voters"`
			}
			if n.running() && n.get("/v1/health", &h) && h.Voters == want {
				return true, ""
			}
		}
		return false, ""
	})
}

// TestCollectorsNodeKilledIsSkippedSoon kills the node of one collector of a
// cluster of mode one while files flow from two outboxes, and measures how long it
// takes until every uploader ranks it last.
func TestCollectorsNodeKilledIsSkippedSoon(t *testing.T) {
	const limit = 1500 * time.Millisecond
	kills := 5
	if isFull() {
		kills = 30
	}
	w := newWorld(t)
	outs := []*outbox{w.outbox("a", "one"), w.outbox("b", "one")}
	ins := []*inbox{w.netInbox("c1", "one"), w.netInbox("c2", "one")}
	nodes := []*node{w.member("n1", outs[0]), w.member("n2", outs[1], ins[0]), w.member("n3", ins[1])}
	together(nodes...)
	startAll(nodes...)
	if status, body := nodes[0].setCluster("one", "one"); status/100 != 2 {
		t.Fatalf("%d %s", status, body)
	}
	for _, n := range nodes[:2] {
		n.awaitCollector("c1")
		n.awaitCollector("c2")
	}
	var took spread
	for range kills {
		nodes[2].kill()
		killed := time.Now()
		for _, n := range nodes[:2] {
			waitFor(t, patienceLimit, n.name+" skips c2", func() (bool, string) {
				state := targetState(n, "c2")
				return state == "backoff", fmt.Sprintf("target %q", state)
			})
			took = append(took, time.Since(killed))
		}
		nodes[2].start()
		nodes[2].awaitReady()
		for _, n := range nodes[:2] {
			waitFor(t, patienceLimit, n.name+" has c2 back", func() (bool, string) {
				c, _ := n.collector("c2")
				return c.Alive && targetState(n, "c2") == "ok", fmt.Sprintf("%+v", c)
			})
		}
	}
	t.Logf("%d kills: skipped by every uploader after %v (median), %v (p99)", kills, took.at(0.5), took.at(0.99))
	if p99 := took.at(0.99); p99 > within(limit) {
		t.Errorf("p99 %v, want at most %v: %v", p99, limit, took)
	}
}

// targetState is what a node's outbox says of a collector.
func targetState(n *node, collector string) string {
	var sp struct {
		Spools []struct {
			Targets []struct {
				Collector string `json:"collector"`
				State     string `json:"state"`
			} `json:"targets"`
		} `json:"spools"`
	}
	n.spools(&sp)
	for _, s := range sp.Spools {
		for _, target := range s.Targets {
			if target.Collector == collector {
				return target.State
			}
		}
	}
	return ""
}
