package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const tagName = "user.bucket-relay.hops"

// osDir is a directory held open by its descriptor. Paths are never looked up
// again: a directory that is moved or swapped after it was opened changes nothing.
type osDir struct {
	f    *os.File
	path string
}

// openDir opens a directory by path. Links on the way are the operator's.
func openDir(path string) (dir, error) {
	f, err := os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return &osDir{f: f, path: path}, nil
}

func (d *osDir) fd() int      { return int(d.f.Fd()) }
func (d *osDir) Path() string { return d.path }
func (d *osDir) Close() error { return d.f.Close() }

func (d *osDir) fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

func (d *osDir) openat(op, name string, flags int, mode uint32) (*os.File, error) {
	var fd int
	err := retry(func() (e error) {
		fd, e = unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return e
	})
	if err != nil {
		return nil, d.fail(op, name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(d.path, name)), nil
}

// retry repeats a system call that a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (d *osDir) Open(name string) (file, error) {
	return d.openRegular("open", name, unix.O_RDONLY|unix.O_NONBLOCK)
}

func (d *osDir) Append(name string) (file, error) {
	return d.openRegular("append", name, unix.O_RDWR|unix.O_APPEND|unix.O_NONBLOCK)
}

func (d *osDir) openRegular(op, name string, flags int) (file, error) {
	f, err := d.openat(op, name, flags, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, d.fail(op, name, ErrNotRegular)
	}
	if err != nil {
		return nil, err
	}
	st, err := statFD(f)
	if err != nil || !st.Mode.IsRegular() {
		_ = f.Close()
		if err == nil {
			err = d.fail(op, name, ErrNotRegular)
		}
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDir) Create(name string, mode fs.FileMode) (file, error) {
	f, err := d.openat("create", name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, uint32(mode.Perm()))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDir) Stat(name string) (fileStat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) }); err != nil {
		return fileStat{}, d.fail("stat", name, err)
	}
	return fromStat(&st), nil
}

func (d *osDir) Self() (fileStat, error) { return statFD(d.f) }

func (d *osDir) Rename(name string, to dir, newName string) error {
	return d.rename("rename", name, to, newName, 0)
}

func (d *osDir) RenameNew(name string, to dir, newName string) error {
	return d.rename("renamenew", name, to, newName, unix.RENAME_NOREPLACE)
}

func (d *osDir) rename(op, name string, to dir, newName string, flags uint) error {
	t, err := onDisk(to)
	if err != nil {
		return err
	}
	err = retry(func() error { return unix.Renameat2(d.fd(), name, t.fd(), newName, flags) })
	return d.linkError(op, name, t, newName, err)
}

func (d *osDir) Link(name string, to dir, newName string) error {
	t, err := onDisk(to)
	if err != nil {
		return err
	}
	err = retry(func() error { return unix.Linkat(d.fd(), name, t.fd(), newName, 0) })
	return d.linkError("link", name, t, newName, err)
}

func (d *osDir) linkError(op, name string, to *osDir, newName string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: filepath.Join(d.path, name), New: filepath.Join(to.path, newName), Err: err}
}

func (d *osDir) Remove(name string) error {
	if err := retry(func() error { return unix.Unlinkat(d.fd(), name, 0) }); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

func (d *osDir) RemoveSub(name string) error {
	if err := retry(func() error { return unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR) }); err != nil {
		return d.fail("rmdir", name, err)
	}
	return nil
}

func (d *osDir) Sub(name string, create bool) (dir, error) {
	if create {
		err := retry(func() error { return unix.Mkdirat(d.fd(), name, 0o750) })
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, d.fail("mkdir", name, err)
		}
	}
	f, err := d.openat("open", name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%w: %s is a symbolic link or not a directory", ErrUnsafe, filepath.Join(d.path, name))
	}
	if err != nil {
		return nil, err
	}
	return &osDir{f: f, path: filepath.Join(d.path, name)}, nil
}

func (d *osDir) List() (lister, error) {
	f, err := d.openat("list", ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return osLister{f}, nil
}

func (d *osDir) Sync() error {
	if err := retry(func() error { return unix.Fsync(d.fd()) }); err != nil {
		return d.fail("sync", "", err)
	}
	return nil
}

func (d *osDir) Space() (space, error) {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(d.fd(), &st) }); err != nil {
		return space{}, d.fail("statfs", "", err)
	}
	return space{
		FreeBytes: int64(st.Bavail) * st.Bsize, TotalBytes: int64(st.Blocks) * st.Bsize,
		FreeInodes: int64(st.Ffree), TotalInodes: int64(st.Files),
	}, nil
}

// osFile is an open regular file.
type osFile struct{ *os.File }

func (f osFile) Stat() (fileStat, error) { return statFD(f.File) }

// SetTimes is futimens(3), which is utimensat(2) without a path; x/sys has no
// call for that, and a path through /proc would need /proc.
func (f osFile) SetTimes(mtime time.Time) error {
	at, err := unix.TimeToTimespec(mtime) // any year, unlike UnixNano
	if err != nil {
		return f.wrap("utimens", err)
	}
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, at}
	err = retry(func() error {
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, f.Fd(), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	return f.wrap("utimens", err)
}

func (f osFile) SetOwner(mode fs.FileMode, gid int) error {
	if gid >= 0 {
		if err := unix.Fchown(int(f.Fd()), -1, gid); err != nil {
			return f.wrap("chown", err)
		}
	}
	return f.wrap("chmod", unix.Fchmod(int(f.Fd()), uint32(mode.Perm())))
}

func (f osFile) SetTag(text string) error {
	err := unix.Fsetxattr(int(f.Fd()), tagName, []byte(text), 0)
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return f.wrap("setxattr", err)
}

func (f osFile) Tag() string {
	buf := make([]byte, 1024)
	n, err := unix.Fgetxattr(int(f.Fd()), tagName, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func (f osFile) Reserve(n int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, n) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return f.wrap("fallocate", err)
}

// Writer asks for a read lease, which the kernel grants only while nobody has
// the file open for writing, and gives it back at once (fcntl(2), Leases).
func (f osFile) Writer() (bool, error) {
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	if errors.Is(err, unix.EAGAIN) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errNoLease, err)
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	return false, f.wrap("release lease", err)
}

func (f osFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.Name(), Err: err}
}

func statFD(f *os.File) (fileStat, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return fileStat{}, &fs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return fromStat(&st), nil
}

func fromStat(st *unix.Stat_t) fileStat {
	return fileStat{
		Size: st.Size, MTime: time.Unix(st.Mtim.Unix()).UTC(), CTime: time.Unix(st.Ctim.Unix()).UTC(),
		Mode: modeOf(st.Mode), Ino: st.Ino, Dev: uint64(st.Dev), Links: uint64(st.Nlink), UID: st.Uid,
		Used: st.Blocks * 512,
	}
}

func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	default:
		mode |= fs.ModeDevice
	}
	return mode
}
