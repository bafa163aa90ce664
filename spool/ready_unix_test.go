//go:build unix

package spool

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

var errCrossDevice = unix.EXDEV

func TestAnUnreadableFileStaysWithAReason(t *testing.T) {
	if unix.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	for _, m := range []Readiness{ReadyAuto, ReadyRename, ReadyQuiet, ReadyDoneFile} {
		d := newOutboxDir(t)
		o := d.mustOpen(mode(m), watched)
		d.write(".a", "1")
		d.write("a.done", "")
		if err := os.Chmod(d.at(".a"), 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(d.at(".a"), d.at("a")); err != nil {
			t.Fatal(err)
		}
		if m != ReadyDoneFile {
			if err := os.Remove(d.at("a.done")); err != nil {
				t.Fatal(err)
			}
		}
		mustStay(t, o, "a", whyUnread+unix.EACCES.Error())
		for range 5 {
			mustPickNothing(t, o)
		}
		if names := d.names(); !slices.Contains(names, "a") || o.Stats().Claimed != 0 {
			t.Errorf("%s: left %v, stats %+v", m, names, o.Stats())
		}
	}
}
