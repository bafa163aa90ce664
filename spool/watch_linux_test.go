package spool

import (
	"encoding/binary"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func rawEvent(mask uint32, name string) []byte {
	buf := make([]byte, unix.SizeofInotifyEvent+16)
	binary.NativeEndian.PutUint32(buf[4:], mask)
	binary.NativeEndian.PutUint32(buf[12:], 16)
	copy(buf[unix.SizeofInotifyEvent:], name)
	return buf
}

func TestAnOverflowOfTheSystemsQueueLeadsToAPass(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen(watched)
	mustPickNothing(t, o)
	buf := append(rawEvent(unix.IN_MOVED_TO, "before"), rawEvent(unix.IN_Q_OVERFLOW, "")...)
	buf = append(buf, rawEvent(unix.IN_CREATE, "after")...)
	if !o.watch.apply(buf) {
		t.Error("nobody is woken")
	}
	if name, kind, _ := o.hints.next(); name != "after" || kind != hintCreated {
		t.Errorf("kept %s", name)
	}
	if _, err := o.Pick(t.Context(), 1, admitAll); err != nil {
		t.Fatal(err)
	}
	if o.tally.gen != 2 {
		t.Errorf("%d passes, want a second one", o.tally.gen)
	}
}

func TestALostWatchIsSaid(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen(watched)
	o.watch.apply(rawEvent(unix.IN_IGNORED, ""))
	if fb := o.Stats().Fallbacks; len(fb) != 1 {
		t.Errorf("fallbacks %q", fb)
	}
}

func TestWithoutAWatchTheOutboxSaysSo(t *testing.T) {
	d := newOutboxDir(t)
	o := d.mustOpen()
	o.noteUnwatched(fmt.Errorf("no more watches"))
	if fb := o.Stats().Fallbacks; len(fb) != 1 {
		t.Errorf("fallbacks %q", fb)
	}
	d.write("a", "1")
	mustPick(t, o, 1)
}

// mustWatchByHand watches without the goroutine that reads events by itself.
func (o *Outbox) mustWatchByHand(t *testing.T) {
	t.Helper()
	w, err := newWatcher(o)
	if err != nil {
		t.Fatal(err)
	}
	o.watch = w
}
