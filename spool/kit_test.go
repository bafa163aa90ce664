package spool

import (
	"os"
	"testing"
	"time"
)

// memDir is a directory of the test's in memory, where the system has that, so
// that thousands of runs don't wait for a disk.
func memDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// waitFor polls until ok, and fails the test with the last state otherwise.
func waitFor(t testing.TB, what string, ok func() (state any, done bool)) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		state, done := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: still %+v", what, state)
		}
	}
}
