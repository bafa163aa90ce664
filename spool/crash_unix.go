//go:build crashpoints && unix

package spool

import (
	"os"

	"golang.org/x/sys/unix"
)

func killSelf() {
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {} // the signal is on its way
}
