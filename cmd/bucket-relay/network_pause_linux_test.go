package main_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// TestPausedNodeComesBack stops each node in turn by SIGSTOP for longer than it
// takes to be given up, and lets it go on: as if the machine had slept.
func TestPausedNodeComesBack(t *testing.T) {
	pause := 4 * time.Second
	if isFull() {
		pause = 10 * time.Second
	}
	w := newWorld(t)
	nodes, out, ins := trio(w)
	startAll(nodes...)
	nodes[0].awaitCollector("c1")
	nodes[0].awaitCollector("c2")
	f := startFlow(t, out, 19, 10*time.Millisecond)
	readers := []*reader{readInbox(t, ins[0].dir, takeSome), readInbox(t, ins[1].dir, takeSome)}
	leader := awaitLeader(t, nodes...)
	for i, n := range []*node{leader, nodes[1]} {
		signalProcess(t, n, syscall.SIGSTOP)
		timer := time.AfterFunc(2*patienceLimit, func() { _ = n.cmd.Process.Signal(syscall.SIGCONT) })
		t.Cleanup(func() { timer.Stop(); _ = n.cmd.Process.Signal(syscall.SIGCONT) })
		wait := time.NewTimer(pause)
		<-wait.C
		other := nodes[0]
		if other == n {
			other = nodes[2]
		}
		timeToWrite(t, time.Now(), other, fmt.Sprintf("paused%d", i))
		signalProcess(t, n, syscall.SIGCONT)
		resumed := time.Now()
		n.awaitReady()
		awaitEqualTables(t, patienceLimit, nodes...)
		t.Logf("%s is one with the others %.2f s after a pause of %v", n.name, time.Since(resumed).Seconds(), pause)
	}
	f.checkAll(t, out, readers...)
}

// signalProcess sends a node a signal, if it still runs.
func signalProcess(t *testing.T, n *node, sig syscall.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil && n.running() {
		t.Fatal(err)
	}
}
