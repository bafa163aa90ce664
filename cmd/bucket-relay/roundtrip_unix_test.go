//go:build unix

package main_test

import (
	"os"
	"syscall"
)

// groupOf returns the number of a file's group.
func groupOf(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Gid) }
