package node

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

var errDataDirLocked = errors.New("in use by another node")

// lockDataDir takes the lock that keeps a second node from a data directory.
// It ends with the process, however that ends.
func lockDataDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{}); err != nil {
		_ = f.Close()
		return nil, errors.Join(errDataDirLocked, err)
	}
	return f, nil
}
