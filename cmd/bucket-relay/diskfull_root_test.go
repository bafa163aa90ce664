//go:build root && linux

package main_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullDisk is a way in which a small file system can have no room.
type fullDisk struct {
	mount func(t *testing.T, dir string)
	fill  func(t testing.TB, dir string) (path string) // what to remove to have room again
}

var fullDisks = map[string]fullDisk{
	"tmpfs-bytes":  {func(t *testing.T, dir string) { mountTmpfs(t, dir, "size=4m") }, fillBytes},
	"tmpfs-inodes": {func(t *testing.T, dir string) { mountTmpfs(t, dir, "size=16m,nr_inodes=128") }, fillInodes},
	"ext4-bytes":   {func(t *testing.T, dir string) { newDisk(t, dir, 16) }, fillBytes},
	"ext4-inodes":  {func(t *testing.T, dir string) { newDisk(t, dir, 16, "-N", "256") }, fillInodes},
}

// TestFullInbox fills the file system of an inbox: the collector says 507 at
// once and shows nothing partial, also after a restart, and goes on by itself
// when there is room.
func TestFullInbox(t *testing.T) {
	needRoot(t)
	for name, full := range fullDisks {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart %v", name, restart), func(t *testing.T) { testFullInbox(t, full, restart) })
		}
	}
}

func testFullInbox(t *testing.T, full fullDisk, restart bool) {
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.inbox("in", "c")
	full.mount(t, in.dir)
	up, down := w.node("up", out), w.node("down", in)
	down.startReady()
	up.startReady()
	s := newSamples(61)
	p := newProducer(t, out.dir, s)
	p.drop(5)
	out.awaitEmpty(patienceLimit)

	filler := full.fill(t, in.dir)
	checkFull(t, in)
	p.dropOf(10, 1000)
	p.dropOf(2, 0)
	p.dropOf(2, 400_000)
	awaitReason(t, up, in.id)
	if target := targetOf(up, in.id); !strings.Contains(target.Reason, "full") {
		t.Errorf("spools does not say that the inbox is full: %+v", target)
	}
	if restart {
		down.stop()
		down.restart()
		down.awaitReady()
		checkFull(t, in)
	}
	for name := range snapshot(t, in.dir, ".*") {
		if name != "." && !published.MatchString(name) {
			t.Errorf("a full inbox shows %q", name)
		}
	}

	if err := os.RemoveAll(filler); err != nil {
		t.Fatal(err)
	}
	out.awaitEmpty(2 * patienceLimit)
	in.checkStage()
	r := readInbox(t, in.dir, nil)
	r.await(patienceLimit, s.made())
	r.check(s.made())
	if dead := out.dead(); len(dead) > 0 {
		t.Errorf("a full disk set files aside: %q", dead)
	}
}

// checkFull sends a file announced with 100-continue: the answer is 507, at once
// and instead of the go-ahead.
func checkFull(t *testing.T, in *inbox) {
	t.Helper()
	start := time.Now()
	conn := dialPort(t, in.port)
	defer func() { _ = conn.Close() }()
	_, err := fmt.Fprintf(conn, "PUT /large HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	a := readAnswer(conn)
	if a.status != http.StatusInsufficientStorage || a.code != "full" || a.header.Get("Retry-After") == "" {
		t.Errorf("a full inbox answered %d %s, want 507 full with Retry-After", a.status, a.body)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the answer took %v", took)
	}
}

// TestInboxFullAgainAndAgain relays several times what fits, to a consumer that
// takes the files.
func TestInboxFullAgainAndAgain(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.inbox("in", "c")
	mountTmpfs(t, in.dir, "size=3m")
	w.node("down", in).startReady()
	w.node("up", out).startReady()
	r := readInbox(t, in.dir, func(string) verdict { return remove })
	s := newSamples(62)
	p := newProducer(t, out.dir, s)
	p.dropOf(20, 900_000)
	p.dropOf(400, 30_000)
	r.await(2*patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	r.check(s.made())
	in.checkStage()
}

// TestFullOutbox fills the file system of an outbox with files that wait for
// their collector. They must leave all the same, also after a restart, with some
// of them claimed before it or none: nobody else makes room.
func TestFullOutbox(t *testing.T) {
	needRoot(t)
	for name, full := range fullDisks {
		for _, when := range []string{"running", "restart with claims", "restart without claims"} {
			t.Run(name+" "+when, func(t *testing.T) { testFullOutbox(t, full, when) })
		}
	}
}

func testFullOutbox(t *testing.T, full fullDisk, when string) {
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.inbox("in", "c")
	full.mount(t, out.dir)
	up, down := w.node("up", out), w.node("down", in)
	up.startReady()
	s := newSamples(63)
	p := newProducer(t, out.dir, s)
	p.tmp = w.mkdir("out-out/.tmp")
	if when != "restart without claims" {
		p.drop(5)
		out.awaitClaimed(5)
	}
	if when != "running" {
		up.stop()
	}
	p.dropOf(20, 1000)
	full.fill(t, out.dir)
	writeUntilFull(p)
	if when != "running" {
		up.restart()
	}
	down.startReady()
	r := readInbox(t, in.dir, nil)
	r.await(patienceLimit, s.made())
	waitFor(t, patienceLimit, "claims gone", func() (bool, string) {
		return len(out.claimed()) == 0, fmt.Sprintf("%q", out.claimed())
	})
	if status, body := httpGet(t.Context(), up.admin+"/readyz"); status != http.StatusOK {
		t.Errorf("the uploader is not ready: %d %s", status, body)
	}
	r.check(s.made())
}

// writeUntilFull makes sure that the producer itself can put nothing more into
// its outbox, without leaving half a file there.
func writeUntilFull(p *producer) {
	p.t.Helper()
	tmp := filepath.Join(p.tmp, "more")
	err := os.WriteFile(tmp, make([]byte, 64<<10), 0o600)
	if err == nil {
		f, openErr := os.Open(tmp)
		if openErr != nil {
			p.t.Fatal(openErr)
		}
		err = errors.Join(f.Sync(), f.Close())
	}
	if !errors.Is(err, unix.ENOSPC) {
		p.t.Errorf("the outbox is not full: %v", err)
	}
}

// TestFullArchive has no room to keep what was delivered. It stays claimed, is
// not delivered again, and is kept when there is room.
func TestFullArchive(t *testing.T) {
	needRoot(t)
	for name, full := range fullDisks {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			archive := filepath.Join(w.dir, "archive")
			full.mount(t, archive)
			out, in := w.outbox("out", "c", fmt.Sprintf("after: { archive: %q }", archive)), w.inbox("in", "c")
			up, down := w.node("up", out), w.node("down", in)
			down.startReady()
			up.startReady()
			r := readInbox(t, in.dir, takeSome)
			filler := full.fill(t, archive)
			s := newSamples(64)
			newProducer(t, out.dir, s).dropOf(20, 1000)
			r.await(patienceLimit, s.made())
			out.awaitClaimed(s.made())
			if err := os.RemoveAll(filler); err != nil {
				t.Fatal(err)
			}
			out.awaitEmpty(2 * patienceLimit)
			r.check(s.made())
			kept := readInbox(t, archive, nil)
			kept.await(patienceLimit, s.made())
			kept.check(s.made())
		})
	}
}
