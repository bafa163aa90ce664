package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func mustBegin(t testing.TB, in *Inbox, a Arrival) *Staging {
	t.Helper()
	s, err := in.Begin(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustFill(t testing.TB, s *Staging, text string) {
	t.Helper()
	if _, err := s.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func small(c *InboxConfig) { c.ResumeBytes = 8 }

// keepHalf begins an item and keeps what is before cut.
func keepHalf(t testing.TB, in *Inbox, a Arrival, text string, cut int) {
	t.Helper()
	s := mustBegin(t, in, a)
	mustFill(t, s, text[:cut])
	if err := s.Keep(); err != nil {
		t.Fatal(err)
	}
}

const longText = "a text that is long enough to be cut and gone on with"

func TestResume(t *testing.T) {
	for _, restart := range []bool{false, true} {
		for _, key := range []string{testID(1), "their key"} {
			dir := t.TempDir()
			in := mustInbox(t, dir, small)
			a := arrival(key, "a", longText)
			keepHalf(t, in, a, longText, 20)
			if restart {
				mustClose(t, in)
				in = mustInbox(t, dir, small)
			}
			p, err := in.Progress(t.Context(), key)
			if err != nil || p.Offset != 20 {
				t.Fatalf("progress: %+v, %v", p, err)
			}
			_, err = in.Resume(t.Context(), a, 19)
			if off, ok := errors.AsType[*OffsetError](err); !ok || off.Have != 20 {
				t.Errorf("wrong offset: %v", err)
			}
			s, err := in.Resume(t.Context(), a, 20)
			if err != nil {
				t.Fatal(err)
			}
			mustFill(t, s, longText[20:])
			if _, err := s.Publish(t.Context()); err != nil {
				t.Fatal(err)
			}
			want(t, "files", files(t, dir), "a="+longText)
			_, err = in.Resume(t.Context(), a, 20)
			if _, ok := errors.AsType[*DeliveredError](err); !ok {
				t.Errorf("resume of a published item: %v", err)
			}
		}
	}
}

func TestPartsThatCantBeGoneOnWith(t *testing.T) {
	other := arrival(testID(1), "a", strings.ToUpper(longText))
	offset := func(what string, err error, have int64) {
		t.Helper()
		if off, ok := errors.AsType[*OffsetError](err); !ok || off.Have != have {
			t.Errorf("%s: %v, want OffsetError %d", what, err, have)
		}
	}
	t.Run("nothing kept", func(t *testing.T) {
		in := mustInbox(t, t.TempDir(), small)
		_, err := in.Resume(t.Context(), other, 5)
		offset("resume", err, 0)
	})
	t.Run("other digest", func(t *testing.T) {
		in := mustInbox(t, t.TempDir(), small)
		keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
		_, err := in.Resume(t.Context(), other, 20)
		offset("resume", err, 0)
		s, err := in.Resume(t.Context(), other, 0)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, "drop", s.Drop(), nil)
	})
	t.Run("other digest after a restart", func(t *testing.T) {
		dir := t.TempDir()
		in := mustInbox(t, dir, small)
		keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
		mustClose(t, in)
		in = mustInbox(t, dir, small)
		s, err := in.Resume(t.Context(), other, 20)
		if err != nil {
			t.Fatal(err)
		}
		mustFill(t, s, strings.ToUpper(longText)[20:])
		_, err = s.Publish(t.Context())
		offset("publish", err, 0) // not ErrDigest: the sender's file is right
		_, err = in.Progress(t.Context(), testID(1))
		wantErr(t, "progress", err, ErrUnknown)
	})
	t.Run("smaller after a restart", func(t *testing.T) {
		dir := t.TempDir()
		in := mustInbox(t, dir, small)
		keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
		mustClose(t, in)
		in = mustInbox(t, dir, small)
		_, err := in.Resume(t.Context(), arrival(testID(1), "a", longText[:19]), 20)
		offset("resume", err, 0)
	})
	t.Run("no digest after a restart", func(t *testing.T) {
		dir := t.TempDir()
		in := mustInbox(t, dir, small)
		a := arrival(testID(1), "a", longText)
		keepHalf(t, in, a, longText, 20)
		mustClose(t, in)
		in = mustInbox(t, dir, small)
		a.Digest = nil
		_, err := in.Resume(t.Context(), a, 20)
		offset("resume", err, 0)
	})
	t.Run("too small", func(t *testing.T) {
		in := mustInbox(t, t.TempDir(), small)
		keepHalf(t, in, arrival(testID(1), "a", longText), longText, 7)
		_, err := in.Progress(t.Context(), testID(1))
		wantErr(t, "progress", err, ErrUnknown)
	})
	t.Run("plain", func(t *testing.T) {
		dir := t.TempDir()
		in := mustInbox(t, dir, small)
		keepHalf(t, in, arrival("", "a", longText), longText, 20)
		want(t, "stage", below(t, dir, stageDir), []string{})
	})
	t.Run("begin discards", func(t *testing.T) {
		dir := t.TempDir()
		in := mustInbox(t, dir, small)
		keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
		mustPut(t, in, testID(1), "b", "new")
		want(t, "files", files(t, dir), "b=new")
		want(t, "partials", in.Stats().Partials, 0)
	})
}

func TestShortBodyIsKept(t *testing.T) {
	in := mustInbox(t, t.TempDir(), small)
	s := mustBegin(t, in, arrival(testID(1), "a", longText))
	mustFill(t, s, longText[:20])
	_, err := s.Publish(t.Context())
	wantErr(t, "publish", err, ErrShort)
	p, err := in.Progress(t.Context(), testID(1))
	want(t, "progress", fmt.Sprint(p.Offset, p.Size, err), fmt.Sprint(20, len(longText), nil))
}

func TestResumedFileThatIsLongerOrShorterThanKept(t *testing.T) {
	for _, size := range []int64{19, 25} {
		dir := t.TempDir()
		in := mustInbox(t, dir, small)
		a := arrival(testID(1), "a", longText)
		keepHalf(t, in, a, longText, 20)
		if err := os.Truncate(filepath.Join(dir, relayDir, stageDir, testID(1)), size); err != nil {
			t.Fatal(err)
		}
		s, err := in.Resume(t.Context(), a, 20)
		if size < 20 {
			if off, ok := errors.AsType[*OffsetError](err); !ok || off.Have != 0 {
				t.Errorf("file was cut: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		mustFill(t, s, longText[20:])
		_, err = s.Publish(t.Context())
		wantErr(t, "publish", err, nil)
		want(t, "files", files(t, dir), "a="+longText)
	}
}

func TestAbandonedPartialsGoAfterAWeek(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	clock := func(c *InboxConfig) { small(c); c.seams.now = func() time.Time { return now } }
	in := mustInbox(t, dir, clock)
	a := arrival(testID(1), "a", longText)
	a.MTime = time.Unix(1, 0) // the source's time says nothing about the upload
	keepHalf(t, in, a, longText, 20)
	mustClose(t, in)
	now = now.Add(partialAge - time.Hour)
	in = mustInbox(t, dir, clock)
	want(t, "partials before", in.Stats().Partials, 1)
	mustClose(t, in)
	now = now.Add(2 * time.Hour)
	in = mustInbox(t, dir, clock)
	want(t, "partials after", fmt.Sprint(in.Stats().Partials, in.Stats().Abandoned, below(t, dir, stageDir)), "0 1 []")
}

func TestNoModeFromTheUmask(t *testing.T) {
	dir := t.TempDir()
	in := mustInbox(t, dir, func(c *InboxConfig) { c.FileMode = 0o604 })
	mustPut(t, in, testID(1), "a", "text")
	fi, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "mode", fmt.Sprintf("%o", fi.Mode()), "604")
}

func TestHopsGoWithTheFile(t *testing.T) {
	dir := t.TempDir()
	in := mustInbox(t, dir)
	a := arrival(testID(1), "a", "text")
	a.Hops = "node-1, node-2"
	if _, err := put(in, a, "text"); err != nil {
		t.Fatal(err)
	}
	f, err := in.dirs.root.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if got := f.Tag(); got != a.Hops && got != "" { // "" where there are no attributes
		t.Errorf("hops: %q", got)
	}
}
