//go:build !linux

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// osDir is a directory held open by os.Root, which keeps every operation
// below it on every system. There are no leases, tags or space figures here;
// the spool falls back as their comments say.
type osDir struct {
	root *os.Root
	path string
}

// openDir opens a directory by path. Links on the way are the operator's.
func openDir(path string) (dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &osDir{root: root, path: path}, nil
}

func (d *osDir) Path() string { return d.path }
func (d *osDir) Close() error { return d.root.Close() }

func (d *osDir) fail(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

func (d *osDir) Open(name string) (file, error) {
	return d.openRegular("open", name, os.O_RDONLY)
}

func (d *osDir) Append(name string) (file, error) {
	return d.openRegular("append", name, os.O_RDWR|os.O_APPEND)
}

func (d *osDir) openRegular(op, name string, flags int) (file, error) {
	fi, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, d.fail(op, name, ErrNotRegular)
	}
	f, err := d.root.OpenFile(name, flags, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDir) Create(name string, mode fs.FileMode) (file, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode.Perm())
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDir) Stat(name string) (fileStat, error) {
	fi, err := d.root.Lstat(name)
	if err != nil {
		return fileStat{}, err
	}
	return fromFileInfo(fi), nil
}

func (d *osDir) Self() (fileStat, error) { return d.Stat(".") }

func (d *osDir) Rename(name string, to dir, newName string) error {
	t, err := onDisk(to)
	if err != nil {
		return err
	}
	return os.Rename(filepath.Join(d.path, name), filepath.Join(t.path, newName))
}

// RenameNew links and unlinks: the link fails when the name is taken, and a
// crash between the two leaves the file under both names, never under none.
func (d *osDir) RenameNew(name string, to dir, newName string) error {
	if err := d.Link(name, to, newName); err != nil {
		return err
	}
	return d.Remove(name)
}

func (d *osDir) Link(name string, to dir, newName string) error {
	t, err := onDisk(to)
	if err != nil {
		return err
	}
	return os.Link(filepath.Join(d.path, name), filepath.Join(t.path, newName))
}

func (d *osDir) Remove(name string) error    { return d.root.Remove(name) }
func (d *osDir) RemoveSub(name string) error { return d.root.Remove(name) }

func (d *osDir) Sub(name string, create bool) (dir, error) {
	if create {
		if err := d.root.Mkdir(name, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	fi, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("%w: %s is a symbolic link or not a directory", ErrUnsafe, filepath.Join(d.path, name))
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &osDir{root: root, path: filepath.Join(d.path, name)}, nil
}

func (d *osDir) List() (lister, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	return osLister{f}, nil
}

// Sync syncs the directory where the system can; Windows can't and needs not.
func (d *osDir) Sync() error {
	if !dirsCanSync {
		return nil
	}
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Space is not asked for here: a full disk shows when it is written to.
func (d *osDir) Space() (space, error) { return space{}, errors.ErrUnsupported }

// osFile is an open regular file.
type osFile struct{ *os.File }

func (f osFile) Stat() (fileStat, error) {
	fi, err := f.File.Stat()
	if err != nil {
		return fileStat{}, err
	}
	return fromFileInfo(fi), nil
}

func (f osFile) SetTimes(mtime time.Time) error { return os.Chtimes(f.Name(), time.Time{}, mtime) }

func (f osFile) SetOwner(mode fs.FileMode, gid int) error {
	if gid >= 0 {
		if err := f.Chown(-1, gid); err != nil {
			return err
		}
	}
	return f.Chmod(mode.Perm())
}

func (f osFile) SetTag(string) error   { return nil }
func (f osFile) Tag() string           { return "" }
func (f osFile) Reserve(int64) error   { return nil }
func (f osFile) Writer() (bool, error) { return false, errNoLease }

func fromFileInfo(fi fs.FileInfo) fileStat {
	return fileStat{Size: fi.Size(), MTime: fi.ModTime().UTC(), Mode: fi.Mode(), Links: 1}
}
