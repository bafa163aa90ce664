package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// newPrefix begins the names of files that replaceFile is writing. No claim and
// no relayed file begins with a dot.
const newPrefix = ".new."

// replaceFile writes a small file so that after any crash either the old or the
// new text is there, never a part: new file, sync, rename, sync of the directory.
func replaceFile(d dir, name string, text []byte) error {
	fresh := newPrefix + name
	if err := removeIfThere(d, fresh); err != nil {
		return err
	}
	f, err := d.Create(fresh, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.Remove(fresh))
	}
	if err := d.Rename(fresh, d, name); err != nil {
		return err
	}
	return d.Sync()
}

// readSmall reads a whole file of at most limit bytes.
func readSmall(d dir, name string, limit int64) ([]byte, error) {
	f, err := d.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return text, err
}

// typeWords says in words what a file is that is not a regular one, or "".
func typeWords(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "is a directory"
	case mode&fs.ModeSymlink != 0:
		return "is a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "is a FIFO"
	case mode&fs.ModeSocket != 0:
		return "is a socket"
	}
	return "is a device"
}

// errWords is the innermost cause of a file error, without paths: a reason that
// many files can share.
func errWords(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}
