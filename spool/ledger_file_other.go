//go:build !linux

package spool

import (
	"io/fs"
	"os"
)

// openRaw opens a file below d for bbolt, which wants a file of the system.
// A symbolic link that leads out of d is refused.
func openRaw(d dir, name string, flags int, mode fs.FileMode) (*os.File, error) {
	o, err := onDisk(d)
	if err != nil {
		return nil, err
	}
	fi, err := o.root.Lstat(name)
	if err == nil && !fi.Mode().IsRegular() {
		return nil, o.fail("open", name, ErrNotRegular)
	}
	return o.root.OpenFile(name, flags, mode.Perm())
}
