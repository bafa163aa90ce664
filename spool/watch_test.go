package spool

import (
	"fmt"
	"testing"
	"time"
)

func TestEventsOverflowingOurQueueLeadToAPass(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	limits := defaultLimits
	limits.events = 4
	o := d.mustOpen(watched, func(c *OutboxConfig) { c.limits = &limits })
	mustPickNothing(t, o)
	for i := range 50 {
		d.moveIn(fmt.Sprint("f", i), "1")
	}
	mustPick(t, o, 50)
	if n := len(o.hints.kinds); n > 4 {
		t.Errorf("%d names kept", n)
	}
}

func TestAWatchedFileIsFoundWithoutAPass(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(watched)
	mustPickNothing(t, o)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = d.mustOpen(watched)
	mustPickNothing(t, o)
	o.picker.mu.Lock()
	pass := o.picker.pass != nil || o.wantPass.Load()
	o.picker.mu.Unlock()
	if pass {
		t.Fatal("a pass is still wanted")
	}
	d.write("written", "1")
	d.moveIn("moved", "1")
	mustPick(t, o, 2)
}

func TestHintsKeepTheLastEventAndTheOrder(t *testing.T) {
	var h hints
	h.init(3)
	for _, e := range []struct {
		name string
		kind hintKind
		wake bool
	}{{"a", hintCreated, true}, {".hidden", hintMoved, false}, {"x.tmp", hintMoved, false}, {"b", hintMoved, true}, {"a", hintNone, true}} {
		if got := h.add(e.name, e.kind); got != e.wake {
			t.Errorf("%s: wake %v", e.name, got)
		}
	}
	if !h.newsOf("a") || h.newsOf("c") || h.len() != 2 {
		t.Error("wrong names")
	}
	if name, kind, ok := h.next(); name != "a" || kind != hintNone || !ok {
		t.Errorf("first %s %v", name, kind)
	}
	h.add("c", hintMoved)
	h.add("d", hintMoved)
	h.add("e", hintMoved) // one too many
	if _, _, ok := h.next(); ok || !h.newsOf("anything") {
		t.Error("names were kept after an overflow; what is known of them may be wrong")
	}
	if !h.takeLost() || h.takeLost() {
		t.Error("an overflow is reported once")
	}
}

func TestAFileThatNeverRestsIsLeftForLater(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen(mode(ReadyQuiet), func(c *OutboxConfig) {
		limits := defaultLimits
		limits.observe = 1
		c.limits, c.Settle = &limits, time.Hour
	})
	d.write("a", "1")
	d.write("b", "1")
	got, err := o.Pick(t.Context(), 8, admitAll)
	if err != nil || got.More {
		t.Fatalf("%+v, %v: the pass must wait for room", got, err)
	}
	o.picker.mu.Lock()
	ob := o.picker.obs.first()
	ob.looks, ob.due = maxLooks, time.Now()
	o.picker.mu.Unlock()
	mustPickNothing(t, o)
	o.picker.mu.Lock()
	defer o.picker.mu.Unlock()
	if now := o.picker.obs.first(); now == nil || now.name == ob.name {
		t.Errorf("observing %+v, still", now)
	}
}

func TestAFileFromAnEventThatIsPausedComesAgain(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	o := d.mustOpen(watched, mode(ReadyRename))
	mustPickNothing(t, o)
	d.moveIn("a", "1")
	asked := 0
	full := func(Candidate) Verdict { asked++; return Verdict{Reason: "full", Pause: true} }
	for paused := false; !paused; {
		got, err := o.Pick(t.Context(), 8, full)
		if err != nil || asked > 5 {
			t.Fatalf("asked %d times, %v", asked, err)
		}
		paused = got.Paused
	}
	got, err := o.Pick(t.Context(), 8, admitAll) // there is room; nobody asked for a rescan
	if err != nil || len(got.Items) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
