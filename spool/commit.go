package spool

import (
	"context"
	"sync"
	"time"
)

const (
	// groupItems is how many items share one transaction at most.
	groupItems = 1024
	// syncsAtOnce bounds the files being synced at once, each of which holds a
	// thread. Syncs side by side share the commits of the file system's journal.
	syncsAtOnce = 64
	// Two failed syncs within this time and the inbox takes nothing more until
	// a test file shows that the disk is well again.
	syncFailureWindow = time.Minute
)

// job is one sealed item on its way through S4–S8.
type job struct {
	row  row
	owed bool         // it has a PREPARED row already
	done chan outcome // capacity 1

	// Of the committer's goroutine alone.
	refusal error // why it was not published, definitely
	told    bool  // done was sent to
}

type outcome struct {
	receipt Receipt
	err     error
}

func newJob(r row) *job { return &job{row: r, done: make(chan outcome, 1)} }

// tell answers whoever waits; only the first answer counts.
func (j *job) tell(receipt Receipt, err error) {
	if !j.told {
		j.told = true
		j.done <- outcome{receipt, err}
	}
}

func tellAll(jobs []*job, err error) {
	for _, j := range jobs {
		j.tell(Receipt{}, err)
	}
}

// tellRefused answers those that were definitely not published.
func tellRefused(jobs []*job) {
	for _, j := range jobs {
		if j.refusal != nil {
			j.tell(Receipt{}, j.refusal)
		}
	}
}

// committer publishes in groups. One goroutine takes all that waits and
// carries it through S4–S8 together; what comes meanwhile is the next group.
// There is no timer: under little load a group is one item and nothing is
// delayed, under much load the groups grow by themselves.
type committer struct {
	in    *Inbox
	syncs chan struct{}   // as many tokens as syncs run; capacity syncsAtOnce
	wake  chan struct{}   // capacity 1: something waits, or the inbox failed
	life  context.Context // ended by stop
	end   context.CancelFunc
	ended sync.WaitGroup

	mu       sync.Mutex
	waiting  []*job    // as many as Stagings are in Publish
	lastFail time.Time // of a sync

	// Of the goroutine alone.
	published []row      // in the inbox, but only PREPARED in the ledger: S9 is due
	sweeps    []epochKey // epochs with settled rows to drop
}

func newCommitter(in *Inbox) *committer {
	c := &committer{in: in, syncs: make(chan struct{}, syncsAtOnce), wake: make(chan struct{}, 1)}
	c.life, c.end = context.WithCancel(context.Background())
	return c
}

func (c *committer) start() { c.ended.Go(c.commitLoop) }

// stop ends the goroutine. Nothing may wait in publish any more.
func (c *committer) stop() {
	c.end()
	c.ended.Wait()
}

// beginSync waits for a turn to sync a stage file; endSync ends it.
func (c *committer) beginSync(ctx context.Context) error {
	select {
	case c.syncs <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *committer) endSync() { <-c.syncs }

// publish puts an item whose bytes are durable into the next group and waits.
// ctx takes it out again as long as the group has not begun.
func (c *committer) publish(ctx context.Context, j *job) (Receipt, error) {
	c.mu.Lock()
	c.waiting = append(c.waiting, j)
	c.mu.Unlock()
	c.poke()
	select {
	case o := <-j.done:
		return o.receipt, o.err
	case <-ctx.Done():
	}
	if c.withdraw(j) {
		return Receipt{}, context.Cause(ctx)
	}
	o := <-j.done
	return o.receipt, o.err
}

func (c *committer) withdraw(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, other := range c.waiting {
		if other == j {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (c *committer) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take hands out the next group, at most n items.
func (c *committer) take(n int) []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, len(c.waiting))
	group := c.waiting[:n:n]
	c.waiting = append([]*job(nil), c.waiting[n:]...)
	return group
}

// commitLoop runs until stop. While the inbox is in trouble it refuses what
// comes and tries to come back.
func (c *committer) commitLoop() {
	for {
		if c.in.book.trouble() != nil {
			if !c.comeBack() {
				return
			}
			continue
		}
		group := c.take(groupItems)
		if len(group) > 0 || len(c.sweeps) > 0 {
			c.publishGroup(group)
			continue
		}
		select {
		case <-c.wake:
		case <-c.life.Done():
			c.lastWrite()
			return
		}
	}
}
