package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkPublish measures durable files a second with 1 KiB each, through an
// inbox and by a plain copy that syncs each file and, in groups of all that
// wait, the directory: the best that a program without a ledger can do.
func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("inbox/%d", n), func(b *testing.B) {
			dir := b.TempDir()
			in := mustInbox(b, dir)
			text := string(make([]byte, 1024))
			var seq atomic.Uint64
			b.ResetTimer()
			inParallel(b.N, n, func(i int) {
				id := seq.Add(1)
				if _, err := put(in, arrival(testID(id), fmt.Sprint("f", id), text), text); err != nil {
					b.Error(err)
				}
				if id%64 == 0 {
					in.Settle(testSpool, []Mark{{Epoch: 7, Seq: id - min(id, 8192)}})
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
			b.ReportMetric(float64(b.N)/float64(max(1, in.Stats().Groups)), "files/group")
		})
		b.Run(fmt.Sprintf("copy/%d", n), func(b *testing.B) {
			dir := b.TempDir()
			d, err := openDir(dir)
			if err != nil {
				b.Fatal(err)
			}
			g := &groupSync{d: d, wake: make(chan struct{}, 1)}
			var wg sync.WaitGroup
			quit := make(chan struct{})
			wg.Go(func() { g.loop(quit) })
			text := make([]byte, 1024)
			b.ResetTimer()
			inParallel(b.N, n, func(i int) {
				if err := plainCopy(dir, i, text, g); err != nil {
					b.Error(err)
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
			close(quit)
			wg.Wait()
			_ = d.Close()
		})
	}
}

func inParallel(total, workers int, do func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= total; i = int(next.Add(1)) {
				do(i)
			}
		})
	}
	wg.Wait()
}

// plainCopy writes tmp, syncs, renames, and waits for a sync of the directory.
func plainCopy(dir string, i int, text []byte, g *groupSync) error {
	tmp := filepath.Join(dir, fmt.Sprint(".", i))
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(dir, fmt.Sprint("f", i))); err != nil {
		return err
	}
	return g.wait()
}

// groupSync syncs a directory for all that wait.
type groupSync struct {
	d       dir
	wake    chan struct{}
	mu      sync.Mutex
	waiting []chan error
}

func (g *groupSync) wait() error {
	done := make(chan error, 1)
	g.mu.Lock()
	g.waiting = append(g.waiting, done)
	g.mu.Unlock()
	select {
	case g.wake <- struct{}{}:
	default:
	}
	return <-done
}

func (g *groupSync) loop(quit chan struct{}) {
	for {
		select {
		case <-g.wake:
		case <-quit:
			return
		}
		g.mu.Lock()
		group := g.waiting
		g.waiting = nil
		g.mu.Unlock()
		err := g.d.Sync()
		for _, done := range group {
			done <- err
		}
	}
}
