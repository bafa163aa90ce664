//go:build unix

package spool

import (
	"errors"
	"syscall"
)

// isFull reports whether err says that there is no room, be it on the file
// system or in a quota.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
