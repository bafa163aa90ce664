package spool

import (
	"io/fs"
	"os"
)

// openRaw opens a file below d for bbolt, which wants a file of the system.
// Symbolic links are not followed.
func openRaw(d dir, name string, flags int, mode fs.FileMode) (*os.File, error) {
	o, err := onDisk(d)
	if err != nil {
		return nil, err
	}
	return o.openat("open", name, flags, uint32(mode.Perm()))
}
