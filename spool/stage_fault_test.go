//go:build unix

package spool

import (
	"strings"
	"syscall"
	"testing"
)

func TestKeptBytesSurviveAPowerCut(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
	fd.cutPower()
	_ = in.Close()
	fd.restore(nil, dir)
	in = mustFaultInbox(t, dir, fd)
	p, err := in.Progress(t.Context(), testID(1))
	if err != nil || p.Offset != 20 {
		t.Errorf("progress: %+v, %v", p, err)
	}
}

// A sync in the background that fails takes bytes with it; a later sync that
// succeeds does not bring them back.
func TestFailedBackgroundSyncFailsTheItem(t *testing.T) {
	for _, end := range []string{"publish", "keep"} {
		dir, fd := memDir(t), newFaultDisk(t)
		in := mustFaultInbox(t, dir, fd)
		text := strings.Repeat("x", flushBytes+1)
		s := mustBegin(t, in, arrival(testID(1), "a", text))
		fd.failWhen(on("sync", testSpool.String(), func() error { return syscall.EIO }))
		mustFill(t, s, text)
		var err error
		if end == "publish" {
			_, err = s.Publish(t.Context())
		} else {
			err = s.Keep()
		}
		wantErr(t, end, err, ErrIO)
		want(t, end+": files", files(t, dir), "")
		want(t, end+": stage", below(t, dir, stageDir), []string{})
	}
}
