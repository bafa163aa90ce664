package spool

import (
	"fmt"
	"time"
)

// Item is one claimed file as it was at one moment. Its id stands for exactly
// these bytes: when the file changes, Open and Finish answer ErrChanged, and
// Reclaim or Refresh gives an Item for what is there now.
type Item struct {
	ID    ID
	Name  string
	Size  int64
	MTime time.Time
	// Claimed is when the claim got its name, by the file system's clock; zero
	// where that can't be known.
	Claimed time.Time
	// Bound is the collector the claim is bound to, or "".
	Bound string

	stat fileStat
}

func (it Item) key() claimKey { return claimKey{it.ID.Epoch, it.ID.Seq} }

func (it Item) claimName() string { return claimName(it.ID.Epoch, it.ID.Seq, it.Name) }

// with returns the item with what a look at the file saw.
func (it Item) with(st fileStat) Item {
	it.stat, it.Size, it.MTime, it.Claimed = st, st.Size, st.MTime, st.CTime
	return it
}

// isStill reports whether a look at the file saw the same bytes. The ctime is
// left out: our own renames, a chmod and the removal of another link change it,
// and a false alarm would send the file again under a new id.
func (it Item) isStill(st fileStat) error {
	was := it.stat
	if was.Ino == st.Ino && was.Dev == st.Dev && was.Size == st.Size && was.MTime.Equal(st.MTime) {
		return nil
	}
	return fmt.Errorf("%s: %w", it.Name, ErrChanged)
}

// File is a claimed file, open for reading. Read and Close take one goroutine
// at a time, the rest any number.
type File struct {
	f    file
	item Item
}

// Open opens a claimed file for reading, never through a symbolic link.
//
// Errors: ErrChanged when it is no longer what the item says; fs.ErrNotExist
// when it was finished already; ErrNotRegular. Close the File.
func (o *Outbox) Open(it Item) (*File, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.leave()
	f, st, err := o.openClaim(it)
	if err != nil {
		return nil, err
	}
	if err := it.isStill(st); err != nil {
		_ = f.Close()
		return nil, err
	}
	return &File{f: f, item: it}, nil
}

// Read reads on from where the last Read ended.
func (f *File) Read(p []byte) (int, error) { return f.f.Read(p) }

// ReadAt reads at an offset.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Size is the item's.
func (f *File) Size() int64 { return f.item.Size }

// Hops returns the nodes the file has come through, as the inbox kept them
// beside its bytes, or "".
func (f *File) Hops() string { return f.f.Tag() }

// Unchanged returns ErrChanged if the file was written to since it was opened
// or claimed. What was read of it before a nil is one version of the file.
func (f *File) Unchanged() error {
	st, err := f.f.Stat()
	if err != nil {
		return err
	}
	return f.item.isStill(st)
}

// Close releases the file. The claim stays.
func (f *File) Close() error { return f.f.Close() }
