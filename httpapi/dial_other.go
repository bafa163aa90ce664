//go:build !linux

package httpapi

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing: write deadlines and the wait for an answer have
// to notice a peer that is gone.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }
