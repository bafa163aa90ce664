//go:build root && linux

package main_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needRoot skips a test that cannot mount file systems.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts file systems")
	}
}

// mountTmpfs mounts a file system in memory, such as "size=1m,nr_inodes=64".
func mountTmpfs(t testing.TB, dir, options string) {
	t.Helper()
	needRoot(t)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unmount(t, dir) })
}

// unmount unmounts at once, or, when something still holds the file system, as
// soon as it lets go.
func unmount(t testing.TB, dir string) {
	deadline := time.Now().Add(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Unmount(dir, 0)
		if err == nil || errors.Is(err, unix.EINVAL) { // EINVAL: not mounted any more
			return
		}
		if time.Now().After(deadline) {
			t.Logf("unmount %s: %v, detaching it", dir, err)
			_ = unix.Unmount(dir, unix.MNT_DETACH) // nothing else is left to do
			return
		}
		<-tick.C
	}
}

// disk is an ext4 file system in an image, whose power can be cut.
type disk struct {
	t     testing.TB
	image string
	dir   string // where it is mounted
}

// newDisk makes a disk of some MiB and mounts it at dir. It goes with the test.
func newDisk(t testing.TB, dir string, mib int64, mkfs ...string) *disk {
	t.Helper()
	needRoot(t)
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "image"), dir: dir}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, mib<<20); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", append(mkfs, "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", d.image)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, d.dir) })
	d.mount()
	if err := os.Remove(filepath.Join(dir, "lost+found")); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *disk) run(name string, args ...string) string {
	d.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// mount mounts the image on a loop device that goes by itself when the file
// system is unmounted, so that it cannot outlive the mount.
func (d *disk) mount() {
	d.t.Helper()
	loop := d.run("losetup", "--find", "--show", d.image)
	err := unix.Mount(loop, d.dir, "ext4", 0, "")
	d.run("losetup", "--detach", loop) // now, or when nobody uses it
	if err != nil {
		d.t.Fatalf("mount %s: %v", loop, err)
	}
}

// shutdown is the ioctl by which ext4 and XFS stop at once, _IOR('X', 125,
// uint32), and noLogFlush has them leave the journal as it is: what was not
// synced is gone, as after a power cut.
const (
	shutdown   = 0x8004587D
	noLogFlush = 2
)

// cut stops the disk. From here on every access fails.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, noLogFlush); err != nil {
		d.t.Fatalf("shutdown of %s: %v", d.dir, err)
	}
}

// repower mounts a disk again that was cut. Nobody may have it open.
func (d *disk) repower() {
	d.t.Helper()
	unmount(d.t, d.dir)
	d.mount()
}

// fillBytes writes a file as large as there is room for, and returns its path.
func fillBytes(t testing.TB, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, ".filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, size := range []int{1 << 20, 64 << 10, 4 << 10, 512, 1} {
		block := make([]byte, size)
		for err == nil {
			_, err = f.Write(block)
			if err == nil && size > 4<<10 {
				err = f.Sync() // space that was only promised
			}
		}
		err = nil
	}
	_ = f.Sync() // full is what it should be
	return path
}

// fillInodes makes empty files until there are no inodes, in a directory that it
// returns.
func fillInodes(t testing.TB, dir string) (path string) {
	t.Helper()
	path = filepath.Join(dir, ".fillers")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 100_000 {
		f, err := os.Create(filepath.Join(path, fmt.Sprint(i)))
		if err != nil {
			return path
		}
		_ = f.Close()
	}
	t.Fatalf("%s has no end of inodes", dir)
	return ""
}
