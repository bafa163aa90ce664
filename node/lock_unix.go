//go:build unix

package node

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

var errDataDirLocked = errors.New("in use by another node")

// lockDataDir takes the lock that keeps a second node from a data directory.
// It ends with the process, however that ends.
func lockDataDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o640)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errDataDirLocked
	}
	return nil, err
}
