package spool

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// buried makes an outbox with one dead letter.
func buried(t *testing.T, name string, why Obituary) (outboxDir, *Outbox, Item) {
	t.Helper()
	d := newOutboxDir(t)
	d.write(name, "text")
	o := d.mustOpen()
	it := mustPick(t, o, 1)[0]
	if err := o.Bury(t.Context(), it, why); err != nil {
		t.Fatal(err)
	}
	return d, o, it
}

func TestDeadLettersKeepTheirReason(t *testing.T) {
	for _, name := range []string{"a", "a.json", "a.json.json", strings.Repeat("n", 195) + ".json"} {
		t.Run(name[:min(20, len(name))], func(t *testing.T) {
			why := Obituary{Code: "bad-name", Reason: "no such luck", Cluster: "c", Collector: "x",
				Delivered: []string{"y"}, Owed: []string{"x"}, Attempts: 3, At: time.Unix(5, 0).UTC()}
			d, o, it := buried(t, name, why)
			want := []DeadItem{{ID: it.ID, Name: name, Size: 4, MTime: it.MTime, Obituary: why}}
			for range 2 {
				got, err := o.Dead(t.Context(), 0)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if s := o.Stats(); s.Dead != 1 || s.Claimed != 0 {
					t.Errorf("stats %+v", s)
				}
				_ = o.Close()
				o = d.mustOpen()
			}
			if got := o.Marks(); !slices.Equal(got, []Mark{{it.ID.Epoch, Closed}}) {
				t.Errorf("marks %v", got)
			}
			if err := o.RemoveDead(t.Context(), it.ID); err != nil {
				t.Fatal(err)
			}
			if got := d.names(".relay", "dead"); len(got) != 0 || o.Stats().Dead != 0 {
				t.Errorf("left: %v", got)
			}
			if err := o.RemoveDead(t.Context(), it.ID); !errors.Is(err, ErrNoDead) {
				t.Errorf("removed twice: %v", err)
			}
		})
	}
}

func TestDeadIsBoundedByItsLimit(t *testing.T) {
	d := newOutboxDir(t)
	for _, name := range []string{"a", "b", "c"} {
		d.write(name, name)
	}
	o := d.mustOpen()
	for _, it := range mustPick(t, o, 3) {
		if err := o.Bury(t.Context(), it, Obituary{Code: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := o.Dead(t.Context(), 2); err != nil || len(got) != 2 {
		t.Errorf("%d, %v", len(got), err)
	}
}

func TestRetryOfWhatNobodyHasIsAFreshClaim(t *testing.T) {
	d, o, it := buried(t, "a", Obituary{Code: "max-age", Cluster: "c", Owed: []string{"x"}})
	if err := o.Retry(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	if got := mustClaimed(t, o); len(got) != 0 {
		t.Errorf("listed before it was picked: %v", got)
	}
	again := mustPick(t, o, 1)[0]
	if again.ID == it.ID || again.Bound != "" || mustRead(t, o, again) != "text" {
		t.Errorf("retried as %+v", again)
	}
	if got := d.names(".relay", "dead"); len(got) != 0 || o.Stats().Dead != 0 {
		t.Errorf("dead after the retry: %v", got)
	}
	if err := o.Retry(t.Context(), it.ID); !errors.Is(err, ErrNoDead) {
		t.Errorf("second retry: %v", err)
	}
}

func TestRetryOfWhatSomeHaveGoesToTheOthers(t *testing.T) {
	d, o, it := buried(t, "a", Obituary{Cluster: "c", Delivered: []string{"x"}, Owed: []string{"y", "z"}})
	if err := o.Retry(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	items := mustPick(t, o, 2)
	bound := []string{items[0].Bound, items[1].Bound}
	slices.Sort(bound)
	if !slices.Equal(bound, []string{"y", "z"}) || items[0].ID == items[1].ID {
		t.Fatalf("retried as %+v", items)
	}
	mustFinish(t, o, items[0])
	if got := mustRead(t, o, items[1]); got != "text" {
		t.Errorf("the other one has %q", got)
	}
	mustFinish(t, o, items[1])
	if got := d.names(".relay", "dead"); len(got) != 0 {
		t.Errorf("dead after the retry: %v", got)
	}
}

func TestLinkedClaimsAreArchivedOnce(t *testing.T) {
	d := newOutboxDir(t)
	archive := newOutboxDir(t)
	d.write("a", "text")
	o := d.mustOpen(func(c *OutboxConfig) { c.Archive = archive.path })
	it := mustPick(t, o, 1)[0]
	if err := o.Bury(t.Context(), it, Obituary{Delivered: []string{"x"}, Owed: []string{"y", "z"}}); err != nil {
		t.Fatal(err)
	}
	if err := o.Retry(t.Context(), it.ID); err != nil {
		t.Fatal(err)
	}
	mustFinish(t, o, mustPick(t, o, 2)...)
	if got := archive.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("archive %v", got)
	}
}

func TestRetryWithoutAReasonIsRefused(t *testing.T) {
	d, o, it := buried(t, "a", Obituary{Delivered: []string{"x"}})
	if err := o.Retry(t.Context(), it.ID); err == nil {
		t.Error("retried though everybody has it")
	}
	if err := os.Remove(d.at(".relay", "dead", it.claimName()+".json")); err != nil {
		t.Fatal(err)
	}
	if err := o.Retry(t.Context(), it.ID); !errors.Is(err, ErrObituary) {
		t.Errorf("got %v, want ErrObituary", err)
	}
	got, err := o.Dead(t.Context(), 0)
	if err != nil || len(got) != 1 || got[0].Obituary.Reason == "" {
		t.Errorf("listed as %+v, %v", got, err)
	}
}

func TestAnOrphanReasonIsRemovedAtOpen(t *testing.T) {
	d, o, it := buried(t, "a.json", Obituary{Code: "x"})
	_ = o.Close()
	// As a crash between B1 and B2 leaves it.
	dead := d.at(".relay", "dead", it.claimName())
	if err := os.Rename(dead, d.at(".relay", "claimed", it.claimName())); err != nil {
		t.Fatal(err)
	}
	o = d.mustOpen()
	if got := d.names(".relay", "dead"); len(got) != 0 || o.Stats().Dead != 0 {
		t.Errorf("dead: %v", got)
	}
	if got := mustClaimed(t, o); len(got) != 1 || got[0].ID != it.ID {
		t.Errorf("claimed %v", got)
	}
}

func TestAReasonFileIsKnownByWhatLiesBesideIt(t *testing.T) {
	d, o, it := buried(t, "a.json", Obituary{Code: "x"})
	reason := d.at(".relay", "dead", it.claimName()+".json")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		got, err := o.Dead(t.Context(), 0)
		if err != nil || len(got) != 1 || got[0].Name != "a.json" {
			t.Errorf("%s: %+v, %v", when, got, err)
		}
	}
	// A payload that poses as the reason of another file with its own id.
	pose := `{"format":1,"id":"` + it.ID.String() + `","name":"a"}`
	must(os.WriteFile(d.at(".relay", "dead", it.claimName()), []byte(pose), 0o640))
	check("a payload that looks like a reason")
	must(os.WriteFile(reason, []byte("{"), 0o640))
	check("a damaged reason")
	_ = o.Close()
	o = d.mustOpen()
	check("after a reopen")
	if _, err := os.Stat(reason); err != nil {
		t.Errorf("the damaged reason is gone: %v", err)
	}
}
