package spool

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestRefusalsStayWithAReason(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	d.write("good", "1")
	d.write("bad\nname", "1")
	d.write("bad\u202ebidi", "1")
	d.write(strings.Repeat("x", 201), "1")
	d.write("bad\xffutf8", "1")
	d.write(".hidden", "1")
	d.write("a.tmp", "1")
	d.write("b.part", "1")
	d.write("c.partial", "1")
	d.write("d~", "1")
	d.write("linked", "1")
	d.write("filtered", "1")
	d.write("unwanted", "1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Link(d.at("linked"), d.at(".other-link")))
	must(os.Symlink("good", d.at("symlink")))
	must(os.Mkdir(d.at("directory"), 0o750))
	must(mkfifo(d.at("fifo")))
	before, err := os.ReadDir(d.path)
	must(err)
	for _, watch := range []bool{false, true} {
		o := d.mustOpen(func(c *OutboxConfig) {
			c.Watch = watch
			c.Grace = time.Millisecond
			c.Filter = regexp.MustCompile(`^(filtere[^d]|[^f].*|fifo)$`)
		})
		admit := func(c Candidate) Verdict {
			if c.Name == "unwanted" || c.Name == "good" {
				return Verdict{Reason: "no cluster"}
			}
			return admitAll(c)
		}
		deadline := time.After(20 * time.Second)
		for o.Stats().Rejected[whyLinks].N == 0 {
			got, err := o.Pick(t.Context(), 256, admit)
			must(err)
			if len(got.Items) > 0 {
				t.Fatalf("picked %v", itemNames(got.Items))
			}
			if got.More || o.Stats().Rejected[whyLinks].N > 0 {
				continue
			}
			select {
			case <-o.Wake():
			case <-deadline:
				t.Fatalf("stats %+v", o.Stats())
			}
		}
		s := o.Stats()
		for reason, want := range map[string]int{
			"is a symbolic link": 1, "is a directory": 1, "is a FIFO": 1, whyLinks: 1,
			"bad name: contains a control character (U+000A)":     1,
			"bad name: contains a bidirectional control (U+202E)": 1,
			"bad name: 201 bytes, more than 200":                  1,
			"bad name: not valid UTF-8":                           1,
		} {
			if s.Rejected[reason].N != want {
				t.Errorf("rejected %q: %d, want %d", reason, s.Rejected[reason].N, want)
			}
		}
		if len(s.Rejected) != 8 {
			t.Errorf("rejected %+v", s.Rejected)
		}
		if s.Waiting["no cluster"] != (Count{2, "good"}) || s.Waiting[whyFilter] != (Count{1, "filtered"}) || s.Queued != 3 {
			t.Errorf("queued %d, waiting %+v", s.Queued, s.Waiting)
		}
		must(o.Close())
	}
	after, err := os.ReadDir(d.path)
	must(err)
	if len(after) != len(before)+1 { // .relay
		t.Errorf("before %v, after %v", before, after)
	}
}

func TestAReasonGoesWithItsFile(t *testing.T) {
	d := newOutboxDir(t)
	d.write("a", "1")
	o := d.mustOpen(mode(ReadyRename))
	refuse := func(Candidate) Verdict { return Verdict{Reason: "no cluster"} }
	if _, err := o.Pick(t.Context(), 8, refuse); err != nil {
		t.Fatal(err)
	}
	if s := o.Stats(); s.Waiting["no cluster"].N != 1 || s.OldestS < 0 {
		t.Errorf("stats %+v", s)
	}
	if err := os.Remove(d.at("a")); err != nil {
		t.Fatal(err)
	}
	o.Rescan()
	mustPickNothing(t, o)
	if s := o.Stats(); len(s.Waiting) != 0 || s.Queued != 0 {
		t.Errorf("stats after it is gone: %+v", s)
	}
}

func TestAPassOverRefusedFilesGoesOnBitByBit(t *testing.T) {
	d := newOutboxDir(t)
	for i := range 300 {
		d.write("f"+string(rune('A'+i%26))+strings.Repeat("x", i/26), "")
	}
	limits := defaultLimits
	limits.looks, limits.chunk, limits.notes, limits.count = 50, 16, 20, 64
	o := d.mustOpen(mode(ReadyRename), func(c *OutboxConfig) { c.limits = &limits })
	refuse := func(Candidate) Verdict { return Verdict{Reason: "no cluster"} }
	picks := 0
	for more := true; more; picks++ {
		got, err := o.Pick(t.Context(), 8, refuse)
		if err != nil || len(got.Items) > 0 {
			t.Fatal(got, err)
		}
		more = got.More
		if q := o.Stats().Queued; picks > 6 && q != 300 {
			t.Errorf("pick %d: queued %d", picks, q)
		}
	}
	if picks < 6 || picks > 12 {
		t.Errorf("%d picks for 300 files, 50 looks each", picks)
	}
	if s := o.Stats(); s.Waiting["no cluster"].N != 300 || s.Queued != 300 {
		t.Errorf("stats %+v", s)
	}
}

func TestAReplacedOutboxDirectoryIsNoticed(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	d = outboxDir{t, d.at("out")}
	if err := os.Mkdir(d.path, 0o750); err != nil {
		t.Fatal(err)
	}
	o := d.mustOpen()
	mustPickNothing(t, o)
	if err := errors.Join(os.Rename(d.path, d.path+".old"), os.Mkdir(d.path, 0o750)); err != nil {
		t.Fatal(err)
	}
	o.Rescan()
	if _, err := o.Pick(t.Context(), 1, admitAll); !errors.Is(err, ErrUnsafe) {
		t.Errorf("got %v, want ErrUnsafe", err)
	}
}
