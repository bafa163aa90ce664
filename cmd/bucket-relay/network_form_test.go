package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// trio makes three members with an outbox on the first and an inbox on each of
// the others, both of cluster c, told to form a network together.
func trio(w *world) (nodes []*node, out *outbox, ins []*inbox) {
	out = w.outbox("out", "c")
	ins = []*inbox{w.netInbox("c1", "c"), w.netInbox("c2", "c")}
	nodes = []*node{w.member("n1", out), w.member("n2", ins[0]), w.member("n3", ins[1])}
	together(nodes...)
	return nodes, out, ins
}

// relayed drops files and waits until every inbox has them.
func relayed(t *testing.T, out *outbox, ins []*inbox, n int) {
	t.Helper()
	s := newSamples(uint64(n))
	newProducer(t, out.dir, s).drop(n)
	var readers []*reader
	takeAll := func(string) verdict { return remove } // so that the next call finds the inbox empty
	for _, in := range ins {
		readers = append(readers, readInbox(t, in.dir, takeAll))
	}
	for _, r := range readers {
		r.await(patienceLimit, s.made())
		r.check(s.made())
	}
	out.awaitEmpty(patienceLimit)
}

func TestNetworkOfThreeFormsAndRelays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	for _, id := range []string{"c1", "c2"} {
		c := nodes[0].awaitCollector(id)
		if c.Port < 10100 || c.State != "active" {
			t.Errorf("collector %s: %+v", id, c)
		}
	}
	relayed(t, out, ins, 50)
	networks := map[string]bool{}
	for _, n := range nodes {
		networks[n.status().NetworkID] = true
	}
	if len(networks) != 1 || networks[""] {
		t.Errorf("networks %v", networks)
	}
}

func TestNetworkOfOneNeedsNoFlags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.netInbox("", "c")
	n := w.member("alone", out, in)
	n.startReady()
	if st := n.status(); st.Role != "leader" || st.NetworkID == "" {
		t.Errorf("%+v", st)
	}
	relayed(t, out, []*inbox{in}, 10)
	first := n.table()
	n.stop()
	n.startReady()
	if again := n.table(); fmt.Sprint(again.Clusters) != fmt.Sprint(first.Clusters) {
		t.Errorf("after a restart %+v, before it %+v", again, first)
	}
	relayed(t, out, []*inbox{in}, 10)
}

func TestNetworkTakesInAFourthAndASeventh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	in4 := w.netInbox("c4", "c")
	fourth := w.member("n4", in4)
	joining(nodes[2], fourth)
	fourth.startReady()
	nodes[0].awaitCollector("c4")
	relayed(t, out, append(ins, in4), 10)
	var more []*node
	for _, name := range []string{"n5", "n6", "n7"} {
		n := w.member(name)
		joining(fourth, n)
		more = append(more, n)
	}
	startAll(more...)
	awaitEqualTables(t, patienceLimit, slices.Concat(nodes, []*node{fourth}, more)...)
}

func TestNetworkComesBackWithOtherAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	relayed(t, out, ins, 10)
	id := nodes[0].status().NetworkID
	for _, n := range nodes {
		n.kill()
		n.move()
	}
	together(nodes...)
	startAll(nodes...)
	awaitLeader(t, nodes...)
	for i, n := range nodes {
		if got := n.status().NetworkID; got != id {
			t.Errorf("node %d is in network %s, was in %s", i, got, id)
		}
	}
	waitFor(t, patienceLimit, "the table has the new addresses", func() (bool, string) {
		c1, _ := nodes[0].collector("c1")
		c2, _ := nodes[0].collector("c2")
		return c1.Address == nodes[1].net.ip && c2.Address == nodes[2].net.ip, fmt.Sprintf("%+v", nodes[0].table())
	})
	relayed(t, out, ins, 10)
}

func TestNetworkTakesBackAWipedFormer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	id := nodes[0].status()
	nodes[0].kill()
	if err := os.RemoveAll(nodes[0].dataDir()); err != nil {
		t.Fatal(err)
	}
	nodes[0].startReady()
	waitFor(t, patienceLimit, "the wiped node is taken in", func() (bool, string) {
		st := nodes[0].status()
		return st.NetworkID == id.NetworkID && st.NodeID != id.NodeID && st.Ready, fmt.Sprintf("%+v", st)
	})
	waitFor(t, patienceLimit, "its old self is gone", func() (bool, string) {
		var ms struct {
			Members []struct {
				NodeID string `json:"node_id"`
				Name   string `json:"name"`
				Role   string `json:"role"`
			} `json:"members"`
		}
		nodes[1].get("/v1/members", &ms)
		voters := 0
		for _, m := range ms.Members {
			if m.NodeID == id.NodeID {
				return false, fmt.Sprintf("%+v", ms)
			}
			if m.Role == "voter" || m.Role == "leader" {
				voters++
			}
		}
		return voters == 3, fmt.Sprintf("%+v", ms)
	})
	relayed(t, out, ins, 10)
}

func TestNetworkSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, c := w.member("n1"), w.member("n2"), w.member("n3")
	together(a, b, c)
	a.start()
	awaitUnready(t, a, "forming: 1 of 3")
	b.net.expect = 5
	b.start()
	awaitUnready(t, a, "expect mismatch with n2")
	awaitUnready(t, b, "expect mismatch with n1")
	b.kill()
	b.net.expect = 3
	b.start()
	awaitUnready(t, a, "forming: 2 of 3")
	c.start()
	for _, n := range []*node{a, b, c} {
		n.awaitReady()
	}
	joiner := w.member("n9")
	joiner.net.join = []string{loopback() + ":10090"}
	joiner.start()
	awaitUnready(t, joiner, "join")
}

func awaitUnready(t *testing.T, n *node, want string) {
	t.Helper()
	waitFor(t, patienceLimit, n.name+" says "+want, func() (bool, string) {
		status, body := n.httpGet("/readyz")
		return status == 503 && strings.Contains(body, want), fmt.Sprintf("%d %s", status, body)
	})
}

func TestNetworkRefusesANodeOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.member("a1"), w.member("b1")
	startAll(a, b)
	b.stop()
	joining(a, b)
	b.start()
	awaitUnready(t, b, "another network")
	waitFor(t, patienceLimit, "the other side says so too", func() (bool, string) {
		_, body := a.httpGet("/v1/members")
		return strings.Contains(body, "another network"), body
	})
	if a.status().NetworkID == b.status().NetworkID {
		t.Error("both are in one network")
	}
}

func TestNetworkRefusesANameThatIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.member("twin")
	a.startReady()
	b := w.member("other")
	joining(a, b)
	b.writeConfig()
	b.name = "twin"
	// The same name, another data directory.
	config := filepath.Join(w.dir, "second.yaml")
	raw, err := os.ReadFile(filepath.Join(w.dir, "other.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w.writeFile(config, strings.Replace(string(raw), "name: other", "name: twin", 1))
	b.process = startProcess(t, filepath.Join(w.dir, "second.log"), relayBinary(t), nil, "start", "--config", config)
	awaitUnready(t, b, "twin")
	if st := a.status(); st.Role != "leader" {
		t.Errorf("%+v", st)
	}
}
