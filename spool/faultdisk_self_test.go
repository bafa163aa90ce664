//go:build unix

package spool

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The layer must forget exactly what a disk may forget, or the tests on it
// prove nothing.
func TestFaultDiskForgetsWhatWasNotSynced(t *testing.T) {
	for _, c := range []struct {
		what  string
		steps func(d, sub dir, f file) error
		want  string
	}{
		{"nothing synced", func(_, _ dir, f file) error { return nil }, "old=before"},
		{"only the bytes", func(_, _ dir, f file) error { return f.Sync() }, "old=before"},
		{"only the name", func(d, _ dir, f file) error { return d.Sync() }, "new= old=before"},
		{"both", func(d, _ dir, f file) error { return errorsOf(f.Sync(), d.Sync()) }, "new=text old=before"},
		{"rename undone", func(d, sub dir, f file) error {
			return errorsOf(f.Sync(), d.Sync(), d.Rename("new", d, "renamed"))
		}, "new=text old=before"},
		{"rename synced", func(d, sub dir, f file) error {
			return errorsOf(f.Sync(), d.Rename("new", d, "renamed"), d.Sync())
		}, "old=before renamed=text"},
		{"rename over another undone", func(d, sub dir, f file) error {
			return errorsOf(f.Sync(), d.Sync(), d.Rename("new", d, "old"))
		}, "new=text old=before"},
		{"remove undone", func(d, _ dir, f file) error { return d.Remove("old") }, "old=before"},
		{"remove synced", func(d, _ dir, f file) error { return errorsOf(d.Remove("old"), d.Sync()) }, "new="},
		{"moved out, target not synced", func(d, sub dir, f file) error {
			return errorsOf(f.Sync(), d.Sync(), d.Rename("old", sub, "x"), d.Sync())
		}, "new=text old=before"},
		{"moved out, target synced", func(d, sub dir, f file) error {
			return errorsOf(f.Sync(), d.Sync(), d.Rename("old", sub, "x"), sub.Sync())
		}, "new=text"},
	} {
		root, fd := memDir(t), newFaultDisk(t)
		mustWrite(t, filepath.Join(root, "old"), "before")
		d, err := fd.open(root)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := d.Sub(relayDir, true)
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Create("new", 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write([]byte("text"))
		wantErr(t, c.what, errorsOf(err, c.steps(d, sub, f)), nil)
		fd.cutPower()
		wantErr(t, c.what+": after the cut", d.Sync(), errPowerCut)
		_ = errorsOf(f.Close(), sub.Close(), d.Close())
		fd.restore(nil, root)
		want(t, c.what, files(t, root), c.want)
	}
}

func TestFaultDiskFailsTheNthChange(t *testing.T) {
	root, fd := memDir(t), newFaultDisk(t)
	d, err := fd.open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	fd.failAt(2, syscall.ENOSPC)
	f, err := d.Create("a", 0o600)
	wantErr(t, "first", err, nil)
	n, err := f.Write([]byte("text"))
	wantErr(t, "second", err, syscall.ENOSPC)
	want(t, "bytes of a write without space", n, 2)
	wantErr(t, "third", f.Close(), nil)
	wantErr(t, "fourth", d.Remove("a"), nil)
	want(t, "trace", len(fd.ops()), 3) // closing is no change
	_, err = os.Stat(filepath.Join(root, "a"))
	wantErr(t, "removed", err, os.ErrNotExist)
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
