package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// outboxDir is an outbox's directory, from the side of the service that sends.
type outboxDir struct {
	t    testing.TB
	path string
}

func newOutboxDir(t testing.TB) outboxDir {
	t.Helper()
	return outboxDir{t, memDir(t)}
}

func (d outboxDir) at(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// write makes a file in place, as a careless producer does.
func (d outboxDir) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(d.at(name), []byte(text), 0o640); err != nil {
		d.t.Fatal(err)
	}
}

// moveIn makes a file elsewhere and renames it in.
func (d outboxDir) moveIn(name, text string) {
	d.t.Helper()
	d.write(".making", text)
	if err := os.Rename(d.at(".making"), d.at(name)); err != nil {
		d.t.Fatal(err)
	}
}

// names lists a directory below, without dotfiles.
func (d outboxDir) names(elem ...string) []string {
	d.t.Helper()
	des, err := os.ReadDir(d.at(elem...))
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, de := range des {
		if !strings.HasPrefix(de.Name(), ".") {
			out = append(out, de.Name())
		}
	}
	return out
}

// mustOpen opens the outbox and closes it with the test.
func (d outboxDir) mustOpen(change ...func(*OutboxConfig)) *Outbox {
	d.t.Helper()
	o, err := d.open(change...)
	if err != nil {
		d.t.Fatal(err)
	}
	return o
}

func (d outboxDir) open(change ...func(*OutboxConfig)) (*Outbox, error) {
	cfg := OutboxConfig{Dir: d.path, Grace: 5 * time.Millisecond, Settle: 20 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	o, err := OpenOutbox(d.t.Context(), cfg)
	if err == nil {
		d.t.Cleanup(func() { _ = o.Close() })
	}
	return o, err
}

func mode(r Readiness) func(*OutboxConfig) { return func(c *OutboxConfig) { c.Ready = r } }
func watched(c *OutboxConfig)              { c.Watch = true }

func admitAll(Candidate) Verdict { return Verdict{Take: true, Stream: "c"} }

// mustPick calls Pick, waiting for Wake in between, until it has n items.
func mustPick(t testing.TB, o *Outbox, n int) []Item {
	t.Helper()
	return mustPickWith(t, o, n, admitAll)
}

func mustPickWith(t testing.TB, o *Outbox, n int, admit func(Candidate) Verdict) []Item {
	t.Helper()
	var items []Item
	deadline := time.After(20 * time.Second)
	for {
		got, err := o.Pick(t.Context(), 256, admit)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, got.Items...)
		if len(items) >= n {
			return items
		}
		if got.More {
			continue
		}
		select {
		case <-o.Wake():
		case <-deadline:
			t.Fatalf("%d of %d items; stats %+v", len(items), n, o.Stats())
		}
	}
}

// mustPickNothing calls Pick until there is nothing left to look at.
func mustPickNothing(t testing.TB, o *Outbox) {
	t.Helper()
	for {
		got, err := o.Pick(t.Context(), 256, admitAll)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Items) > 0 {
			t.Fatalf("picked %v", itemNames(got.Items))
		}
		if !got.More {
			return
		}
	}
}

func itemNames(items []Item) []string {
	var out []string
	for _, it := range items {
		out = append(out, it.Name)
	}
	slices.Sort(out)
	return out
}

func mustFinish(t testing.TB, o *Outbox, items ...Item) {
	t.Helper()
	errs, err := o.Finish(t.Context(), items)
	if err := errors.Join(append(errs, err)...); err != nil {
		t.Fatal(err)
	}
}

func mustRead(t testing.TB, o *Outbox, it Item) string {
	t.Helper()
	f, err := o.Open(it)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(f)
	if err := errors.Join(err, f.Unchanged()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// mustClaimed returns all claims on disk.
func mustClaimed(t testing.TB, o *Outbox) []Item {
	t.Helper()
	var all []Item
	var c Cursor
	for {
		items, done, err := o.Claimed(t.Context(), &c, 7, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, items...)
		if done {
			return all
		}
	}
}

func TestAFileGoesFromOutboxToFinished(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a.json", "hello")
	o := d.mustOpen()
	it := mustPick(t, o, 1)[0]
	if it.Name != "a.json" || it.Size != 5 || it.ID.Spool != o.SpoolID() || it.ID.Seq != 1 {
		t.Errorf("item %+v", it)
	}
	if got := d.names(); len(got) != 0 {
		t.Errorf("left in the outbox: %v", got)
	}
	want := claimName(it.ID.Epoch, 1, "a.json")
	if got := d.names(".relay", "claimed"); !slices.Equal(got, []string{want}) {
		t.Errorf("claimed %v, want %s", got, want)
	}
	if got := mustRead(t, o, it); got != "hello" {
		t.Errorf("read %q", got)
	}
	if s := o.Stats(); s.Claimed != 1 || s.Queued != 0 {
		t.Errorf("stats %+v", s)
	}
	mustFinish(t, o, it)
	if got := d.names(".relay", "claimed"); len(got) != 0 {
		t.Errorf("claimed after Finish: %v", got)
	}
	if s := o.Stats(); s.Claimed != 0 || s.OldestS != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestNamesAndBytesArriveAsTheyWere(t *testing.T) {
	d := newOutboxDir(t)
	names := []string{"with space", `quo"te's`, "ünïcode-Ω-文", "trailing.", "-dash", "a;b|c&d", "percent%2f", "empty", strings.Repeat("n", 200)}
	want := map[string]string{}
	for i, name := range names {
		want[name] = strings.Repeat("x", i%4)
		d.write(name, want[name])
	}
	o := d.mustOpen()
	for _, it := range mustPick(t, o, len(names)) {
		if got := mustRead(t, o, it); got != want[it.Name] {
			t.Errorf("%q: read %q, want %q", it.Name, got, want[it.Name])
		}
		delete(want, it.Name)
	}
	if len(want) != 0 {
		t.Errorf("never picked: %v", want)
	}
}

func TestSpoolIDStaysAndEpochsDoNot(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen()
	first := mustPick(t, o, 1)[0]
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	d.write("b", "2")
	o = d.mustOpen()
	second := mustPick(t, o, 1)[0]
	if first.ID.Spool != second.ID.Spool {
		t.Error("spool id changed with a reopen")
	}
	if first.ID.Epoch == second.ID.Epoch {
		t.Error("two opens drew the same epoch")
	}
	again := mustClaimed(t, o)
	if len(again) != 2 || !slices.ContainsFunc(again, func(it Item) bool { return it.ID == first.ID && it.Name == "a" }) {
		t.Errorf("claims after a reopen: %+v", again)
	}
}

func TestAClonedOutboxDrawsNewIDs(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen()
	mustPick(t, o, 1)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	clone := newOutboxDir(t)
	if err := os.CopyFS(clone.path, os.DirFS(d.path)); err != nil {
		t.Fatal(err)
	}
	seen := map[ID]bool{}
	for _, side := range []outboxDir{d, clone} {
		side.write("new", "same name on both sides")
		it := mustPick(t, side.mustOpen(), 1)[0]
		if seen[it.ID] {
			t.Errorf("id %s was drawn twice", it.ID)
		}
		seen[it.ID] = true
	}
}

func TestOneProcessPerOutbox(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen()
	if _, err := d.open(); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	d.mustOpen()
}

func TestOpenRefuses(t *testing.T) {
	elsewhere := t.TempDir()
	link := func(t *testing.T, at string) {
		if err := os.Symlink(elsewhere, at); err != nil {
			t.Skip(err)
		}
	}
	claimOnly := func(t *testing.T, d outboxDir) {
		if err := os.MkdirAll(d.at(".relay", "claimed"), 0o750); err != nil {
			t.Fatal(err)
		}
		d.write(filepath.Join(".relay", "claimed", claimName(1, 1, "a")), "")
	}
	cases := []struct {
		name  string
		setUp func(*testing.T, outboxDir)
		want  error
	}{
		{"a .relay that is a link", func(t *testing.T, d outboxDir) { link(t, d.at(".relay")) }, ErrUnsafe},
		{"a .relay that is a file", func(t *testing.T, d outboxDir) { d.write(".relay", "") }, ErrUnsafe},
		{"a claimed that is a link", func(t *testing.T, d outboxDir) {
			if err := os.Mkdir(d.at(".relay"), 0o750); err != nil {
				t.Fatal(err)
			}
			link(t, d.at(".relay", "claimed"))
		}, ErrUnsafe},
		{"claims without a spool-id", claimOnly, ErrSpoolID},
		{"claims with a damaged spool-id", func(t *testing.T, d outboxDir) {
			claimOnly(t, d)
			d.write(filepath.Join(".relay", "spool-id"), "not an id\n")
		}, ErrSpoolID},
		{"an outbox that is not there", func(t *testing.T, d outboxDir) { _ = os.Remove(d.path) }, os.ErrNotExist},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newOutboxDir(t)
			c.setUp(t, d)
			if _, err := d.open(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if des, _ := os.ReadDir(elsewhere); len(des) > 0 {
				t.Errorf("something was made behind the link: %v", des)
			}
		})
	}
	if _, err := OpenOutbox(t.Context(), OutboxConfig{Dir: t.TempDir(), Ready: "soon"}); err == nil {
		t.Error("an unknown readiness was accepted")
	}
}

func TestADamagedSpoolIDWithoutClaimsIsReplaced(t *testing.T) {
	d := newOutboxDir(t)
	if err := os.Mkdir(d.at(".relay"), 0o750); err != nil {
		t.Fatal(err)
	}
	d.write(filepath.Join(".relay", "spool-id"), "")
	if o := d.mustOpen(); o.SpoolID() == (SpoolID{}) {
		t.Error("no spool id")
	}
}

func TestOpenMakesItsDirectoriesForTheOwnerAndGroup(t *testing.T) {
	d := newOutboxDir(t)
	d.mustOpen()
	fi, err := os.Stat(d.at(".relay"))
	if err != nil || fi.Mode().Perm()&0o027 != 0 {
		t.Errorf(".relay is %v, %v; others must not read it", fi.Mode(), err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := goleak.IgnoreCurrent()
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen(watched)
	it := mustPick(t, o, 1)[0]
	f, err := o.Open(it)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(o.Close(), o.Close()); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
	if text, err := io.ReadAll(f); err != nil || string(text) != "1" {
		t.Errorf("an open file ended with the outbox: %q, %v", text, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for name, call := range map[string]func() error{
		"Pick":       func() error { _, err := o.Pick(t.Context(), 1, admitAll); return err },
		"Open":       func() error { _, err := o.Open(it); return err },
		"Refresh":    func() error { _, err := o.Refresh(it); return err },
		"Claimed":    func() error { _, _, err := o.Claimed(t.Context(), new(Cursor), 1, nil); return err },
		"Bind":       func() error { _, err := o.Bind(t.Context(), []Item{it}, "x"); return err },
		"Reclaim":    func() error { _, err := o.Reclaim(t.Context(), []Item{it}, "s", ""); return err },
		"Unclaim":    func() error { return o.Unclaim(t.Context(), it) },
		"Finish":     func() error { _, err := o.Finish(t.Context(), []Item{it}); return err },
		"Bury":       func() error { return o.Bury(t.Context(), it, Obituary{}) },
		"Dead":       func() error { _, err := o.Dead(t.Context(), 1); return err },
		"Retry":      func() error { return o.Retry(t.Context(), it.ID) },
		"RemoveDead": func() error { return o.RemoveDead(t.Context(), it.ID) },
	} {
		if err := call(); !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func TestALongQueueIsPickedInChunks(t *testing.T) {
	const files = 20_000
	d := newOutboxDir(t)
	for i := range files {
		f, err := os.Create(d.at(fmt.Sprintf("f%05d", i)))
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	o := d.mustOpen(mode(ReadyRename))
	seen := map[string]bool{}
	for picks := 1; len(seen) < files; picks++ {
		got, err := o.Pick(t.Context(), 256, admitAll)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Items) > 256 {
			t.Fatalf("%d items in one Pick", len(got.Items))
		}
		for _, it := range got.Items {
			seen[it.Name] = true
		}
		if picks == 3 {
			if q := o.Stats().Queued; q < files-5*256 || q > files {
				t.Errorf("queued %d after 3 picks", q)
			}
			if n := len(o.tally.notes) + len(o.picker.obs.byName); n > 2*defaultLimits.chunk {
				t.Errorf("%d names in memory", n)
			}
		}
		if !got.More && len(seen) < files {
			t.Fatalf("no more after %d of %d", len(seen), files)
		}
	}
	if s := o.Stats(); s.Claimed != files {
		t.Errorf("claimed %d", s.Claimed)
	}
}
