//go:build unix

package spool

import "golang.org/x/sys/unix"

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

var errCrossDevice = unix.EXDEV
