package main_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestKillAtRandom kills the uploading node, the collecting node or both with
// SIGKILL, over and over while files flow, at moments that a seed decides: in
// the middle of the traffic, and right after a start, when they recover. The
// next service reads the inbox all along and takes some of the files. At the end
// no file is lost, none was published twice, and none was ever seen in part.
//
// BUCKET_RELAY_SEED repeats a run, as far as the system's scheduling allows;
// BUCKET_RELAY_FULL=1 runs 20,000 files and 200 kills.
func TestKillAtRandom(t *testing.T) {
	files, kills := 3000, 30
	switch {
	case isFull():
		files, kills = 20_000, 200
	case testing.Short():
		files, kills = 600, 6
	}
	seed := seedOf(t)
	w := newWorld(t)
	in, out := w.inbox("c1", "json"), w.outbox("out", "json")
	k := &killer{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)),
		up: w.node("up", out), down: w.node("down", in),
		reader: readInbox(t, in.dir, takeSome), files: files,
	}
	k.produce(newProducer(t, out.dir, newSamples(seed)))
	k.down.startReady()
	k.up.startReady()
	began := time.Now()
	k.run(kills)
	t.Logf("seed %d: %d kills (%d of them during a start), %d files in %v",
		seed, k.kills, k.early, k.reader.seen(), time.Since(began).Round(100*time.Millisecond))

	k.reader.await(2*patienceLimit, files)
	out.awaitEmpty(patienceLimit)
	in.checkStage()
	// One more start of both: nothing may come out of what was remembered.
	for _, n := range []*node{k.up, k.down} {
		n.awaitReady()
		n.stop()
	}
	k.down.startReady()
	k.up.startReady()
	k.reader.check(files)
	if dead := out.dead(); len(dead) > 0 {
		t.Errorf("files were set aside: %q", dead)
	}
}

// seedOf returns the seed of this run and prints it when the test fails.
func seedOf(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("BUCKET_RELAY_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("BUCKET_RELAY_SEED: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with BUCKET_RELAY_SEED=%d", seed)
		}
	})
	return seed
}

// killer kills and restarts two nodes between which files flow.
type killer struct {
	t        testing.TB
	rng      *rand.Rand
	up, down *node
	reader   *reader
	files    int // to flow in all

	kills int // so far; of both nodes at a time counts as one
	early int // of them within the first moments of a process
}

// produce lets files flow: never more than a few thousand ahead of the reader,
// and one in eight written in place, where the uploader can see it unfinished.
func (k *killer) produce(p *producer) {
	ended, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		finish := func() {}
		defer func() { finish() }()
		for p.samples.made() < k.files {
			if p.samples.made()-k.reader.seen() < 2000 {
				n := min(40, k.files-p.samples.made())
				finish()
				finish = p.begin(n / 8) // till the next round
				p.drop(n - n/8)
				continue
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	k.t.Cleanup(func() { close(stop); <-ended })
}

// run kills until it was done often enough. The pauses are chosen so that the
// files last for all the kills.
func (k *killer) run(kills int) {
	for k.kills < kills {
		seen := k.reader.seen()
		share := (k.files - seen) / (kills - k.kills)
		k.awaitSeen(min(k.files, seen+k.rng.IntN(2*share+1)))
		victims := k.victims()
		k.killAndRestart(victims)
		if k.rng.IntN(3) == 0 {
			k.early++
			k.pause(time.Duration(k.rng.IntN(60_000)) * time.Microsecond)
			k.killAndRestart(victims)
		}
	}
}

// victims chooses who is killed next, and in which order both are. The kill of
// the collector alone is rarer, as it costs its sender a pause.
func (k *killer) victims() []*node {
	up, down := k.up, k.down
	return [][]*node{{up}, {up}, {up}, {down}, {down}, {up, down}, {down, up}, {down, up}}[k.rng.IntN(8)]
}

// killAndRestart kills nodes and starts them again in the same order. They are
// not waited for: the next kill may well hit a start.
func (k *killer) killAndRestart(victims []*node) {
	k.t.Helper()
	k.kills++
	for _, n := range victims {
		n.kill()
	}
	for _, n := range victims {
		n.restart()
	}
}

// awaitSeen waits until so many files were published, in spite of the kills.
func (k *killer) awaitSeen(want int) {
	k.t.Helper()
	waitFor(k.t, patienceLimit, fmt.Sprintf("%d files after kill %d", want, k.kills), func() (bool, string) {
		for _, n := range []*node{k.up, k.down} {
			if !n.running() {
				k.t.Fatalf("node %s ended by itself: %v\n%s", n.name, n.state, n.tail())
			}
		}
		seen := k.reader.seen()
		return seen >= want, fmt.Sprintf("%d files", seen)
	})
}

// pause lets a random moment pass: where in its start a process is hit is what
// the test wants to leave to chance.
func (k *killer) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.t.Context().Done():
	}
}
