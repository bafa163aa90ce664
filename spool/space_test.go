//go:build unix

package spool

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFullIsSaidBeforeTheBytesCome(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd, func(c *InboxConfig) { c.ReserveBytes = 100 })
	fd.setSpace(func(space) space { return space{FreeBytes: 1000, TotalBytes: 1 << 40} })
	begin := func(seq uint64, size int64) (*Staging, error) {
		return in.Begin(t.Context(), Arrival{Key: testID(seq), Name: "a", Size: size})
	}
	_, err := begin(1, 901)
	wantErr(t, "too large", err, ErrFull)
	s1, err := begin(1, 900)
	wantErr(t, "fits", err, nil)
	_, err = begin(2, 1)
	wantErr(t, "all is promised", err, ErrFull)
	mustFill(t, s1, strings.Repeat("x", 400)) // the file system accounts for these now
	s2, err := begin(2, 400)
	wantErr(t, "written bytes are no longer promised", err, nil)
	wantErr(t, "drop", errors.Join(s1.Drop(), s2.Drop()), nil)
	want(t, "promised in the end", in.room.promised, 0)
	want(t, "stage", below(t, dir, stageDir), []string{})
}

func TestDefaultReserveAndInodes(t *testing.T) {
	for _, c := range []struct {
		sp  space
		err error
	}{
		{space{FreeBytes: 10, TotalBytes: 1000}, nil},
		{space{FreeBytes: 9, TotalBytes: 1000}, ErrFull},
		{space{FreeBytes: 256 << 20, TotalBytes: 1 << 50}, nil},
		{space{FreeBytes: 256<<20 - 1, TotalBytes: 1 << 50}, ErrFull},
		{space{FreeBytes: 1 << 40, TotalBytes: 1 << 40, FreeInodes: 17, TotalInodes: 64}, nil},
		{space{FreeBytes: 1 << 40, TotalBytes: 1 << 40, FreeInodes: 16, TotalInodes: 64}, ErrFull},
		{space{FreeBytes: 1 << 40, TotalBytes: 1 << 40, FreeInodes: 1000, TotalInodes: 1_000_000}, ErrFull},
		{space{}, nil}, // a file system that tells nothing
	} {
		fd := newFaultDisk(t)
		in := mustFaultInbox(t, memDir(t), fd, func(cfg *InboxConfig) { cfg.ReserveBytes = 0 })
		fd.setSpace(func(space) space { return c.sp })
		s, err := in.Begin(t.Context(), Arrival{Name: "a", Size: 0})
		wantErr(t, fmt.Sprintf("%+v", c.sp), err, c.err)
		if err == nil {
			wantErr(t, "drop", s.Drop(), nil)
		}
	}
}

func TestUnknownSizeStopsWhenTheDiskFillsUp(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	s := mustBegin(t, in, Arrival{Name: "a", Size: -1})
	chunk := strings.Repeat("x", 1<<20)
	mustFill(t, s, chunk)
	fd.setSpace(func(space) space { return space{FreeBytes: 1, TotalBytes: 1 << 40} })
	_, err := s.Write([]byte(chunk))
	wantErr(t, "write", err, ErrFull)
	_, err = s.Publish(t.Context())
	wantErr(t, "publish", err, ErrFull)
	want(t, "stage", below(t, dir, stageDir), []string{})
}

func TestEveryWayToFindTheDiskFull(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	for _, kind := range []string{"create", "write", "reserve", "sync", "rename"} {
		dir, fd := memDir(t), newFaultDisk(t)
		in := mustFaultInbox(t, dir, fd)
		for range 2 { // which is no reason to take the disk for a dying one
			fd.failWhen(on(kind, "", func() error { return syscall.ENOSPC }))
			_, err := put(in, arrival(testID(1), "a", big), big)
			wantErr(t, kind, err, ErrFull)
		}
		want(t, kind+": files", files(t, dir), "")
		want(t, kind+": reason", in.Stats().Reason, "")
		if kind != "rename" {
			want(t, kind+": stage", below(t, dir, stageDir), []string{})
		}
		mustPut(t, in, testID(1), "a", big)
		want(t, kind+": promised", in.room.promised, 0)
	}
}

// An upload that nobody goes on with makes room for one that is going on.
func TestAbandonedPartialsMakeRoom(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	now := time.Now()
	in := mustFaultInbox(t, dir, fd, func(c *InboxConfig) { c.seams.now = func() time.Time { return now } })
	keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
	fd.setSpace(func(sp space) space {
		if in.Stats().Partials > 0 {
			sp.FreeBytes = 0
		}
		return sp
	})
	_, err := in.Begin(t.Context(), arrival(testID(2), "b", "x"))
	wantErr(t, "full", err, ErrFull)
	want(t, "young partials stay", in.Stats().Partials, 1)
	now = now.Add(partialAge + time.Minute)
	mustPut(t, in, testID(2), "b", "x")
	want(t, "abandoned", in.Stats().Abandoned, 1)
}

// The room that was reserved for a large file is given back while nobody sends
// it, be it kept or found after a kill.
func TestReservedRoomIsGivenBack(t *testing.T) {
	const whole = 32 << 20
	a := Arrival{Key: testID(1), Name: "a", Size: whole, Digest: &Digest{}}
	for _, how := range []string{"kept", "killed"} {
		dir := memDir(t)
		in := mustInbox(t, dir)
		used := func() int64 {
			t.Helper()
			st, err := in.dirs.stage.Stat(testID(1))
			if err != nil {
				t.Fatal(err)
			}
			return st.Used
		}
		s := mustBegin(t, in, a)
		if used() < whole {
			t.Skip("nothing is reserved here")
		}
		mustFill(t, s, strings.Repeat("x", 2<<20))
		if how == "kept" {
			wantErr(t, how, s.Keep(), nil)
		} else {
			mustClose(t, in)
			wantErr(t, "drop after close", s.Drop(), nil)
			in = mustInbox(t, dir)
		}
		want(t, how+": room", used(), 2<<20)
		p, err := in.Progress(t.Context(), a.Key)
		want(t, how+": progress", fmt.Sprint(p.Offset, err), "2097152 <nil>")
	}
}

// A cut costs at most 8 MiB: what lies further back was synced on the way.
func TestLargeFilesAreSyncedOnTheWay(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	const size = 21 << 20
	s := mustBegin(t, in, Arrival{Key: testID(1), Name: "a", Size: 64 << 20, Digest: &Digest{}})
	chunk := make([]byte, 64<<10)
	for range size / len(chunk) {
		if _, err := s.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	fd.cutPower()
	wantErr(t, "keep", s.Keep(), errPowerCut)
	_ = in.Close()
	fd.restore(nil, dir)
	in = mustFaultInbox(t, dir, fd)
	p, err := in.Progress(t.Context(), testID(1))
	if err != nil || p.Offset < size-8<<20 || p.Offset > size {
		t.Errorf("progress after the cut: %+v, %v", p, err)
	}
}
