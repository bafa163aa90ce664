package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func needLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("events and leases are for Linux")
	}
}

// openFor opens a file as a writer that takes its time.
func (d outboxDir) openFor(name string, flag int) *os.File {
	d.t.Helper()
	f, err := os.OpenFile(d.at(name), flag|os.O_WRONLY, 0o640)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = f.Close() })
	return f
}

func appendTo(t testing.TB, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// mustStay picks until the outbox is at rest and checks that the file is still
// there, for that reason.
func mustStay(t testing.TB, o *Outbox, name, reason string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		got, err := o.Pick(t.Context(), 256, admitAll)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Items) > 0 {
			t.Fatalf("picked %v", itemNames(got.Items))
		}
		s := o.Stats()
		for _, c := range []Count{s.Waiting[reason], s.Rejected[reason]} {
			if c.N > 0 && c.Sample == name {
				return
			}
		}
		if got.More {
			continue
		}
		select {
		case <-o.Wake():
		case <-deadline:
			t.Fatalf("%s does not wait for %q; stats %+v", name, reason, s)
		}
	}
}

func TestQuietWaitsOnItsOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOutboxDir(t)
		d.write("a", "1")
		// A time far away, in either direction, must not matter.
		if err := os.Chtimes(d.at("a"), time.Time{}, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		o := d.mustOpen(mode(ReadyQuiet), func(c *OutboxConfig) { c.Settle = 5 * time.Second })
		begin := time.Now()
		mustPickNothing(t, o)
		<-o.Wake() // that of the open
		if got := time.Since(begin); got != 0 {
			t.Errorf("the first wake came after %v", got)
		}
		<-o.Wake()
		d.write("a", "12") // appended after a pause
		mustPickNothing(t, o)
		if got := mustPick(t, o, 1)[0]; got.Size != 2 {
			t.Errorf("picked %d bytes", got.Size)
		}
		if got := time.Since(begin); got != 10*time.Second {
			t.Errorf("picked after %v, want twice the settle time", got)
		}
		_ = o.Close()
	})
}

func TestAnIdleOutboxHasNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOutboxDir(t)
		d.write("a", "1")
		o := d.mustOpen(mode(ReadyQuiet))
		mustFinish(t, o, mustPick(t, o, 1)...)
		select {
		case <-o.Wake():
		default:
		}
		mustPickNothing(t, o)
		select {
		case <-o.Wake():
			t.Error("woken with nothing to do")
		case <-time.After(24 * time.Hour):
		}
		_ = o.Close()
	})
}

func TestWithoutLeasesAutoWaitsForQuietAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOutboxDir(t)
		d.write("a", "1")
		o := d.mustOpen(func(c *OutboxConfig) {
			c.Grace, c.Settle = time.Second, 5*time.Second
			c.openDir = leaseless
		})
		begin := time.Now()
		mustPick(t, o, 1)
		if got := time.Since(begin); got != 5*time.Second {
			t.Errorf("picked after %v, want the settle time", got)
		}
		if fb := o.Stats().Fallbacks; len(fb) != 1 || !strings.Contains(fb[0], "leases do not work here") {
			t.Errorf("fallbacks %q", fb)
		}
		_ = o.Close()
	})
}

// leaseless is a disk on which nobody can tell whether a file has a writer.
func leaseless(path string) (dir, error) {
	d, err := openDir(path)
	return &leaselessDir{d}, err
}

type leaselessDir struct{ dir }

func (d *leaselessDir) unwrap() dir { return d.dir }

func (d *leaselessDir) Sub(name string, create bool) (dir, error) {
	sub, err := d.dir.Sub(name, create)
	return &leaselessDir{sub}, err
}

func (d *leaselessDir) Open(name string) (file, error) {
	f, err := d.dir.Open(name)
	return leaselessFile{f}, err
}

type leaselessFile struct{ file }

func (leaselessFile) Writer() (bool, error) { return false, errNoLease }

func TestAutoTakesARenamedFileAtOnce(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	// No grace and no settle time will ever pass.
	o := d.mustOpen(watched, func(c *OutboxConfig) { c.Grace, c.Settle = time.Hour, time.Hour })
	mustPickNothing(t, o)
	d.moveIn("a", "1")
	mustPick(t, o, 1)
}

func TestAutoTakesALinkedFileAtOnce(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(watched, func(c *OutboxConfig) { c.Grace, c.Settle = time.Millisecond, time.Hour })
	mustPickNothing(t, o)
	d.write(".making", "1")
	if err := os.Link(d.at(".making"), d.at("a")); err != nil {
		t.Fatal(err)
	}
	mustStay(t, o, "a", whyLinks) // as sftp-server renames: for a moment it has two names
	if err := os.Remove(d.at(".making")); err != nil {
		t.Fatal(err)
	}
	o.picker.mu.Lock()
	o.cfg.Grace = time.Hour
	o.picker.mu.Unlock()
	mustPick(t, o, 1)
}

func TestAutoDoesNotTakeAWrittenFileForALinkedOne(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(watched, func(c *OutboxConfig) { c.Grace, c.Settle = time.Hour, time.Hour })
	mustPickNothing(t, o)
	d.write("a", "1") // created, written, closed: no writer, but just now
	mustStay(t, o, "a", whySettling)
}

func TestAutoWaitsForTheWriter(t *testing.T) {
	needLinux(t)
	for _, change := range []struct {
		name string
		do   func(*OutboxConfig)
	}{{"with events", watched}, {"by passes", func(*OutboxConfig) {}}} {
		t.Run(change.name, func(t *testing.T) {
			d := newOutboxDir(t)
			o := d.mustOpen(change.do)
			f := d.openFor("a", os.O_CREATE)
			appendTo(t, f, "half")
			o.Rescan()
			mustStay(t, o, "a", whyWriter)
			if o.claims.live["c"] != nil {
				t.Error("the file was taken from its writer, if only for a moment")
			}
			appendTo(t, f, " and half")
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if o.watch == nil {
				o.Rescan()
			}
			it := mustPick(t, o, 1)[0]
			if got := mustRead(t, o, it); got != "half and half" {
				t.Errorf("picked %q", got)
			}
		})
	}
}

func TestAutoWaitsForTheWriterOfARenamedFile(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(watched)
	mustPickNothing(t, o)
	f := d.openFor(".log", os.O_CREATE)
	appendTo(t, f, "half")
	if err := os.Rename(d.at(".log"), d.at("a.log")); err != nil {
		t.Fatal(err)
	}
	mustStay(t, o, "a.log", whyWriter)
	appendTo(t, f, " and half")
	_ = f.Close()
	if got := mustRead(t, o, mustPick(t, o, 1)[0]); got != "half and half" {
		t.Errorf("picked %q", got)
	}
	if len(o.Marks()) > 0 && o.Stats().Claimed != 1 {
		t.Errorf("stats %+v", o.Stats())
	}
}

func TestAutoStartsAgainWhenTheFileGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newOutboxDir(t)
		d.write("a", "1")
		o := d.mustOpen(func(c *OutboxConfig) { c.Grace = 5 * time.Second })
		begin := time.Now()
		mustPickNothing(t, o)
		<-o.Wake()
		<-o.Wake()
		f := d.openFor("a", os.O_APPEND)
		appendTo(t, f, "2")
		_ = f.Close()
		if it := mustPick(t, o, 1)[0]; it.Size != 2 || time.Since(begin) != 10*time.Second {
			t.Errorf("%d bytes after %v", it.Size, time.Since(begin))
		}
		_ = o.Close()
	})
}

func TestAFileWithAWriterIsGivenBack(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	f := d.openFor("a", os.O_CREATE)
	o := d.mustOpen()
	// As if the writer had come between the check and the claim.
	st, err := o.root.Stat("a")
	if err != nil {
		t.Fatal(err)
	}
	claim := func() []Item {
		t.Helper()
		o.picker.mu.Lock()
		defer o.picker.mu.Unlock()
		r := &round{ready: []*readyFile{{name: "a", st: st, verdict: Verdict{Stream: "c"}}}}
		items, err := o.claimAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return items
	}
	if items := claim(); len(items) != 0 {
		t.Fatalf("claimed under its writer: %v", items)
	}
	if got := d.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("outbox %v", got)
	}
	if s := o.Stats(); s.Claimed != 0 || s.Waiting[whyWriter].N != 1 {
		t.Errorf("stats %+v", s)
	}
	appendTo(t, f, "text")
	_ = f.Close()
	if got := claim(); len(got) != 0 {
		t.Fatal("claimed though it changed since it was found ready")
	}
	if got := mustRead(t, o, mustPick(t, o, 1)[0]); got != "text" {
		t.Errorf("picked %q", got)
	}
}

func TestAClaimThatCantBeGivenBackIsHeld(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	f := d.openFor("a", os.O_CREATE)
	o := d.mustOpen()
	cd := o.claims.dirIfAny("")
	key, err := o.nextKey("c")
	if err != nil {
		t.Fatal(err)
	}
	rf := &readyFile{name: "a", key: key}
	rf.item = Item{ID: ID{o.id, key.epoch, key.seq}, Name: "a"}
	if err := o.root.Rename("a", cd, rf.claimName()); err != nil {
		t.Fatal(err)
	}
	d.write("a", "newer")
	if o.giveBack(cd, rf, whyWriter, nil) {
		t.Fatal("handed out")
	}
	items := mustPick(t, o, 1)
	if items[0].ID == rf.item.ID || len(mustClaimed(t, o)) != 1 {
		t.Fatalf("the held claim was handed out under its writer")
	}
	appendTo(t, f, "late")
	_ = f.Close()
	it := mustPick(t, o, 1)[0]
	if got := mustRead(t, o, it); it.ID != rf.item.ID || got != "late" {
		t.Errorf("picked %+v with %q", it, got)
	}
}

func TestDoneFileMode(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen(mode(ReadyDoneFile))
	d.write("a", "1")
	d.write("lonely.done", "")
	o.Rescan()
	mustStay(t, o, "a", whyNoMarker)
	mustStay(t, o, "lonely.done", whyNoFile)
	d.write("a.done", "")
	o.Rescan()
	it := mustPick(t, o, 1)[0]
	if got := d.names(); it.Name != "a" || !slices.Equal(got, []string{"lonely.done"}) {
		t.Errorf("picked %s, left %v", it.Name, got)
	}
	if got := d.names(".relay", "done"); len(got) != 0 {
		t.Errorf("records stay: %v", got)
	}
	if err := o.Unclaim(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	if got := d.names(); !slices.Equal(got, []string{"a", "a.done", "lonely.done"}) {
		t.Errorf("after Unclaim: %v", got)
	}
}

func TestDoneFileModeWithEvents(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(mode(ReadyDoneFile), watched)
	mustPickNothing(t, o)
	d.write("a", "1")
	mustStay(t, o, "a", whyNoMarker)
	d.write("a.done", "")
	mustPick(t, o, 1)
}

// A crash between the claim and the removal of its marker must neither let the
// next file of that name go out half-written nor hold it back for ever.
func TestDoneMarkersAfterACrash(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen(mode(ReadyDoneFile))
	d.write("a", "1")
	d.write("a.done", "")
	it := mustPick(t, o, 1)[0]
	_ = o.Close()
	record := filepath.Join(".relay", "done", it.claimName())
	d.write(record, "")
	d.write("a", "next, half-writ")
	o = d.mustOpen(mode(ReadyDoneFile))
	mustStay(t, o, "a", whyNoMarker)
	mustFinish(t, o, mustClaimed(t, o)...)
	_ = o.Close()

	d.write(record, "") // the marker was taken, the claim not made
	o = d.mustOpen(mode(ReadyDoneFile))
	if got := mustPick(t, o, 1)[0]; got.Name != "a" {
		t.Errorf("picked %+v", got)
	}
}

func TestRenameModeTakesWhatItSees(t *testing.T) {
	d := newOutboxDir(t)
	f := d.openFor("a", os.O_CREATE)
	appendTo(t, f, "1")
	o := d.mustOpen(mode(ReadyRename))
	it := mustPick(t, o, 1)[0]
	appendTo(t, f, "2") // in spite of the producer's word
	if _, err := o.Open(it); !errors.Is(err, ErrChanged) {
		t.Errorf("open: %v, want ErrChanged", err)
	}
}

func TestAWrittenFileIsNotTakenForALinkedOneBetweenTwoEvents(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(func(c *OutboxConfig) { c.Grace = time.Hour })
	o.mustWatchByHand(t)
	o.picker.mu.Lock()
	defer o.picker.mu.Unlock()
	d.write("a", "1") // its events are still in the system's queue
	st, err := o.root.Stat("a")
	if err != nil {
		t.Fatal(err)
	}
	ob := &observed{name: "a", kind: hintCreated}
	if a := o.isReady(ob, st); a.ready || ob.kind != hintNone {
		t.Errorf("%+v, though it was written just now", a)
	}
	o.hints.next()
	ob = &observed{name: "a", kind: hintCreated}
	if a := o.isReady(ob, st); !a.ready {
		t.Errorf("%+v, though nothing was written since it appeared", a)
	}
	o.picker.obs.put(ob)
	o.picker.obs.distrust()
	if ob.kind != hintNone {
		t.Error("what events told is believed after some were lost")
	}
}

func TestAFileThatIsGivenBackIsNotClaimedForThatEvent(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(watched, func(c *OutboxConfig) { c.Grace, c.Settle = time.Hour, time.Hour })
	mustPickNothing(t, o)
	f := d.openFor(".log", os.O_CREATE)
	appendTo(t, f, "half")
	if err := os.Rename(d.at(".log"), d.at("a.log")); err != nil {
		t.Fatal(err)
	}
	mustStay(t, o, "a.log", whyWriter)
	for range 10 {
		o.watch.drain()
		mustPickNothing(t, o)
	}
	if n := o.claims.live["c"].last; n != 1 {
		t.Errorf("claimed %d times", n)
	}
}

func TestWhatAWriterThatDiedLeftIsNeverTaken(t *testing.T) {
	for _, c := range []struct {
		mode Readiness
		name string
	}{{ReadyDoneFile, "a"}, {ReadyRename, ".a"}, {ReadyAuto, "a.tmp"}, {ReadyQuiet, "a.part"}} {
		d := newOutboxDir(t)
		o := d.mustOpen(mode(c.mode), func(c *OutboxConfig) { c.Grace, c.Settle = 1, 1 })
		f := d.openFor(c.name, os.O_CREATE)
		appendTo(t, f, "half")
		_ = f.Close() // what a kill does
		for range 3 {
			o.Rescan()
			mustPickNothing(t, o)
		}
		if got, err := os.ReadFile(d.at(c.name)); err != nil || string(got) != "half" {
			t.Errorf("%s: %q, %v", c.mode, got, err)
		}
	}
}

func TestABusyProducerDoesNotStarveWhatLiesThere(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	for i := range 40 {
		d.write(fmt.Sprint("old", i), "1")
	}
	o := d.mustOpen(mode(ReadyRename), watched)
	if _, err := o.Pick(t.Context(), 1, admitAll); err != nil { // begins the pass
		t.Fatal(err)
	}
	for i := range 40 {
		d.moveIn(fmt.Sprint("new", i), "1")
	}
	got, err := o.Pick(t.Context(), 16, admitAll)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Join(itemNames(got.Items), " ")
	if old, fresh := strings.Count(names, "old"), strings.Count(names, "new"); old != 4 || fresh != 12 {
		t.Errorf("%d old ones and %d new ones", old, fresh)
	}
}
