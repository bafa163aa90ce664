//go:build unix

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestFinishRefusesAChangedFile(t *testing.T) {
	needLinux(t)
	d := newOutboxDir(t)
	f := d.openFor("a", os.O_CREATE)
	appendTo(t, f, "1")
	d.write("b", "1")
	o := d.mustOpen(mode(ReadyRename))
	items := mustPick(t, o, 2)
	slices.SortFunc(items, func(x, y Item) int { return int(x.Name[0]) - int(y.Name[0]) })
	finish := func() []error {
		t.Helper()
		errs, err := o.Finish(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		return errs
	}
	if errs := finish(); !errors.Is(errs[0], ErrBusy) || errs[1] != nil {
		t.Errorf("with a writer: %v", errs)
	}
	sent, err := o.Open(items[0])
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, f, "2")
	if err := sent.Unchanged(); !errors.Is(err, ErrChanged) {
		t.Errorf("unchanged: %v", err)
	}
	_ = sent.Close()
	if errs := finish(); !errors.Is(errs[0], ErrChanged) {
		t.Errorf("after a write: %v", errs)
	}
	_ = f.Close()
	if errs := finish(); !errors.Is(errs[0], ErrChanged) {
		t.Errorf("after the writer is gone: %v", errs)
	}
	again, err := o.Refresh(items[0])
	if err != nil || again.ID != items[0].ID || again.Size != 2 {
		t.Errorf("refreshed %+v, %v", again, err)
	}
	fresh, err := o.Reclaim(t.Context(), items[:1], "c", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRead(t, o, fresh[0]); got != "12" || fresh[0].ID == items[0].ID {
		t.Errorf("reclaimed %+v with %q", fresh[0], got)
	}
	mustFinish(t, o, fresh...)
	if s := o.Stats(); s.Claimed != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestFinishOfManyFilesSyncsEachDirectoryOnce(t *testing.T) {
	d := newOutboxDir(t)
	disk := newFaultDisk(t)
	for i := range 256 {
		d.write(string(rune('A'+i/16))+string(rune('a'+i%16)), "x")
	}
	o := d.mustOpen(mode(ReadyRename), func(c *OutboxConfig) { c.openDir = disk.open })
	disk.reset()
	items := mustPick(t, o, 256)
	if got := opsOfKind(disk, "dirsync") + opsOfKind(disk, "sync"); got != 3 { // claimed/, and the epoch file with its directory
		t.Errorf("%d syncs for a claim of 256: %v", got, disk.ops()[256:])
	}
	bound, err := o.Bind(t.Context(), items[:100], "x")
	if err != nil {
		t.Fatal(err)
	}
	disk.reset()
	mustFinish(t, o, append(bound, items[100:]...)...)
	if got := opsOfKind(disk, "dirsync"); got != 2 || opsOfKind(disk, "sync") != 0 {
		t.Errorf("%d syncs for two directories", got)
	}
}

func opsOfKind(disk *faultDisk, kind string) int {
	n := 0
	for _, op := range disk.ops() {
		if op.Kind == kind {
			n++
		}
	}
	return n
}

func TestFinishGoesOnAfterAFailedSync(t *testing.T) {
	d := newOutboxDir(t)
	disk := newFaultDisk(t)
	d.write("a", "1")
	o := d.mustOpen(func(c *OutboxConfig) { c.openDir = disk.open })
	it := mustPick(t, o, 1)[0]
	errDisk := errors.New("disk on fire")
	disk.failWhen(func(op diskOp) error {
		if op.Kind == "dirsync" {
			return errDisk
		}
		return nil
	})
	if _, err := o.Finish(t.Context(), []Item{it}); !errors.Is(err, errDisk) {
		t.Errorf("got %v", err)
	}
	if got := o.Marks(); len(got) != 0 {
		t.Errorf("marks passed a removal that is not durable: %v", got)
	}
	disk.failWhen(nil)
	mustFinish(t, o, it)
	if got := o.Marks(); !slices.Equal(got, []Mark{{it.ID.Epoch, 1}}) {
		t.Errorf("marks %v", got)
	}
}

func TestFinishedFilesGoToTheArchive(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		name := "on the same file system"
		if elsewhere {
			name = "on another file system"
		}
		t.Run(name, func(t *testing.T) {
			d := newOutboxDir(t)
			archive := newOutboxDir(t)
			disk := newFaultDisk(t)
			if elsewhere {
				disk.failWhen(crossDevice(archive.path))
			}
			o := d.mustOpen(mode(ReadyRename), func(c *OutboxConfig) {
				c.Archive = archive.path
				c.openDir = disk.open
			})
			if o.archiveElsewhere != elsewhere {
				t.Fatalf("archive elsewhere: %v", o.archiveElsewhere)
			}
			mtime := time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC)
			for i, text := range []string{"first", "second", "third"} {
				d.write("a", text)
				if err := os.Chtimes(d.at("a"), time.Time{}, mtime); err != nil {
					t.Fatal(err)
				}
				o.Rescan()
				it := mustPick(t, o, 1)[0]
				if it.ID.Seq != uint64(i+1) {
					t.Fatalf("seq %d", it.ID.Seq)
				}
				mustFinish(t, o, it)
			}
			for name, want := range map[string]string{"a": "first", "a~2": "second", "a~3": "third"} {
				text, err := os.ReadFile(archive.at(name))
				if err != nil || string(text) != want {
					t.Errorf("%s: %q, %v; archive %v", name, text, err, archive.names())
				}
				if fi, err := os.Stat(archive.at(name)); err != nil || !fi.ModTime().Equal(mtime) {
					t.Errorf("%s: %v, %v", name, fi, err)
				}
			}
			if got := d.names(".relay", "claimed"); len(got) != 0 {
				t.Errorf("still claimed: %v", got)
			}
		})
	}
}

// crossDevice fails renames into a directory as those between file systems fail.
func crossDevice(archive string) func(diskOp) error {
	return func(op diskOp) error {
		if op.Kind == "rename" && op.Dir != archive && op.Name == outboxProbe && filepath.Base(op.Dir) == claimedName {
			return errCrossDevice
		}
		return nil
	}
}

func TestACopyInTheArchiveIsNotMadeTwice(t *testing.T) {
	d := newOutboxDir(t)
	archive := newOutboxDir(t)
	disk := newFaultDisk(t)
	disk.failWhen(crossDevice(archive.path))
	d.write("a", "text")
	o := d.mustOpen(func(c *OutboxConfig) { c.Archive = archive.path; c.openDir = disk.open })
	it := mustPick(t, o, 1)[0]
	errDisk := errors.New("disk on fire")
	disk.failWhen(func(op diskOp) error {
		if op.Kind == "remove" && op.Name == it.claimName() {
			return errDisk
		}
		return nil
	})
	errs, err := o.Finish(t.Context(), []Item{it})
	if !errors.Is(errs[0], errDisk) || err != nil {
		t.Errorf("got %v, %v", errs, err)
	}
	disk.failWhen(nil)
	mustFinish(t, o, it)
	if got := archive.names(); !slices.Equal(got, []string{"a"}) {
		t.Errorf("archive %v", got)
	}
}
