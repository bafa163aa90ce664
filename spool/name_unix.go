//go:build !windows

package spool

// backslashIsPlain says that a backslash in a name is a letter like any other.
const backslashIsPlain = true
