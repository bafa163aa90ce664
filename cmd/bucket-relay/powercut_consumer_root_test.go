//go:build root && linux

package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestPowerCutWithConsumer has a consumer take the files at once. Files taken
// just before a cut may come again, which only the consumer could prevent; no
// others may, and none may be lost.
func TestPowerCutWithConsumer(t *testing.T) {
	needRoot(t)
	r := newCutRun(t, "safe", "disk")
	d := r.disk("disk")
	r.begin()
	c := &consumer{dir: r.in.dir, taken: map[string][]time.Time{}}
	r.consumed = c.counts
	random := rand.New(rand.NewPCG(seedOf(t), 2))
	var cuts []time.Time
	for range 10 {
		stop := make(chan struct{})
		var eating sync.WaitGroup
		eating.Go(func() { c.eat(stop) })
		for range 4 {
			if err := r.producer.drop(10, -1); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
		cuts = append(cuts, time.Now())
		d.cut()
		r.down.kill()
		close(stop)
		eating.Wait()
		d.repower()
		r.checkAcknowledged("after the cut")
		r.down.restart()
		r.down.awaitReady()
	}
	r.awaitAll()
	again := 0
	c.look()
	for id, taken := range c.taken {
		for _, at := range taken[:len(taken)-1] {
			again++
			if !shortlyBefore(at, cuts) {
				t.Errorf("file %s came again, though it was taken at %v, long before a cut", id, at)
			}
		}
	}
	if len(c.faults) > 0 {
		t.Errorf("the consumer saw %q", c.faults)
	}
	t.Logf("%d files, %d came again", r.producer.samples.made(), again)
}

func shortlyBefore(at time.Time, cuts []time.Time) bool {
	for _, cut := range cuts {
		if d := cut.Sub(at); d > -time.Second && d < time.Second {
			return true
		}
	}
	return false
}

// consumer takes files out of an inbox and remembers when.
type consumer struct {
	dir    string
	mu     sync.Mutex
	taken  map[string][]time.Time
	faults []string
}

func (c *consumer) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{}
	for id, taken := range c.taken {
		counts[id] = len(taken)
	}
	return counts
}

// eat looks again and again until stop is closed.
func (c *consumer) eat(stop <-chan struct{}) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look takes what is there: read, removed, and the removal synced. Errors are
// those of a disk without power.
func (c *consumer) look() {
	names, err := listNames(c.dir)
	if err != nil {
		return
	}
	var ids []string
	for _, name := range names {
		if name == ".relay" {
			continue
		}
		path := filepath.Join(c.dir, name)
		body, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		id, err := identifySample(name, body)
		if err != nil {
			c.faults = append(c.faults, fmt.Sprintf("%q: %v", name, err))
		}
		if os.Remove(path) == nil {
			ids = append(ids, id)
		}
	}
	_ = syncPath(c.dir)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.taken[id] = append(c.taken[id], time.Now())
	}
}
