package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// archiveNames are the names a file may have in the archive, best first.
func archiveNames(it Item) []string {
	return []string{
		it.Name,
		fmt.Sprintf("%s~%x", it.Name, it.ID.Seq),
		fmt.Sprintf("%s~%016x.%x", it.Name, it.ID.Epoch, it.ID.Seq),
	}
}

// moveToArchive renames a claim into the archive, under a name that is free.
// A kill between that and the syncs leaves it there for good, a power cut there
// or claimed; it is delivered in either case.
func (o *Outbox) moveToArchive(cd *claimDir, it Item) error {
	var err error
	for _, name := range archiveNames(it) {
		err = cd.RenameNew(it.claimName(), o.archive, name)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// The claims of one retried dead letter are links to one file.
		if st, err := o.archive.Stat(name); err == nil && st.Ino != 0 && st.Ino == it.stat.Ino && st.Dev == it.stat.Dev {
			return cd.Remove(it.claimName())
		}
	}
	return err
}

// copyToArchive copies what may be removed to an archive on another file
// system, durably: only then is the only other copy removed.
func (o *Outbox) copyToArchive(items []Item, errs []error) error {
	if o.archive == nil || !o.archiveElsewhere {
		return nil
	}
	copied := 0
	for i, it := range items {
		if errs[i] == nil {
			errs[i] = o.copyOne(it)
			copied++
		}
	}
	return o.syncArchive(copied)
}

func (o *Outbox) syncArchive(n int) error {
	if o.archive == nil || n == 0 {
		return nil
	}
	if err := o.archive.Sync(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	crash(PointArchived)
	return nil
}

// copyOne copies one claim. A copy that an interrupted call left is recognised
// by its bytes and not made twice.
func (o *Outbox) copyOne(it Item) error {
	src, _, err := o.openClaim(it)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // archived and removed by an earlier call
	}
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	part := "." + it.claimName() + ".part"
	if err := removeIfThere(o.archive, part); err != nil {
		return err
	}
	for _, name := range archiveNames(it) {
		if o.isCopy(src, it, name) {
			return nil
		}
	}
	if err := o.writeCopy(src, it, part); err != nil {
		return errors.Join(err, removeIfThere(o.archive, part))
	}
	for _, name := range archiveNames(it) {
		if err = o.archive.RenameNew(part, o.archive, name); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err != nil {
		return errors.Join(err, removeIfThere(o.archive, part))
	}
	return nil
}

func (o *Outbox) writeCopy(src file, it Item, part string) error {
	dst, err := o.archive.Create(part, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, io.NewSectionReader(src, 0, it.Size))
	if err == nil {
		err = errors.Join(dst.SetOwner(it.stat.Mode, -1), dst.SetTimes(it.MTime))
	}
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// isCopy reports whether a file of the archive has the claim's time and bytes.
func (o *Outbox) isCopy(src file, it Item, name string) bool {
	f, err := o.archive.Open(name)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || st.Size != it.Size || !st.MTime.Truncate(time.Microsecond).Equal(it.MTime.Truncate(time.Microsecond)) {
		return false
	}
	return sameBytes(io.NewSectionReader(src, 0, it.Size), f)
}

func sameBytes(a, b io.Reader) bool {
	var bufA, bufB [32 << 10]byte
	for {
		n, errA := io.ReadFull(a, bufA[:])
		m, errB := io.ReadFull(b, bufB[:])
		if n != m || !bytes.Equal(bufA[:n], bufB[:m]) {
			return false
		}
		if errA != nil || errB != nil {
			return isEnd(errA) && isEnd(errB)
		}
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
