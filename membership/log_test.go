package membership

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// drain writes what a bridge has queued.
func (b *bridge) drain() {
	for len(b.lines) > 0 {
		b.write(<-b.lines)
	}
}

func TestLinesOfTheLibraryGetTheirLevel(t *testing.T) {
	for in, want := range map[string]struct {
		level slog.Level
		text  string
	}{
		"[DEBUG] memberlist: Using dynamic bind port 1\n": {slog.LevelDebug, "Using dynamic bind port 1"},
		"[INFO] memberlist: Suspect a has failed\n":       {slog.LevelDebug, "Suspect a has failed"},
		"[WARN] memberlist: Refuting a suspect message":   {slog.LevelWarn, "Refuting a suspect message"},
		"[ERR] memberlist: Push/Pull with a failed: x":    {slog.LevelWarn, "Push/Pull with a failed: x"},
		"[ERROR] memberlist: x":                           {slog.LevelWarn, "x"},
		"[ERR] memberlist: failed to receive: EOF from=x": {slog.LevelDebug, "failed to receive: EOF from=x"},
		"[WARN] memberlist: ignoring alive message for x": {slog.LevelDebug, "ignoring alive message for x"},
		"Err: Could not set the deadline: x":              {slog.LevelWarn, "Err: Could not set the deadline: x"},
		"[":                                               {slog.LevelWarn, "["},
		"":                                                {slog.LevelWarn, ""},
	} {
		if level, text := parseLine([]byte(in)); level != want.level || text != want.text {
			t.Errorf("%q: got %v %q", in, level, text)
		}
	}
}

// A key that is also slog's own breaks those who read the log by key.
func TestNoAttributeHasAKeyOfSlog(t *testing.T) {
	var out bytes.Buffer
	b := newBridge(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	b.logger().Printf("[WARN] memberlist: time=1 level=2 msg=3 source=4")
	b.log(slog.LevelInfo, "member is alive", memberAttrs(Member{Meta: fullMeta()})...)
	b.drain()
	for text := range strings.SplitSeq(strings.TrimSpace(out.String()), "\n") {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"time", "level", "msg", "source"} {
			if n := strings.Count(text, `"`+key+`":`); n > 1 {
				t.Errorf("%q %d times in %s", key, n, text)
			}
		}
	}
}

func TestLinesThatRepeatAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := newBridge(slog.New(slog.NewTextHandler(&out, nil)))
		for i := range 600 {
			b.logger().Printf("[ERR] memberlist: Failed to send UDP ping: try %d", i)
			b.drain()
			time.Sleep(time.Second / 5)
		}
		if n := strings.Count(out.String(), "Failed to send"); n != 2 {
			t.Errorf("logged %d times in two minutes, want 2", n)
		}
		for i := range 10 * maxKinds {
			b.repeated(fmt.Sprintf("kind %d: x", i))
		}
		if len(b.repeats) > maxKinds {
			t.Errorf("%d kinds are kept", len(b.repeats))
		}
	})
}

// The library logs with its locks held: a log that hangs must not hold it up.
func TestALogThatHangsHoldsUpNobody(t *testing.T) {
	var out bytes.Buffer
	b := newBridge(slog.New(slog.NewTextHandler(&out, nil)))
	for i := range bridgeLines + 10 {
		b.log(slog.LevelInfo, "member is alive", slog.Int("i", i)) // nobody reads
	}
	b.drain()
	if !strings.Contains(out.String(), `msg="lines of the log were dropped" lines=10`) {
		t.Errorf("the loss is not told:\n%s", out.String()[max(0, out.Len()-300):])
	}
}

func TestALongLineIsCut(t *testing.T) {
	var out bytes.Buffer
	b := newBridge(slog.New(slog.NewTextHandler(&out, nil)))
	b.logger().Printf("[WARN] memberlist: %s", strings.Repeat("x", 10*maxLine))
	b.drain()
	if out.Len() > maxLine+200 {
		t.Errorf("%d bytes", out.Len())
	}
}

func TestErrorsOfTheLibraryBecomeOneLine(t *testing.T) {
	err := fmt.Errorf("1 error occurred:\n\t* failed to join a: refused\n\n\n2 errors occurred:\n\t* b\n\t* c\n")
	if got := plain(err); got != "failed to join a: refused; b; c" {
		t.Errorf("got %q", got)
	}
	if got := plain(fmt.Errorf("%s", strings.Repeat("ü", 1000))); len(got) > 410 {
		t.Errorf("%d bytes", len(got))
	}
}
