package spool

import (
	"errors"

	"golang.org/x/sys/windows"
)

// isCrossDevice reports whether a rename or link failed because the two
// directories are on different volumes.
func isCrossDevice(err error) bool { return errors.Is(err, windows.ERROR_NOT_SAME_DEVICE) }

// isNotPermitted reports whether the error is about the rights on one file.
func isNotPermitted(err error) bool { return errors.Is(err, windows.ERROR_ACCESS_DENIED) }
