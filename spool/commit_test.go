//go:build unix

package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func waitBack(t testing.TB, in *Inbox) {
	t.Helper()
	waitFor(t, "inbox comes back", func() (any, bool) { s := in.Stats(); return s, s.Reason == "" })
}

// on returns a fault that does something, or fails, at the first change of a
// kind whose name contains a text.
func on(kind, name string, do func() error) func(diskOp) error {
	done := false
	return func(op diskOp) error {
		if done || op.Kind != kind || !strings.Contains(op.Name, name) {
			return nil
		}
		done = true
		return do()
	}
}

func mustFaultInbox(t testing.TB, dir string, fd *faultDisk, change ...func(*InboxConfig)) *Inbox {
	t.Helper()
	in, err := faultInbox(dir, fd, change...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

// A name that is taken between the look and the rename: the receipt has the
// second name, and the ledger has it before the file does.
func TestNameTakenWhileCommitting(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	fd.failWhen(on("committed", "", func() error { mustWrite(t, filepath.Join(dir, "a"), "quick"); return nil }))
	first := mustPut(t, in, testID(1), "a", "text")
	want(t, "published as", first.PublishedAs, "a~1")
	fd.cutPower()
	_ = in.Close()
	fd.restore(nil, dir)
	want(t, "files", files(t, dir), "a=quick a~1=text")
	in = mustFaultInbox(t, dir, fd)
	p, err := in.Progress(t.Context(), testID(1))
	if err != nil || p.Receipt == nil || p.Receipt.PublishedAs != "a~1" {
		t.Errorf("after a restart: %+v, %v", p.Receipt, err)
	}
}

func TestNameTakenWhileCommittingUnderReject(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd, func(c *InboxConfig) { c.OnConflict = ConflictReject })
	fd.failWhen(on("committed", "", func() error { mustWrite(t, filepath.Join(dir, "a"), "quick"); return nil }))
	_, err := put(in, arrival(testID(1), "a", "a longer text"), "a longer text")
	wantErr(t, "put", err, ErrNameTaken)
	want(t, "stage", below(t, dir, stageDir), []string{})
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, in)
	mustFaultInbox(t, dir, fd)
	want(t, "refused item after a restart", files(t, dir), "")
}

// No room in the directory: the item is refused for good, so that its sender
// may go elsewhere, and its bytes are not sent again.
func TestNoRoomForTheName(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	text := "long enough to keep"
	fd.failWhen(func(op diskOp) error {
		if op.Kind == "rename" && filepath.Base(op.Dir) == stageDir {
			return syscall.ENOSPC
		}
		return nil
	})
	_, err := put(in, arrival(testID(1), "a", text), text)
	wantErr(t, "put", err, ErrFull)
	rows, err := in.ledger.Load().prepared()
	want(t, "prepared rows of a refused item", fmt.Sprint(len(rows), err), "0 <nil>")
	want(t, "reason", in.Stats().Reason, "")
	p, err := in.Progress(t.Context(), testID(1))
	want(t, "progress", fmt.Sprint(p.Offset, p.Size, p.Receipt == nil, err), "19 19 true <nil>")
	fd.failWhen(nil)
	s, err := in.Resume(t.Context(), arrival(testID(1), "a", text), 19)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "files", files(t, dir), "a="+text)
}

// A commit that fails is in doubt. While the ledger can't be read the sender is
// told so; when it can, the item is published or refused as the ledger says.
func TestCommitInDoubt(t *testing.T) {
	for _, c := range []struct {
		what    string
		op      string
		cause   error
		more    int // changes that fail after it, so that coming back fails
		err     error
		present bool
	}{
		{"not written, at once readable", "commit", syscall.EIO, 0, ErrIO, false},
		{"no room, at once readable", "commit", syscall.ENOSPC, 0, ErrFull, false},
		{"written, at once readable", "committed", syscall.EIO, 0, nil, true},
		{"not written, not readable", "commit", syscall.EIO, 2, ErrInDoubt, false},
		{"written, not readable", "committed", syscall.EIO, 2, ErrInDoubt, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir, fd := memDir(t), newFaultDisk(t)
			in := mustFaultInbox(t, dir, fd)
			left := -1
			fd.failWhen(func(op diskOp) error {
				if op.Kind == c.op && left < 0 {
					left = c.more + 1
				}
				if left > 0 {
					left--
					return c.cause
				}
				return nil
			})
			_, err := put(in, arrival(testID(1), "a", "text"), "text")
			wantErr(t, "put", err, c.err)
			waitBack(t, in)
			if c.present {
				want(t, "files", files(t, dir), "a=text")
			} else {
				want(t, "files", files(t, dir), "")
			}
			_, err = put(in, arrival(testID(1), "a", "text"), "text")
			if _, ok := errors.AsType[*DeliveredError](err); ok != c.present || !ok && err != nil {
				t.Errorf("sent again: %v", err)
			}
			want(t, "files", files(t, dir), "a=text")
		})
	}
}

// No room for anything, not even a test file: that is no dying disk. Items are
// refused one by one, and things go on by themselves when there is room.
func TestNoRoomForAnything(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	fd.failWhen(func(op diskOp) error {
		if op.Kind == "commit" || op.Kind == "create" && op.Name == probeName {
			return syscall.ENOSPC
		}
		return nil
	})
	for range 3 {
		_, err := put(in, arrival(testID(1), "a", "text"), "text")
		wantErr(t, "put", err, ErrFull)
		want(t, "reason", in.Stats().Reason, "")
	}
	mustClose(t, in)
	in = mustFaultInbox(t, dir, fd)
	fd.failWhen(nil)
	mustPut(t, in, testID(1), "a", "text")
}

func TestInboxThatCantBeSyncedIsInDoubtUntilItCan(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	broken := true
	fd.failWhen(func(op diskOp) error {
		if broken && op.Kind == "dirsync" && op.Dir == dir {
			return syscall.EIO
		}
		return nil
	})
	_, err := put(in, arrival(testID(1), "a", "text"), "text")
	wantErr(t, "put", err, ErrInDoubt)
	_, err = put(in, arrival(testID(2), "b", "text"), "text")
	wantErr(t, "another", err, ErrUnavailable)
	_, err = in.Progress(t.Context(), testID(1))
	wantErr(t, "progress", err, ErrUnavailable)
	if in.Stats().Reason == "" {
		t.Error("no reason")
	}
	fd.failWhen(nil)
	waitBack(t, in)
	_, err = put(in, arrival(testID(1), "a", "text"), "text")
	if _, ok := errors.AsType[*DeliveredError](err); !ok {
		t.Errorf("sent again: %v", err)
	}
}

func TestFailedFileSyncCostsOneItemAndTwoStopTheInbox(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	in := mustFaultInbox(t, dir, fd, func(c *InboxConfig) { c.seams.now = func() time.Time { return now } })
	fail := func(op diskOp) error {
		if op.Kind == "sync" {
			return syscall.EIO
		}
		return nil
	}
	fd.failWhen(fail)
	text := "long enough to keep, but its bytes are gone"
	_, err := put(in, arrival(testID(1), "a", text), text)
	wantErr(t, "first", err, ErrIO)
	want(t, "stage", below(t, dir, stageDir), []string{})
	want(t, "reason after one", in.Stats().Reason, "")
	now = now.Add(syncFailureWindow)
	_, err = put(in, arrival(testID(1), "a", text), text)
	wantErr(t, "a minute later", err, ErrIO)
	want(t, "reason a minute later", in.Stats().Reason, "")
	now = now.Add(syncFailureWindow - 1)
	_, err = put(in, arrival(testID(1), "a", text), text)
	wantErr(t, "second within a minute", err, ErrIO)
	_, err = put(in, arrival(testID(1), "a", text), text)
	wantErr(t, "after two", err, ErrUnavailable)
	fd.reset()
	waitFor(t, "three test files", func() (any, bool) { // none of them can be synced
		n := 0
		for _, op := range fd.ops() {
			if op.Kind == "create" && op.Name == probeName {
				n++
			}
		}
		return n, n >= 3
	})
	if in.Stats().Reason == "" {
		t.Error("the inbox came back on a disk that can't sync")
	}
	fd.failWhen(nil)
	waitBack(t, in)
	mustPut(t, in, testID(1), "a", text)
	want(t, "sync failures", in.Stats().SyncFailures, 3)
}

func TestInboxDirectoryIsSwappedWhileRunning(t *testing.T) {
	dir, fd := filepath.Join(memDir(t), "inbox"), newFaultDisk(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	in := mustFaultInbox(t, dir, fd)
	aside := dir + ".old"
	swap := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	swap(dir, aside)
	_, err := put(in, arrival(testID(1), "a", "text"), "text")
	wantErr(t, "directory is gone", err, ErrUnavailable)
	if err := os.Symlink(t.TempDir(), dir); err != nil {
		t.Fatal(err)
	}
	if in.Stats().Reason == "" {
		t.Error("no reason")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	swap(aside, dir)
	waitBack(t, in)
	mustPut(t, in, testID(1), "a", "text")
	want(t, "files", files(t, dir), "a=text")

	swap(filepath.Join(dir, relayDir), aside)
	if err := os.Mkdir(filepath.Join(dir, relayDir), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = put(in, arrival(testID(2), "b", "text"), "text")
	wantErr(t, ".relay is swapped", err, ErrUnavailable)
	if err := os.Remove(filepath.Join(dir, relayDir)); err != nil {
		t.Fatal(err)
	}
	swap(aside, filepath.Join(dir, relayDir))
	waitBack(t, in)
}

// Items that wait for each other's group share its transaction.
func TestGroupsAreShared(t *testing.T) {
	in := mustInbox(t, memDir(t))
	const n = 50
	held, free := make(chan struct{}), make(chan struct{})
	in.ledger.Load().wrap = func(write func() error) error {
		select {
		case held <- struct{}{}:
		default:
		}
		<-free
		return write()
	}
	errs := make(chan error)
	send := func(i int) {
		_, err := put(in, arrival(testID(uint64(i)), fmt.Sprint("f", i), "text"), "text")
		errs <- err
	}
	go send(1)
	<-held // the first group is in its transaction
	for i := 2; i <= n; i++ {
		go send(i)
	}
	waitFor(t, "all wait", func() (any, bool) {
		in.commit.mu.Lock()
		defer in.commit.mu.Unlock()
		return len(in.commit.waiting), len(in.commit.waiting) == n-1
	})
	close(free)
	for range n {
		wantErr(t, "put", <-errs, nil)
	}
	want(t, "groups", in.Stats().Groups, 2)
}

// A caller that goes away takes its item out of the next group, but not out of
// one that has begun.
func TestCancelledPublish(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir, func(c *InboxConfig) { c.ResumeBytes = 8 })
	begun, free := make(chan struct{}), make(chan struct{})
	in.ledger.Load().wrap = func(write func() error) error {
		begun <- struct{}{}
		<-free
		return write()
	}
	text := "long enough to keep"
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, second := make(chan error), make(chan error)
	for i, answer := range []chan error{first, second} {
		s, err := in.Begin(t.Context(), arrival(testID(uint64(i+1)), "a", text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := s.Publish(ctx)
			answer <- err
		}()
		if i == 0 {
			<-begun
		}
	}
	waitFor(t, "second waits", func() (any, bool) {
		in.commit.mu.Lock()
		defer in.commit.mu.Unlock()
		return len(in.commit.waiting), len(in.commit.waiting) == 1
	})
	cancel()
	wantErr(t, "second", <-second, ctx.Err())
	p, err := in.Progress(t.Context(), testID(2))
	want(t, "second is kept", fmt.Sprint(p.Offset, err), fmt.Sprint(len(text), nil))
	close(free)
	wantErr(t, "first", <-first, nil)
	go func() { // the last write of Close
		for range begun {
		}
	}()
	want(t, "files", files(t, dir), "a="+text)
	mustClose(t, in)
	close(begun)
}
