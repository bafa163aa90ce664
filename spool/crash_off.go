//go:build !crashpoints

package spool

// crash marks a crash point. Without the build tag crashpoints it is nothing.
func crash(CrashPoint) {}
