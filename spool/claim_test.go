package spool

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"testing"
)

func TestBindMovesAClaimUnderTheSameID(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen()
	it := mustPick(t, o, 1)[0]
	for _, to := range []string{"node-1:x", "other", ""} {
		moved, err := o.Bind(t.Context(), []Item{it}, to)
		if err != nil {
			t.Fatal(err)
		}
		if moved[0].ID != it.ID || moved[0].Bound != to {
			t.Fatalf("bound to %q: %+v", to, moved[0])
		}
		it = moved[0]
		if got := mustRead(t, o, it); got != "1" {
			t.Errorf("read %q", got)
		}
	}
	bound, err := o.Bind(t.Context(), []Item{it}, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = d.mustOpen()
	if got := mustClaimed(t, o); len(got) != 1 || got[0].Bound != "x" || got[0].ID != bound[0].ID {
		t.Errorf("after a reopen: %+v", got)
	}
	mustFinish(t, o, mustClaimed(t, o)...)
	_ = o.Close()
	d.mustOpen()
	if got := d.names(".relay", "claimed"); len(got) != 0 {
		t.Errorf("empty directories stay: %v", got)
	}
}

func TestBindRefusesIDsThatAreNoNames(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen()
	items := mustPick(t, o, 1)
	for _, id := range []string{"..", "../x", "a/b", ".x", "ü", "a b"} {
		if _, err := o.Bind(t.Context(), items, id); !errors.Is(err, ErrCollectorID) {
			t.Errorf("%q: %v, want ErrCollectorID", id, err)
		}
	}
}

func TestReclaimGivesANewIDInAnotherStream(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	d.write("b", "2")
	o := d.mustOpen()
	items := mustPick(t, o, 2)
	moved, err := o.Reclaim(t.Context(), items, "d", "x")
	if err != nil {
		t.Fatal(err)
	}
	if moved[0].ID.Epoch == items[0].ID.Epoch || moved[0].Bound != "x" || moved[0].Name != items[0].Name {
		t.Errorf("from %+v to %+v", items[0], moved[0])
	}
	// The old epoch is over as far as it got, the new one has not begun.
	if got := o.Marks(); !slices.Equal(got, []Mark{{items[0].ID.Epoch, 2}}) {
		t.Errorf("marks %v", got)
	}
	if _, err := o.Open(items[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old id is still there: %v", err)
	}
	if got := mustRead(t, o, moved[0]); got != "1" && got != "2" {
		t.Errorf("read %q", got)
	}
}

func TestUnclaimGivesTheNameBack(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen()
	it := mustPick(t, o, 1)[0]
	if err := o.Unclaim(t.Context(), it); err != nil {
		t.Fatal(err)
	}
	if got := d.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("outbox %v", got)
	}
	o.Rescan()
	again := mustPick(t, o, 1)[0]
	if again.ID == it.ID {
		t.Error("the id was used again")
	}
	d.write("a", "newer")
	if err := o.Unclaim(t.Context(), again); !errors.Is(err, fs.ErrExist) {
		t.Errorf("unclaim over a newer file: %v", err)
	}
	if got := mustRead(t, o, again); got != "1" {
		t.Errorf("the claim has %q", got)
	}
}

func TestMarksNeverPassAPendingClaim(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen(mode(ReadyRename))
	streams := map[string]string{"a": "s1", "b": "s1", "c": "s1", "d": "s2"}
	byName := map[string]Item{}
	for _, name := range []string{"a", "b", "c", "d"} {
		d.write(name, name)
		o.Rescan()
		it := mustPickWith(t, o, 1, func(c Candidate) Verdict { return Verdict{Take: true, Stream: streams[c.Name]} })[0]
		byName[name] = it
	}
	e1, e2 := byName["a"].ID.Epoch, byName["d"].ID.Epoch
	if e1 == e2 {
		t.Fatal("two streams share an epoch")
	}
	check := func(when string, want ...Mark) {
		t.Helper()
		if got := o.Marks(); !slices.Equal(got, want) {
			t.Errorf("%s: marks %v, want %v", when, got, want)
		}
	}
	check("all pending")
	mustFinish(t, o, byName["b"])
	check("the second is done", []Mark(nil)...)
	mustFinish(t, o, byName["d"])
	check("another stream is done", Mark{e2, 1})
	mustFinish(t, o, byName["a"])
	check("the first two are done", Mark{e1, 2}, Mark{e2, 1})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = d.mustOpen(mode(ReadyRename))
	check("after a reopen", Mark{e1, 2}, Mark{e2, Closed})
	mustFinish(t, o, mustClaimed(t, o)...)
	check("nothing is pending", Mark{e1, Closed}, Mark{e2, Closed})
}

func TestMarksOfAnEpochThatTheFileForgot(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	d.write("b", "1")
	o := d.mustOpen()
	items := mustPick(t, o, 2)
	_ = o.Close()
	if err := os.Remove(d.at(".relay", "epochs")); err != nil {
		t.Fatal(err)
	}
	o = d.mustOpen()
	i := slices.IndexFunc(items, func(it Item) bool { return it.ID.Seq == 1 })
	mustFinish(t, o, items[i])
	if got := o.Marks(); !slices.Equal(got, []Mark{{items[0].ID.Epoch, 1}}) {
		t.Errorf("marks %v", got)
	}
}

func TestClaimedPagesOverEveryDirectory(t *testing.T) {
	d := newOutboxDir(t)
	for i := range 50 {
		d.write(string(rune('A'+i)), "x")
	}
	o := d.mustOpen(mode(ReadyRename))
	items := mustPick(t, o, 50)
	for i, to := range []string{"x", "y"} {
		if _, err := o.Bind(t.Context(), items[10*i:10*i+10], to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(d.at(".relay", "claimed", "stray"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bound := map[string]int{}
	for _, it := range mustClaimed(t, o) {
		bound[it.Bound]++
	}
	if bound["x"] != 10 || bound["y"] != 10 || bound[""] != 30 {
		t.Errorf("found %v", bound)
	}
	skipped, done, err := o.Claimed(t.Context(), new(Cursor), 100, func(_, seq uint64) bool { return seq > 5 })
	if err != nil || !done || len(skipped) != 5 {
		t.Errorf("skipping: %d items, done %v, %v", len(skipped), done, err)
	}
	_ = o.Close()
	o = d.mustOpen()
	if s := o.Stats(); s.Claimed != 50 || len(s.Rejected) != 1 {
		t.Errorf("stats after a reopen %+v", s)
	}
	if _, err := os.Stat(d.at(".relay", "claimed", "stray")); err != nil {
		t.Errorf("a file that is not ours: %v", err)
	}
}
