//go:build root && linux

package main_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// cutRun is a relay over disks whose power is cut.
type cutRun struct {
	*world
	out      *outbox
	in       *inbox
	up, down *node
	producer *durableProducer
	consumed func() map[string]int // what a consumer took, by sample; nil for none

	// Only for cuts at a step:
	owner  *node   // crosses it
	trap   string  // arms it in the owner's environment, until it was crossed
	wire   *cutter // between the nodes, in some scenes
	marked bool    // the producer makes done-files
}

// newCutRun lays out one outbox and one inbox below directories where disks are
// to be mounted before anything is started.
func newCutRun(t *testing.T, outDisk, inDisk string, options ...string) *cutRun {
	t.Helper()
	w := newWorld(t)
	r := &cutRun{world: w, out: w.outbox("out", "c", options...), in: w.inbox("in", "c")}
	r.out.dir, r.in.dir = filepath.Join(w.dir, outDisk, "out"), filepath.Join(w.dir, inDisk, "in")
	r.up, r.down = w.node("up", r.out), w.node("down", r.in)
	return r
}

// disk mounts a disk in the world.
func (r *cutRun) disk(name string) *disk { return newDisk(r.t, filepath.Join(r.dir, name), 256) }

// begin makes the directories, durably, and the producer, and starts both nodes.
func (r *cutRun) begin() {
	r.t.Helper()
	tmp := filepath.Join(filepath.Dir(r.out.dir), "producer")
	for _, dir := range []string{r.out.dir, r.in.dir, tmp} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := syncPath(filepath.Dir(dir)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.producer = &durableProducer{outbox: r.out.dir, tmp: tmp, samples: newSamples(71), marker: r.marked}
	for _, n := range []*node{r.down, r.up} {
		if n == r.owner {
			n.startReady(r.trap)
		} else {
			n.startReady()
		}
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// durableProducer hands files over as one that must not lose any does: a file is
// handed over when it is synced and its name in the outbox is.
type durableProducer struct {
	outbox, tmp string
	samples     *samples
	marker      bool // make <name>.done too

	mu     sync.Mutex
	handed []string // names
}

// drop hands n files over, unless the disk fails.
func (p *durableProducer) drop(n, size int) error {
	var names []string
	for range n {
		name, body := p.samples.next()
		if size >= 0 {
			name, body = p.samples.nextOf(size)
		}
		tmp := filepath.Join(p.tmp, name)
		if err := os.WriteFile(tmp, body, 0o600); err != nil {
			return err
		}
		if err := syncPath(tmp); err != nil {
			return err
		}
		if err := os.Rename(tmp, filepath.Join(p.outbox, name)); err != nil {
			return err
		}
		if p.marker {
			if err := os.WriteFile(filepath.Join(p.outbox, name+".done"), nil, 0o600); err != nil {
				return err
			}
		}
		names = append(names, name)
	}
	if err := syncPath(p.outbox); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handed = append(p.handed, names...)
	return nil
}

// names lists what was handed over.
func (p *durableProducer) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.handed...)
}

// claimPrefix is what a claim or a dead file has before its name.
var claimPrefix = regexp.MustCompile(`^[0-9a-f]{16}\.[0-9a-f]+\.`)

// held returns the names that lie on the outbox's side, in whatever state.
func (r *cutRun) held() map[string]bool {
	held := map[string]bool{}
	for _, path := range append(append(r.out.waiting(), r.out.claimed()...), r.out.dead()...) {
		held[claimPrefix.ReplaceAllString(filepath.Base(path), "")] = true
	}
	return held
}

// published counts the samples in the inbox and those that were consumed, and
// fails the test when one is not whole.
func (r *cutRun) published() map[string]int {
	r.t.Helper()
	count := map[string]int{}
	for _, name := range inboxNames(r.t, r.in) {
		body, err := os.ReadFile(filepath.Join(r.in.dir, name))
		if err != nil {
			r.t.Fatal(err)
		}
		id, err := identifySample(name, body)
		if err != nil {
			r.t.Errorf("the inbox has %q: %v", name, err)
		}
		count[id]++
	}
	if r.consumed != nil {
		for id, n := range r.consumed() {
			count[id] += n
		}
	}
	return count
}

// checkAcknowledged fails the test if a file left the outbox's side and is not
// published: somebody said it was safe.
func (r *cutRun) checkAcknowledged(when string) {
	r.t.Helper()
	held, published := r.held(), r.published()
	for _, name := range r.producer.names() {
		if !held[name] && published[idOf(name)] == 0 {
			r.t.Errorf("%s: %s was acknowledged and is lost", when, name)
		}
	}
}

// idOf is the number of a sample.
func idOf(name string) string {
	n, err := strconv.Atoi(name[:6])
	if err != nil {
		return name
	}
	return strconv.Itoa(n)
}

// awaitAll waits until everything that was handed over is published and nothing
// is left on the outbox's side.
func (r *cutRun) awaitAll() {
	r.t.Helper()
	waitFor(r.t, 2*patienceLimit, "all files published", func() (bool, string) {
		held := r.held()
		return len(held) == 0, fmt.Sprintf("%d of %d are held", len(held), r.producer.samples.made())
	})
	published := r.published()
	for _, name := range r.producer.names() {
		if published[idOf(name)] == 0 {
			r.t.Errorf("%s is lost", name)
		}
	}
}

// checkOnce fails the test if anything was published twice. A file that was not
// yet handed over when the power was cut may be there or not.
func (r *cutRun) checkOnce() {
	r.t.Helper()
	for id, n := range r.published() {
		if n != 1 {
			r.t.Errorf("file %s was published %d times", id, n)
		}
	}
	r.in.checkStage()
	if dead := r.out.dead(); len(dead) > 0 {
		r.t.Errorf("dead/ is not empty: %q", dead)
	}
}

// TestPowerCutAtRandom cuts the power of one side at random moments while files
// flow, and starts that side again. Nobody takes files from the inbox, so each
// must be there exactly once in the end.
func TestPowerCutAtRandom(t *testing.T) {
	needRoot(t)
	seed := seedOf(t)
	for _, test := range []struct {
		name            string
		outDisk, inDisk string
		cuts            int
		hit             func(*cutRun) []*node // processes on the disk that is cut
	}{
		{"outbox side", "disk", "safe", 16, func(r *cutRun) []*node { return []*node{r.up} }},
		{"inbox side", "safe", "disk", 16, func(r *cutRun) []*node { return []*node{r.down} }},
		{"both on one disk", "disk", "disk", 10, func(r *cutRun) []*node { return []*node{r.up, r.down} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newCutRun(t, test.outDisk, test.inDisk)
			d := r.disk("disk")
			r.begin()
			random := rand.New(rand.NewPCG(seed, 1))
			for i := range test.cuts {
				r.cutOnce(d, test.hit(r), time.Duration(random.IntN(200))*time.Millisecond)
				if t.Failed() {
					t.Fatalf("after cut %d with seed %d", i, seed)
				}
			}
			r.awaitAll()
			r.checkOnce()
			t.Logf("%d files over %d cuts", r.producer.samples.made(), test.cuts)
		})
	}
}

// cutOnce lets files flow, cuts the power after some time, and starts again what
// ran on the disk.
func (r *cutRun) cutOnce(d *disk, hit []*node, after time.Duration) {
	r.t.Helper()
	stop := make(chan struct{})
	var flow sync.WaitGroup
	flow.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			size := -1
			if i%8 == 3 {
				size = 300_000
			}
			if r.producer.drop(5, size) != nil {
				return // the power is off
			}
		}
	})
	<-time.After(after)
	d.cut()
	for _, n := range hit {
		n.kill()
	}
	close(stop)
	flow.Wait()
	d.repower()
	r.checkAcknowledged("after the cut")
	for _, n := range hit {
		n.restart()
	}
	for _, n := range hit {
		n.awaitReady()
	}
	// Go on once something flows again, so that the next cut meets traffic.
	before := len(inboxNames(r.t, r.in))
	waitFor(r.t, patienceLimit, "files flow again", func() (bool, string) {
		n, held := len(inboxNames(r.t, r.in)), len(r.held())
		return n > before || held == 0, fmt.Sprintf("%d in the inbox, %d held", n, held)
	})
}
