//go:build root && linux

package main_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// healLimit is how long tables may differ after a partition has healed.
const healLimit = 5 * time.Second

// isolated is a trio on hosts of their own: n1 sends to cluster c, which n2 and
// n3 collect for.
type isolated struct {
	*hosts
	nodes    []*node
	out      *outbox
	samples  *samples
	producer *producer
	readers  []*reader
}

func newIsolated(t *testing.T) *isolated {
	t.Helper()
	w := newWorld(t)
	nodes, out, ins := trio(w)
	iso := &isolated{hosts: newHosts(t, len(nodes)), nodes: nodes, out: out, samples: newSamples(3)}
	for i, n := range nodes {
		iso.place(n, i)
	}
	together(nodes...)
	startAll(nodes...)
	for _, id := range []string{"c1", "c2"} {
		nodes[0].awaitCollector(id)
	}
	for _, in := range ins {
		iso.readers = append(iso.readers, readInbox(t, in.dir, takeSome))
	}
	iso.producer = newProducer(t, out.dir, iso.samples)
	return iso
}

// flow drops a file every few milliseconds until stop is called.
func (iso *isolated) flow() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				iso.producer.drop(1)
			}
		}
	}()
	return func() { close(end); <-ended }
}

// settle checks that the tables are equal soon, and that no file was lost or doubled.
func (iso *isolated) settle(t *testing.T, stop func(), acknowledged []string) {
	t.Helper()
	healed := time.Now()
	waitFor(t, healLimit, "every acknowledged write is everywhere", func() (bool, string) {
		var saw strings.Builder
		ok := true
		for _, n := range iso.nodes {
			table := n.table()
			fmt.Fprintf(&saw, "%s: %+v\n", n.name, table)
			for _, name := range acknowledged {
				_, has := table.Clusters[name]
				ok = ok && has
			}
		}
		return ok, saw.String()
	})
	awaitEqualTables(t, healLimit-min(time.Since(healed), healLimit-time.Millisecond), iso.nodes...)
	t.Logf("tables equal %.2f s after the heal", time.Since(healed).Seconds())
	stop()
	for _, r := range iso.readers {
		r.await(patienceLimit, iso.samples.made())
		r.check(iso.samples.made())
	}
	iso.out.awaitEmpty(patienceLimit)
}

// write sets clusters through a node, one after the other, and returns those
// that were acknowledged.
func (iso *isolated) write(n *node, prefix string, count int) (acknowledged []string) {
	for i := range count {
		name := fmt.Sprintf("%s%d", prefix, i)
		if status, _ := n.setCluster(name, "one"); status/100 == 2 {
			acknowledged = append(acknowledged, name)
		}
	}
	return acknowledged
}

func TestPartitionOfTheLeaderHealsAndLosesNothing(t *testing.T) {
	iso := newIsolated(t)
	stop := iso.flow()
	leader := awaitLeader(t, iso.nodes...)
	alone, rest := iso.split(leader)
	iso.cut([]int{alone}, rest)
	begun := time.Now()
	if status, body := leader.setCluster("minority", "one"); status != 503 {
		t.Errorf("the old leader, alone, answers %d %s", status, body)
	} else if took := time.Since(begun); took > 1500*time.Millisecond {
		t.Errorf("the old leader, alone, says so after %v", took)
	}
	others := []*node{iso.nodes[rest[0]], iso.nodes[rest[1]]}
	awaitLeader(t, others...)
	done := iso.write(others[0], "majority", 5)
	if len(done) == 0 {
		t.Error("the majority acknowledged nothing")
	}
	iso.healAll()
	iso.settle(t, stop, done)
}

// split returns the place of a node, and those of the others.
func (iso *isolated) split(n *node) (one int, others []int) {
	for i, m := range iso.nodes {
		if m == n {
			one = i
		} else {
			others = append(others, i)
		}
	}
	return one, others
}

func TestPartitionOfEverybodyHealsAndLosesNothing(t *testing.T) {
	iso := newIsolated(t)
	stop := iso.flow()
	iso.cut([]int{0}, []int{1, 2})
	iso.cut([]int{1}, []int{2})
	// Long enough for gossip to give everybody up, and for raft to back off.
	waitFor(t, patienceLimit, "everybody is alone", func() (bool, string) {
		for _, n := range iso.nodes {
			if status, _ := n.setCluster("nobody", "one"); status/100 == 2 {
				return false, n.name + " still writes"
			}
		}
		return true, ""
	})
	pause := time.NewTimer(12 * time.Second)
	<-pause.C
	iso.healAll()
	iso.settle(t, stop, nil)
}

func TestOneWayPartitionHealsAndLosesNothing(t *testing.T) {
	iso := newIsolated(t)
	stop := iso.flow()
	leader := awaitLeader(t, iso.nodes...)
	at, others := iso.split(leader)
	for _, o := range others {
		iso.deafen(at, o) // it is heard, and hears nobody
	}
	awaitLeader(t, iso.nodes[others[0]], iso.nodes[others[1]])
	done := iso.write(iso.nodes[others[0]], "heard", 5)
	iso.healAll()
	iso.settle(t, stop, done)
}

func TestRingPartitionHealsAndLosesNothing(t *testing.T) {
	iso := newIsolated(t)
	stop := iso.flow()
	// Each hears one neighbour and not the other.
	for i := range iso.nodes {
		iso.deafen(i, (i+1)%len(iso.nodes))
	}
	pause := time.NewTimer(3 * time.Second)
	<-pause.C
	done := iso.write(iso.nodes[0], "ring", 3)
	iso.healAll()
	iso.settle(t, stop, done)
}
