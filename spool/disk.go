package spool

import (
	"io"
	"io/fs"
	"time"
)

// dir is one open directory, the seam between the spool and the disk. Every
// operation names a single path component below it, so neither a swapped
// symbolic link nor a name with a slash can lead outside. The tests put a dir
// in between that fails the n-th operation or forgets what was not synced.
//
// Errors are *fs.PathError or *os.LinkError around the system's error. All
// methods but List are safe for concurrent use.
type dir interface {
	// Path is where the directory was when it was opened, for messages.
	Path() string
	// Open opens a regular file for reading, never through a symbolic link and
	// without waiting for the other end of a FIFO. Anything else: ErrNotRegular.
	Open(name string) (file, error)
	// Create makes a new file for writing; it fails if the name is taken.
	Create(name string, mode fs.FileMode) (file, error)
	// Append opens an existing regular file for reading and writing; writes go to its end.
	Append(name string) (file, error)
	// Stat describes the name itself, not what a link points to.
	Stat(name string) (fileStat, error)
	// Rename moves name to another open directory, replacing what is there.
	Rename(name string, to dir, newName string) error
	// RenameNew is Rename that fails with fs.ErrExist when newName is taken.
	RenameNew(name string, to dir, newName string) error
	// Link gives the file a second name; it fails when newName is taken.
	Link(name string, to dir, newName string) error
	Remove(name string) error
	// Sub opens a directory below, never through a symbolic link; with create
	// it is made first (mode 0o750) if it is not there.
	Sub(name string, create bool) (dir, error)
	// RemoveSub removes an empty directory below.
	RemoveSub(name string) error
	// List starts reading the directory from the beginning.
	List() (lister, error)
	// Sync makes the directory's entries durable.
	Sync() error
	// Space tells how much room the file system has.
	Space() (space, error)
	// Stat of the directory itself.
	Self() (fileStat, error)
	Close() error
}

// lister reads a directory in chunks. One goroutine at a time.
type lister interface {
	// Next returns up to n names with their types, and io.EOF at the end.
	Next(n int) ([]entry, error)
	Close() error
}

type entry struct {
	name string
	typ  fs.FileMode // type bits only; zero for a regular file
}

// file is an open file.
type file interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	Stat() (fileStat, error)
	// Sync makes the file's bytes and size durable. After an error the bytes
	// are gone and the file must not be synced again (see the package comment).
	Sync() error
	Truncate(size int64) error
	// SetTimes sets the modification time.
	SetTimes(mtime time.Time) error
	// SetOwner sets mode and, unless it is negative, the group.
	SetOwner(mode fs.FileMode, gid int) error
	// SetTag and Tag keep a short text beside the file's bytes that survives a
	// rename (an extended attribute); best effort: "" where it can't be kept.
	SetTag(text string) error
	Tag() string
	// Reserve asks for room for n bytes in all; nil where it can't be asked for.
	Reserve(n int64) error
	// Writer reports whether some process has the file open for writing.
	// errNoLease when that can't be known here.
	Writer() (bool, error)
}

// fileStat is what the spool wants to know of a file.
type fileStat struct {
	Size  int64
	MTime time.Time
	CTime time.Time // zero where unknown
	Mode  fs.FileMode
	Ino   uint64
	Dev   uint64
	Links uint64
	UID   uint32
	Used  int64 // bytes of disk it takes, reserved ones included; zero where unknown
}

// same reports whether two looks at a file saw the same bytes, as far as a
// file system can tell: the same inode with the same size, mtime and ctime.
func (a fileStat) same(b fileStat) bool {
	return a.Ino == b.Ino && a.Dev == b.Dev && a.Size == b.Size && a.MTime.Equal(b.MTime) && a.CTime.Equal(b.CTime)
}

// space is the room on a file system. Inodes are zero where they are unlimited.
type space struct {
	FreeBytes, TotalBytes   int64
	FreeInodes, TotalInodes int64
}
