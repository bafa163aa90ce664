//go:build unix

package spool

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// story is the life of some files in one outbox, told step by step so that a
// test can fail or cut any disk operation in it. It keeps what receivers know:
// a receiver may have published an item from the moment its id was handed out.
type story struct {
	t    *testing.T
	d    outboxDir
	o    *Outbox
	disk *faultDisk
	done bool // ready by done-file

	published map[string][]string // name → ids under which receivers published it
	finishing map[string]bool     // names for which Finish was called
	told      []Mark              // every mark that receivers were told
	patience  int                 // how often a failing call is repeated
	last      int                 // after this disk operation nothing works any more
}

var errStoryOver = errors.New("the disk is gone")

var storyFiles = []string{"bound", "moved", "plain", "dead", "back"}

func newStory(t *testing.T, m Readiness) *story {
	s := &story{t: t, d: newOutboxDir(t), disk: newFaultDisk(t), done: m == ReadyDoneFile,
		last: math.MaxInt, published: map[string][]string{}, finishing: map[string]bool{}}
	for _, name := range storyFiles {
		s.d.write(name, name)
		if s.done {
			s.d.write(name+doneSuffix, "")
		}
	}
	return s
}

func (s *story) open() error {
	ready := ReadyRename
	if s.done {
		ready = ReadyDoneFile
	}
	var err error
	s.o, err = OpenOutbox(context.Background(), OutboxConfig{Dir: s.d.path, Ready: ready, Settle: time.Millisecond, openDir: s.disk.open})
	return err
}

// try repeats a call that fails while there is patience left.
func (s *story) try(call func() error) error {
	for {
		err := call()
		if err == nil || s.patience == 0 || errors.Is(err, errPowerCut) {
			return err
		}
		s.patience--
	}
}

func (s *story) publish(it Item) { s.published[it.Name] = append(s.published[it.Name], it.ID.String()) }

func (s *story) marks() { s.told = append(s.told, s.o.Marks()...) }

// pick collects n items by name.
func (s *story) pick(n int) (map[string][]Item, error) {
	items := map[string][]Item{}
	for got := 0; got < n; {
		if len(s.disk.ops()) >= s.last {
			return nil, errStoryOver
		}
		err := s.try(func() error {
			p, err := s.o.Pick(context.Background(), 100, admitAll)
			for _, it := range p.Items {
				items[it.Name] = append(items[it.Name], it)
				got++
			}
			if err != nil || len(p.Items) > 0 || p.More {
				return err
			}
			select {
			case <-s.o.Wake():
			case <-time.After(10 * time.Second):
				return fmt.Errorf("%d of %d items: %+v", got, n, s.o.Stats())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return items, nil
}

// run tells the story and returns the error that ended it.
func (s *story) run() error {
	if err := s.try(s.open); err != nil {
		return err
	}
	items, err := s.pick(len(storyFiles))
	if err != nil {
		return err
	}
	one := func(name string) Item { return items[name][0] }
	s.publish(one("plain"))
	s.publish(one("dead"))
	s.marks()
	move := func(name string, f func(context.Context, []Item) ([]Item, error)) error {
		return s.try(func() error {
			moved, err := f(context.Background(), []Item{one(name)})
			items[name] = moved
			return err
		})
	}
	steps := []func() error{
		func() error { return s.finish(one("plain")) },
		func() error {
			return move("bound", func(ctx context.Context, its []Item) ([]Item, error) { return s.o.Bind(ctx, its, "x") })
		},
		func() error { s.publish(one("bound")); return nil },
		func() error {
			return move("moved", func(ctx context.Context, its []Item) ([]Item, error) { return s.o.Reclaim(ctx, its, "d", "y") })
		},
		func() error { s.publish(one("moved")); return nil },
		func() error { return s.try(func() error { return s.o.Unclaim(context.Background(), one("back")) }) },
		func() error { return s.bury(one("dead")) },
		func() error { return s.retry(one("dead").ID) },
		func() error { s.o.Rescan(); return s.pickBack(items) },
		func() error { return s.finish(append(items["dead"], one("bound"), one("moved"), one("back"))...) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		s.marks()
	}
	return nil
}

func (s *story) finish(items ...Item) error {
	for _, it := range items {
		s.finishing[it.Name] = true
	}
	return s.try(func() error {
		errs, err := s.o.Finish(context.Background(), items)
		return errors.Join(append(errs, err)...)
	})
}

func (s *story) bury(it Item) error {
	why := Obituary{Code: "x", Cluster: "c", Delivered: []string{"a"}, Owed: []string{"y", "z"}}
	return s.try(func() error { return s.o.Bury(context.Background(), it, why) })
}

func (s *story) retry(id ID) error {
	return s.try(func() error {
		err := s.o.Retry(context.Background(), id)
		if errors.Is(err, ErrNoDead) && s.o.Stats().Dead == 0 {
			return nil // an earlier call did it
		}
		return err
	})
}

// pickBack picks the two claims of the retry and the file that was unclaimed.
func (s *story) pickBack(items map[string][]Item) error {
	got, err := s.pick(3)
	if err != nil {
		return err
	}
	for name, its := range got {
		items[name] = its
		if name == "back" {
			s.publish(its[0])
		}
	}
	if len(items["dead"]) != 2 {
		return fmt.Errorf("the retry made %+v", items["dead"])
	}
	return nil
}

// check looks at a reopened outbox: every file is somewhere exactly once, under
// an id that its receivers know, and no mark has passed a claim.
func (s *story) check() {
	t := s.t
	t.Helper()
	where := map[string][]string{}
	for _, name := range s.d.names() {
		if !strings.HasSuffix(name, doneSuffix) {
			where[name] = append(where[name], "outbox")
			continue
		}
		if _, err := os.Stat(s.d.at(strings.TrimSuffix(name, doneSuffix))); err != nil {
			t.Errorf("marker %s without its file", name)
		}
	}
	for name := range where {
		if _, err := os.Stat(s.d.at(name + doneSuffix)); s.done && err != nil {
			t.Errorf("%s lost its marker", name)
		}
	}
	claims := mustClaimed(t, s.o)
	for _, it := range claims {
		where[it.Name] = append(where[it.Name], it.ID.String())
		for _, m := range append(s.o.Marks(), s.told...) {
			if m.Epoch == it.ID.Epoch && m.Seq >= it.ID.Seq {
				t.Errorf("mark %v has passed the claim %s of %s", m, it.ID, it.Name)
			}
		}
		if got := mustRead(t, s.o, it); got != it.Name {
			t.Errorf("%s has the bytes %q", it.Name, got)
		}
	}
	dead, err := s.o.Dead(context.Background(), 0)
	if err != nil {
		t.Error(err)
	}
	for _, it := range dead {
		where[it.Name] = append(where[it.Name], it.ID.String())
		if it.Obituary.Code != "x" {
			t.Errorf("dead letter without its reason: %+v", it)
		}
	}
	for _, name := range storyFiles {
		s.checkFile(name, where[name])
	}
	if n := s.o.Stats(); n.Claimed != len(claims) || n.Dead != len(dead) {
		t.Errorf("stats %+v with %d claims and %d dead", n, len(claims), len(dead))
	}
}

func (s *story) checkFile(name string, at []string) {
	s.t.Helper()
	known := s.published[name]
	switch {
	case len(at) == 0 && !s.finishing[name]:
		s.t.Errorf("%s is lost", name)
	case name == "dead" && len(at) > 0 && len(known) > 0 && !slices.Contains(at, known[0]):
		// Buried and retried: two heirs that nobody published yet, or what is
		// left of them after Finish.
		if slices.Contains(at, "outbox") || (len(at) != 2 && !s.finishing[name]) {
			s.t.Errorf("%s is at %v after its retry", name, at)
		}
	case len(at) > 1:
		s.t.Errorf("%s is there more than once: %v", name, at)
	case len(at) == 1 && len(known) > 0 && at[0] != known[len(known)-1]:
		s.t.Errorf("%s was published as %v and is now %v: it would be published again", name, known, at)
	}
}

// drain finishes whatever is left, as a healthy relay does.
func (s *story) drain() {
	s.t.Helper()
	left := mustClaimed(s.t, s.o)
	waiting := slices.DeleteFunc(s.d.names(), func(name string) bool { return strings.HasSuffix(name, doneSuffix) })
	left = append(left, mustPick(s.t, s.o, len(waiting))...)
	mustFinish(s.t, s.o, left...)
	if got := s.d.names(); len(got) != 0 {
		s.t.Errorf("left in the outbox: %v", got)
	}
	if got := s.d.names(".relay", "claimed"); slices.ContainsFunc(got, func(n string) bool { return n[0] != '@' }) {
		s.t.Errorf("left in claimed: %v", got)
	}
	for _, m := range s.o.Marks() {
		if s.o.claims.live["c"] != nil && m.Epoch == s.o.claims.live["c"].epoch && m.Seq != s.o.claims.live["c"].last {
			s.t.Errorf("mark %v with nothing pending", m)
		}
	}
}

func storyModes(t *testing.T, f func(*testing.T, Readiness)) {
	for _, m := range []Readiness{ReadyRename, ReadyDoneFile} {
		t.Run(string(m), func(t *testing.T) { f(t, m) })
	}
}

// storyLength counts the disk operations of an undisturbed story.
func storyLength(t *testing.T, m Readiness) int {
	t.Helper()
	s := newStory(t, m)
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	n := len(s.disk.ops())
	s.checked("nothing happened")
	return n
}

// A power cut before any disk operation, with nothing or a random part of what
// was not synced surviving, loses no file and publishes none twice.
func TestOutboxPowerCutAtEveryStep(t *testing.T) {
	storyModes(t, func(t *testing.T, m Readiness) {
		length := storyLength(t, m)
		for n := 1; n <= length; n++ {
			for _, rng := range []*rand.Rand{nil, rand.New(rand.NewPCG(uint64(n), 1)), rand.New(rand.NewPCG(uint64(n), 2))} {
				s := newStory(t, m)
				s.last = n
				s.disk.failAt(n, errPowerCut)
				if err := s.run(); err == nil {
					t.Fatalf("cut %d did nothing", n)
				}
				op := fmt.Sprint("cut at ", s.disk.ops()[n-1])
				s.reopen(rng)
				s.checked(op)
			}
		}
	})
}

// A kill before any disk operation: everything done so far is there, nothing
// of it is durable, and the power is cut after the next open.
func TestOutboxKillAndThenPowerCut(t *testing.T) {
	storyModes(t, func(t *testing.T, m Readiness) {
		length := storyLength(t, m)
		for n := 1; n <= length; n++ {
			s := newStory(t, m)
			s.last = n
			errKill := errors.New("killed")
			s.disk.failWhen(func(op diskOp) error {
				if op.N >= n {
					return errKill
				}
				return nil
			})
			if err := s.run(); err == nil {
				t.Fatalf("kill %d did nothing", n)
			}
			s.disk.failWhen(nil)
			if s.o != nil {
				_ = s.o.Close()
			}
			if err := s.open(); err != nil {
				t.Fatal(err)
			}
			for _, it := range mustClaimed(t, s.o) { // offered again, published, not finished
				if it.Name != "dead" || len(s.published["dead"]) == 0 {
					s.published[it.Name] = []string{it.ID.String()}
				}
			}
			s.marks()
			s.reopen(nil)
			s.checked(fmt.Sprint("kill at ", n))
		}
	})
}

// One failing disk operation anywhere is got over without a restart.
func TestOutboxGetsOverAFailedStep(t *testing.T) {
	storyModes(t, func(t *testing.T, m Readiness) {
		length := storyLength(t, m)
		for n := 1; n <= length; n++ {
			s := newStory(t, m)
			errDisk := errors.New("disk on fire")
			s.disk.failAt(n, errDisk)
			s.patience = 6
			if err := s.run(); err != nil {
				t.Fatalf("%v: %v", s.disk.ops()[n-1], err)
			}
			op := fmt.Sprint("failed ", s.disk.ops()[n-1])
			s.reopen(nil)
			s.checked(op)
		}
	})
}

func (s *story) reopen(rng *rand.Rand) {
	s.t.Helper()
	s.disk.cutPower()
	if s.o != nil {
		_ = s.o.Close()
	}
	s.disk.restore(rng, s.d.path)
	if err := s.open(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *story) checked(what string) {
	s.t.Helper()
	s.check()
	s.drain()
	_ = s.o.Close()
	if s.t.Failed() {
		s.t.Fatal(what)
	}
}

func TestOpenRefusesDirectoriesThatFilesCantBeMovedTo(t *testing.T) {
	d := newOutboxDir(t)
	disk := newFaultDisk(t)
	disk.failWhen(func(op diskOp) error { // as a bind mount does
		if op.Kind == "rename" && op.Name == outboxProbe {
			return errCrossDevice
		}
		return nil
	})
	open := func(on func(string) (dir, error)) error {
		_, err := d.open(func(c *OutboxConfig) { c.openDir = on })
		return err
	}
	if err := open(disk.open); !errors.Is(err, ErrUnsafe) {
		t.Errorf("renames fail: %v, want ErrUnsafe", err)
	}
	if err := open(otherDevice); !errors.Is(err, ErrUnsafe) {
		t.Errorf("another device: %v, want ErrUnsafe", err)
	}
	if got, _ := os.ReadDir(d.path); len(got) != 1 {
		t.Errorf("left over: %v", got)
	}
}

// otherDevice is a disk whose claimed/ is a mount point.
func otherDevice(path string) (dir, error) {
	d, err := openDir(path)
	return &mountDir{d}, err
}

type mountDir struct{ dir }

func (d *mountDir) unwrap() dir { return d.dir }

func (d *mountDir) Sub(name string, create bool) (dir, error) {
	sub, err := d.dir.Sub(name, create)
	return &mountDir{sub}, err
}

func (d *mountDir) Self() (fileStat, error) {
	st, err := d.dir.Self()
	if strings.HasSuffix(d.Path(), claimedName) {
		st.Dev++
	}
	return st, err
}

func TestAClaimWhoseSyncFailedIsHandedOutAfterOneThatDidNot(t *testing.T) {
	s := newStory(t, ReadyRename)
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	errDisk := errors.New("disk on fire")
	s.disk.failWhen(func(op diskOp) error {
		if op.Kind == "dirsync" && strings.HasSuffix(op.Dir, claimedName) {
			return errDisk
		}
		return nil
	})
	for range 2 {
		if got, err := s.o.Pick(t.Context(), 100, admitAll); !errors.Is(err, errDisk) || len(got.Items) > 0 {
			t.Fatalf("%+v, %v: handed out before they are durable", got, err)
		}
		if got := mustClaimed(t, s.o); len(got) > 0 {
			t.Fatalf("listed before they are durable: %+v", got)
		}
	}
	s.disk.failWhen(nil)
	for _, it := range mustPick(t, s.o, len(storyFiles)) {
		s.publish(it)
	}
	s.reopen(nil)
	s.checked("cut after the claims were handed out")
}

func TestAFileThatCantBeMovedStopsNoOther(t *testing.T) {
	for _, c := range []struct {
		err      error
		rejected bool
	}{{syscall.EPERM, true}, {syscall.EACCES, true}, {syscall.ENOSPC, false}, {syscall.EIO, false}} {
		s := newStory(t, ReadyRename)
		if err := s.open(); err != nil {
			t.Fatal(err)
		}
		s.disk.failWhen(func(op diskOp) error {
			if op.Kind == "rename" && op.Name == "plain" {
				return c.err
			}
			return nil
		})
		items := mustPick(t, s.o, len(storyFiles)-1)
		mustFinish(t, s.o, items...)
		st := s.o.Stats()
		in := st.Waiting
		if c.rejected {
			in = st.Rejected
		}
		if want := (Count{1, "plain"}); in[whyUnclaimed+c.err.Error()] != want {
			t.Errorf("%v: %+v", c.err, st)
		}
		if len(s.o.Marks()) != 1 || s.o.Marks()[0].Seq != uint64(len(storyFiles)) {
			t.Errorf("%v: marks %v wait for an id that no file has", c.err, s.o.Marks())
		}
		s.disk.failWhen(nil)
		if c.rejected {
			s.o.Rescan()
		}
		mustPick(t, s.o, 1) // what time heals is tried again by itself
		_ = s.o.Close()
	}
}
