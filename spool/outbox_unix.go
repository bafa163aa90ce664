//go:build unix

package spool

import (
	"errors"

	"golang.org/x/sys/unix"
)

// isCrossDevice reports whether a rename or link failed because the two
// directories are on different file systems.
func isCrossDevice(err error) bool { return errors.Is(err, unix.EXDEV) }

// isNotPermitted reports whether the error is about the rights on one file.
func isNotPermitted(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }
