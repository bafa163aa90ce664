//go:build unix

package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// faultInbox opens an inbox whose disk and ledger commits go through fd.
func faultInbox(dir string, fd *faultDisk, change ...func(*InboxConfig)) (*Inbox, error) {
	return openTestInbox(dir, append(change, func(c *InboxConfig) {
		c.ResumeBytes = 8
		c.seams.openDir = fd.open
		c.seams.retryAfter = time.Millisecond
		c.seams.commit = func(write func() error) error {
			if err := fd.step("commit", "ledger.db"); err != nil {
				return err // nothing was written
			}
			if err := write(); err != nil {
				return err
			}
			return fd.step("committed", "ledger.db") // in doubt: it was written
		}
	})...)
}

// sent is one item of a scenario and what its sender was told.
type sent struct {
	key, name, text string
	acked           bool // a receipt came
	doubt           bool // ErrInDoubt came last
	as              string
}

// scenario sends a few items of all kinds, as a sender does: each once.
type scenario struct {
	t     *testing.T
	dir   string
	items []*sent
	eat   bool // a reader takes each file once its receipt is out
}

func (sc *scenario) item(key, name, text string) *sent {
	for _, it := range sc.items {
		if it.text == text {
			return it
		}
	}
	it := &sent{key: key, name: name, text: text}
	sc.items = append(sc.items, it)
	return it
}

// told notes the answer to an item.
func (sc *scenario) told(it *sent, r Receipt, err error) {
	if d, ok := errors.AsType[*DeliveredError](err); ok {
		r, err = d.Receipt, nil
	}
	if _, ok := errors.AsType[*SettledError](err); ok && it.acked {
		return
	}
	// A plain item in doubt stays so. So does any other while the inbox can't say.
	it.doubt = errors.Is(err, ErrInDoubt) || it.doubt && (it.key == "" || errors.Is(err, ErrUnavailable))
	if err != nil {
		return
	}
	if it.acked && it.key != "" && it.as != r.PublishedAs {
		sc.t.Errorf("%s: receipts say %q and %q", it.text, it.as, r.PublishedAs)
	}
	it.as = r.PublishedAs
	if !it.acked && sc.eat {
		if err := os.Remove(filepath.Join(sc.dir, r.PublishedAs)); err != nil {
			sc.t.Errorf("%s: receipt, but no file: %v", it.text, err)
		}
	}
	it.acked = true
}

func (sc *scenario) send(in *Inbox, it *sent) {
	if it.key == "" && (it.acked || it.doubt) {
		return // each plain arrival is a new file
	}
	r, err := put(in, arrival(it.key, it.name, it.text), it.text)
	sc.told(it, r, err)
}

// run is the scenario. It goes on after errors, as others' items do.
func (sc *scenario) run(in *Inbox) {
	sc.send(in, sc.item(testID(1), "a.x", "text one"))
	sc.send(in, sc.item(testID(2), "a.x", "text two"))
	sc.send(in, sc.item("", "plain", "text three"))
	sc.send(in, sc.item("foreign key", "f", "text four"))
	sc.sendInParts(in, sc.item(testID(3), "large", "a text that comes in two parts"))
	if sc.items[0].acked {
		in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 1}})
	}
	sc.sendTogether(in, sc.item(testID(4), "g", "text five"), sc.item(testID(5), "g", "text six"))
	sc.send(in, sc.item(testID(6), "empty", ""))
}

// sendInParts cuts the upload after the first half and resumes it.
func (sc *scenario) sendInParts(in *Inbox, it *sent) {
	a, half := arrival(it.key, it.name, it.text), len(it.text)/2
	s, err := in.Begin(context.Background(), a)
	if err != nil {
		sc.told(it, Receipt{}, err)
		return
	}
	if _, err := s.Write([]byte(it.text[:half])); err != nil {
		_ = s.Drop()
		sc.told(it, Receipt{}, err)
		return
	}
	_ = s.Keep()
	p, err := in.Progress(context.Background(), it.key)
	if err != nil {
		p.Offset = 0
	}
	s, err = in.Resume(context.Background(), a, p.Offset)
	if err != nil {
		sc.told(it, Receipt{}, err)
		return
	}
	if _, err := s.Write([]byte(it.text[p.Offset:])); err != nil {
		_ = s.Drop()
		sc.told(it, Receipt{}, err)
		return
	}
	r, err := s.Publish(context.Background())
	sc.told(it, r, err)
}

// sendTogether publishes items in one group, if nothing else is under way.
func (sc *scenario) sendTogether(in *Inbox, items ...*sent) {
	var jobs []*sent
	var stagings []*Staging
	for _, it := range items {
		s, err := in.Begin(context.Background(), arrival(it.key, it.name, it.text))
		if err != nil {
			sc.told(it, Receipt{}, err)
			continue
		}
		if _, err := s.Write([]byte(it.text)); err != nil {
			_ = s.Drop()
			sc.told(it, Receipt{}, err)
			continue
		}
		jobs, stagings = append(jobs, it), append(stagings, s)
	}
	type answer struct {
		i   int
		r   Receipt
		err error
	}
	answers := make(chan answer)
	for i, s := range stagings {
		go func() {
			r, err := s.Publish(context.Background())
			answers <- answer{i, r, err}
		}()
	}
	for range stagings {
		a := <-answers
		sc.told(jobs[a.i], a.r, a.err)
	}
}

// check compares the inbox with what the senders were told. With settledYet
// every keyed item was sent again until a receipt came.
func (sc *scenario) check(when string, again bool) {
	sc.t.Helper()
	count := map[string]int{}
	for _, f := range strings.Split(sc.mustList(), "\n") {
		if f != "" {
			_, text, _ := strings.Cut(f, "=")
			count[text]++
		}
	}
	for _, it := range sc.items {
		n := count[it.text]
		delete(count, it.text)
		wantN := 0
		if it.acked && !sc.eat {
			wantN = 1
		}
		switch {
		case it.acked && n != wantN:
			sc.t.Errorf("%s: %q has a receipt and is there %d times, not %d", when, it.text, n, wantN)
		case !it.acked && !it.doubt && n != 0:
			sc.t.Errorf("%s: %q was refused and is there", when, it.text)
		case !it.acked && it.doubt && n > 1:
			sc.t.Errorf("%s: %q is there %d times", when, it.text, n)
		case again && it.key != "" && !it.acked:
			sc.t.Errorf("%s: %q never got a receipt", when, it.text)
		}
	}
	for text := range count {
		sc.t.Errorf("%s: %q is in the inbox and was never sent", when, text)
	}
}

func (sc *scenario) mustList() string {
	des, err := os.ReadDir(sc.dir)
	if err != nil {
		sc.t.Fatal(err)
	}
	var b strings.Builder
	for _, de := range des {
		if de.Name() == relayDir {
			continue
		}
		text, err := os.ReadFile(filepath.Join(sc.dir, de.Name()))
		if err != nil {
			sc.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s=%s\n", de.Name(), text)
	}
	return b.String()
}

// finish opens the inbox without faults and sends what has no receipt again.
func (sc *scenario) finish(fd *faultDisk, when string) {
	sc.t.Helper()
	for round := range 2 {
		in, err := faultInbox(sc.dir, fd)
		if err != nil {
			sc.t.Fatalf("%s: reopen: %v", when, err)
		}
		sc.check(when+", reopened", false)
		for _, it := range sc.items {
			if it.key != "" && !it.acked {
				sc.send(in, it)
			}
		}
		sc.check(fmt.Sprintf("%s, sent again in round %d", when, round), true)
		// The second time the sender asks again for all: nothing may be new.
		if round == 1 {
			for _, it := range sc.items {
				if it.key != "" && it.key != testID(1) { // that one is settled
					sc.send(in, it)
				}
			}
			sc.check(when+", all sent again", true)
		}
		mustClose(sc.t, in)
		stage, err := os.ReadDir(filepath.Join(sc.dir, relayDir, stageDir))
		if err != nil || len(stage) != 0 && round == 1 {
			sc.t.Errorf("%s: left in stage/: %v, %v", when, stage, err)
		}
	}
}

// countOps runs the scenario without a fault.
func countOps(t *testing.T) []diskOp {
	t.Helper()
	fd := newFaultDisk(t)
	sc := &scenario{t: t, dir: memDir(t)}
	in, err := faultInbox(sc.dir, fd)
	if err != nil {
		t.Fatal(err)
	}
	sc.run(in)
	mustClose(t, in)
	sc.check("without a fault", true)
	return fd.ops()
}

// TestEveryDiskOperationFails fails each change in turn, alone and with those
// after it, so that coming back fails, too: nothing that was refused appears,
// nothing with a receipt is lost or doubled.
func TestEveryDiskOperationFails(t *testing.T) {
	ops := countOps(t)
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for _, more := range []int{0, 2, 9} {
			for n := 1; n <= len(ops)+1; n++ {
				when := fmt.Sprintf("%v at op %d and %d more", cause, n, more)
				fd := newFaultDisk(t)
				fd.failAt(n, cause, more)
				runFault(t, fd, nil, when)
				if t.Failed() {
					t.Fatalf("%s; ops: %v", when, ops[max(0, n-3):min(n+1, len(ops))])
				}
			}
		}
	}
}

// TestKillAtEveryStepThenPowerCut ends the process before each change, lets the
// next one recover and give out receipts, and cuts the power under that one.
func TestKillAtEveryStepThenPowerCut(t *testing.T) {
	ops := countOps(t)
	for n := 1; n <= len(ops)+1; n++ {
		when := fmt.Sprintf("killed at op %d", n)
		fd := newFaultDisk(t)
		fd.failAt(n, errPowerCut)
		sc := &scenario{t: t, dir: memDir(t)}
		in, err := faultInbox(sc.dir, fd)
		if err == nil {
			sc.run(in)
			_ = in.Close() // the dead process's descriptors and lock
		}
		fd.revive()
		if in, err = faultInbox(sc.dir, fd); err != nil {
			t.Fatalf("%s: reopen: %v", when, err)
		}
		sc.check(when+", reopened", false)
		for range 2 {
			sc.run(in)
		}
		fd.cutPower()
		_ = in.Close()
		fd.restore(nil, sc.dir)
		sc.finish(fd, when+", then power cut")
		if t.Failed() {
			t.Fatalf("%s; ops: %v", when, ops[max(0, n-3):min(n+1, len(ops))])
		}
	}
}

// TestPowerCutAtEveryStep cuts the power before each change, and so after each
// one, with nothing unsynced surviving and with random parts of it surviving.
func TestPowerCutAtEveryStep(t *testing.T) {
	ops := countOps(t)
	for n := 1; n <= len(ops)+1; n++ {
		for seed := range uint64(3) {
			when := fmt.Sprintf("power cut at op %d, seed %d", n, seed)
			fd := newFaultDisk(t)
			fd.failAt(n, errPowerCut)
			var rng *rand.Rand
			if seed > 0 {
				rng = rand.New(rand.NewPCG(seed, uint64(n)))
			}
			runFault(t, fd, rng, when)
			if t.Failed() {
				t.Fatalf("%s; ops: %v", when, ops[max(0, n-3):min(n+1, len(ops))])
			}
		}
	}
}

// runFault runs the scenario on a disk with a fault ahead, twice: with the
// files left alone and with a reader that takes them. rng as in restore.
func runFault(t *testing.T, fd *faultDisk, rng *rand.Rand, when string) {
	t.Helper()
	sc := &scenario{t: t, dir: memDir(t), eat: rng != nil && rng.IntN(2) == 0}
	in, err := faultInbox(sc.dir, fd)
	if err == nil {
		sc.run(in)
		if err := in.Close(); err != nil && !errors.Is(err, errPowerCut) {
			t.Logf("%s: close: %v", when, err)
		}
	}
	fd.restore(rng, sc.dir)
	if len(sc.items) == 0 { // it did not open; a restart must heal that
		if in, err = faultInbox(sc.dir, fd); err != nil {
			t.Fatalf("%s: open after the fault: %v", when, err)
		}
		sc.run(in)
		mustClose(t, in)
	}
	sc.finish(fd, when)
}
