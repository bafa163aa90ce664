package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/node"
)

// onTerminal returns a progress that believes to draw on a terminal.
func onTerminal(out, err *bytes.Buffer, width, files int) *progress {
	p := newProgress(out, err, files)
	p.bar, p.width = true, width
	return p
}

func TestProgressDrawsABarOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, err bytes.Buffer
		p := onTerminal(&out, &err, 80, 1)
		p.Expect(10 << 20)
		time.Sleep(time.Second)
		p.Moved(5 << 20)
		want := "\r[==========>         ]  50%  5.0 MiB of 10.0 MiB  5.0 MiB/s  1s left"
		if err.String() != want {
			t.Errorf("drew %q\nwant %q", err.String(), want)
		}
		err.Reset()
		time.Sleep(10 * time.Millisecond)
		p.Moved(1 << 20)
		if err.Len() > 0 {
			t.Errorf("drew %q only 10 ms later", err.String())
		}
		p.done(node.Delivery{File: "a", Name: "a", Size: 10 << 20, Receipts: []httpapi.Receipt{{Collector: "k"}}, Took: 2 * time.Second})
		if want := "a -> k  10.0 MiB in 2.0s\n"; out.String() != want {
			t.Errorf("printed %q, want %q", out.String(), want)
		}
		if erased := strings.TrimRight(err.String(), " "); !strings.HasPrefix(err.String(), "\r  ") || !strings.HasSuffix(erased, "\r") {
			t.Errorf("the bar is not erased: %q", err.String())
		}
	})
}

func TestProgressFitsTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, err bytes.Buffer
		p := onTerminal(&out, &err, 30, 7)
		p.Expect(1 << 40)
		time.Sleep(time.Second)
		p.Moved(1 << 30)
		if n := utf8.RuneCountInString(strings.TrimPrefix(err.String(), "\r")); n >= 30 {
			t.Errorf("%d runes on 30 columns: %q", n, err.String())
		}
	})
}

func TestProgressPrintsPlainLinesElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, err bytes.Buffer
		p := newProgress(&out, &err, 2)
		p.Expect(100 << 20)
		for range 6 {
			time.Sleep(time.Second)
			p.Moved(10 << 20)
		}
		want := "0/2 files   50%  50.0 MiB of 100.0 MiB  10.0 MiB/s  5s left\n"
		if err.String() != want {
			t.Errorf("printed %q\nwant %q", err.String(), want)
		}
	})
}

func TestProgressEscapesNames(t *testing.T) {
	var out, err bytes.Buffer
	p := newProgress(&out, &err, 1)
	p.done(node.Delivery{File: "a\x1b[2Jb\u202e", Errors: map[string]error{"": errors.New("no")}})
	p.Waits("c\r", "k", errors.New("busy"), time.Second)
	if want := "a\\x1b[2Jb\\u202e: not sent: no\nc\\r: k: busy; next try in 1s\n"; err.String() != want {
		t.Errorf("printed %q, want %q", err.String(), want)
	}
}

// A rate of nothing, a retry that starts again and a total of nothing must not
// divide by zero or show more than there is.
func TestProgressSurvivesOddNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, err bytes.Buffer
		p := onTerminal(&out, &err, 80, 1)
		p.Moved(0)
		p.Expect(100)
		for _, n := range []int64{150, -150, -1, 101} {
			time.Sleep(time.Second)
			p.Moved(n)
		}
		if text := err.String(); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || strings.Contains(text, "150%") {
			t.Errorf("drew %q", text)
		}
	})
}
