package membership

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// nodeID is the id of the i-th node of a test.
func nodeID(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) }

const (
	networkX = "11111111-0000-4000-8000-000000000000"
	networkY = "22222222-0000-4000-8000-000000000000"
)

func testMeta(i int) Meta {
	return Meta{NodeID: nodeID(i), Name: fmt.Sprintf("n%d", i), Generation: 1, HTTPPort: 10088, RaftPort: 10089, Level: 1}
}

// address is where the i-th node of a test is at first.
func address(i int) string { return fmt.Sprintf("10.%d.%d.1:10090", i/256, i%256) }

// lab is nodes on a network in memory, in a bubble.
type lab struct {
	t     *testing.T
	net   *Network
	seeds []string
	log   *logBuffer
}

func newLab(t *testing.T, seeds ...string) *lab {
	// The pools are closed before this: the library's last probes end by time, and
	// time stands still once a bubble's test is over.
	t.Cleanup(func() { time.Sleep(10 * time.Second) })
	return &lab{t: t, net: NewNetwork(), seeds: seeds, log: &logBuffer{}}
}

// open starts the i-th node, changed by change, at an address.
func (l *lab) open(i int, at string, change func(*Config)) *Pool {
	l.t.Helper()
	c := Config{Meta: testMeta(i), Seeds: l.seeds, Transport: l.net.Transport(at), Logger: l.log.logger(fmt.Sprintf("n%d", i))}
	if change != nil {
		change(&c)
	}
	p, err := Open(l.t.Context(), c)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			l.t.Error(err)
		}
	})
	return p
}

// form starts nodes 1 to n and waits until all see each other.
func (l *lab) form(n int) []*Pool {
	l.t.Helper()
	var pools []*Pool
	for i := 1; i <= n; i++ {
		pools = append(pools, l.open(i, address(i), nil))
	}
	l.within(time.Minute, "all see each other", func() bool { return allSee(pools, n) })
	return pools
}

// within waits until cond is true and returns how long that took. It fails the
// test with the log when it takes longer than limit.
func (l *lab) within(limit time.Duration, what string, cond func() bool) time.Duration {
	l.t.Helper()
	began := time.Now()
	for {
		synctest.Wait()
		took := time.Since(began)
		if cond() {
			return took
		}
		if took > limit {
			l.t.Fatalf("not within %v: %s\n%s", limit, what, l.log.tail(40))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// allSee reports whether each of the pools sees n members, all alive.
func allSee(pools []*Pool, n int) bool {
	return !slices.ContainsFunc(pools, func(p *Pool) bool { return alive(p) != n })
}

// alive counts the members that are there, p's own node included.
func alive(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.table.there()
	if p.table.self.there() {
		n++
	}
	return n
}

// member is the i-th node as p sees it; its state is empty if p does not.
func member(p *Pool, i int) Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	if nodeID(i) == p.table.self.NodeID {
		return p.table.self
	}
	if p.table.others[nodeID(i)] == nil {
		return Member{}
	}
	all := p.table.members()
	return all[slices.IndexFunc(all, func(m Member) bool { return m.NodeID == nodeID(i) })]
}

// state is the state of the i-th node as p sees it.
func state(p *Pool, i int) State { return member(p, i).State }

// reasonOf is why p refuses the i-th node, empty if it does not.
func reasonOf(p *Pool, i int) string {
	for _, r := range p.Refusals() {
		if r.NodeID == nodeID(i) {
			return r.Reason
		}
	}
	return ""
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) logger(node string) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", node)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(l.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
