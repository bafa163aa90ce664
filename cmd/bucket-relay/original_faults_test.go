package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// TestFaultsOfTheOriginal goes through what the original is known to get wrong.
func TestFaultsOfTheOriginal(t *testing.T) {
	t.Run("deletes a file whatever the collector answers", func(t *testing.T) {
		testKeptUntil(t, func(w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "no", http.StatusInternalServerError)
			return true
		})
	})
	t.Run("deletes when an earlier target failed", func(t *testing.T) {
		w := newWorld(t)
		out, in := w.outbox("out", "c"), w.inbox("b", "c")
		w.cluster("c").add("a", freePort(t)) // where nobody listens
		w.node("down", in).startReady()
		w.node("up", out).startReady()
		s := newSamples(44)
		r := readInbox(t, in.dir, nil)
		newProducer(t, out.dir, s).drop(10)
		r.await(patienceLimit, s.made())
		out.awaitClaimed(s.made())
	})
	t.Run("error after the end is counted twice and stalls", func(t *testing.T) {
		testKeptUntil(t, func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			conn := hijack(w)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsucc")
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			return true
		})
	})
	t.Run("a collector that is gone ends the uploader's turn", func(t *testing.T) {
		testKeptUntil(t, func(w http.ResponseWriter, _ *http.Request) bool {
			conn := hijack(w)
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
			return true
		})
	})
	t.Run("success before the file is there", func(t *testing.T) {
		in := startInbox(t)
		for i := range 50 {
			name := fmt.Sprintf("at-once-%d", i)
			if a := rawRequest(t, in.port, rawPut("/"+name)); a.status != http.StatusCreated {
				t.Errorf("%d %s", a.status, a.body)
			}
			if body, err := os.ReadFile(filepath.Join(in.dir, name)); err != nil || string(body) != "hello" {
				t.Errorf("after the answer there is %q, %v", body, err)
			}
		}
	})
	t.Run("part of a file in the inbox", func(t *testing.T) {
		in := startInbox(t)
		conn := dialPort(t, in.port)
		_, _ = io.WriteString(conn, "PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nbegin")
		awaitStage(t, in)
		if names := inboxNames(t, in); len(names) > 0 {
			t.Errorf("while a file arrives the inbox has %q", names)
		}
		_ = conn.Close()
		in.checkStage()
	})
	t.Run("a short body becomes a file", testShortBodies)
	t.Run("overwrites", func(t *testing.T) {
		in := startInbox(t)
		for range 3 {
			if a := rawRequest(t, in.port, rawPut("/same")); a.status != http.StatusCreated {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if names := inboxNames(t, in); len(names) != 3 || !slices.Contains(names, "same") {
			t.Errorf("three files of one name became %q", names)
		}
	})
	t.Run("undecoded names", func(t *testing.T) {
		in := startInbox(t)
		if a := rawRequest(t, in.port, rawPut("/a%20b%C3%A4")); a.status != http.StatusCreated {
			t.Errorf("%d %s", a.status, a.body)
		}
		if names := inboxNames(t, in); !slices.Equal(names, []string{"a bä"}) {
			t.Errorf("got %q", names)
		}
	})
	t.Run("GET changes state", func(t *testing.T) {
		w := newWorld(t)
		in := w.inbox("in", "c")
		n := w.node("down", in)
		n.startReady()
		_, before := httpGet(t.Context(), n.admin+"/v1/clusters")
		for _, path := range []string{"/register?cluster=c&address=127.0.0.1&port=1", "/remove?id=in", "/v1/leave", "/v1/leader/transfer"} {
			if status, body := httpGet(t.Context(), n.admin+path); status/100 == 2 {
				t.Errorf("GET %s: %d %s", path, status, body)
			}
		}
		for _, path := range []string{"/x", "/register?cluster=c", "/"} {
			if status, body := httpGet(t.Context(), "http://127.0.0.1:"+strconv.Itoa(in.port)+path); status >= 500 {
				t.Errorf("GET %s of a collector: %d %s", path, status, body)
			}
		}
		if _, after := httpGet(t.Context(), n.admin+"/v1/clusters"); before != after {
			t.Errorf("the table was %s, is %s", before, after)
		}
		if names := inboxNames(t, in); len(names) > 0 {
			t.Errorf("GET published %q", names)
		}
	})
	t.Run("SIGINT under way", func(t *testing.T) {
		w := newWorld(t)
		out, in := w.outbox("out", "c"), w.inbox("in", "c")
		up, down := w.node("up", out), w.node("down", in)
		down.startReady()
		up.startReady()
		r := readInbox(t, in.dir, takeSome)
		s := newSamples(45)
		p := newProducer(t, out.dir, s)
		for range 3 {
			p.drop(100)
			for _, n := range []*node{up, down} {
				if err := n.cmd.Process.Signal(syscall.SIGINT); err != nil {
					t.Fatal(err)
				}
				if code := n.awaitEnd(patienceLimit).ExitCode(); code != 0 {
					t.Errorf("exit code %d after SIGINT\n%s", code, n.tail())
				}
				n.restart()
				n.awaitReady()
			}
		}
		r.await(patienceLimit, s.made())
		out.awaitEmpty(patienceLimit)
		r.check(s.made())
	})
}

// startInbox runs a node that only receives.
func startInbox(t *testing.T) *inbox {
	t.Helper()
	w := newWorld(t)
	in := w.inbox("in", "c")
	w.node("down", in).startReady()
	return in
}

// testKeptUntil has a collector of the original fail in one way: the files stay
// until it works, and arrive then.
func testKeptUntil(t *testing.T, broken func(w http.ResponseWriter, r *http.Request) bool) {
	w := newWorld(t)
	out := w.outbox("out", "c")
	o := newOriginalCollector(t)
	w.cluster("c").add("theirs", o.port)
	up := w.node("up", out)
	up.startReady()
	r := readInbox(t, o.dir, nil)
	s := newSamples(46)
	p := newProducer(t, out.dir, s)
	p.drop(5)
	r.await(patienceLimit, s.made())
	o.setBroken(broken)
	p.drop(20)
	awaitReason(t, up, "theirs")
	out.awaitClaimed(20)
	o.setBroken(nil)
	out.awaitEmpty(patienceLimit)
	r.await(patienceLimit, s.made())
	r.check(s.made())
	o.check()
}

// awaitStage waits until something is being received.
func awaitStage(t *testing.T, in *inbox) {
	t.Helper()
	waitFor(t, patienceLimit, "a stage file", func() (bool, string) {
		staged := listFiles(t, filepath.Join(in.dir, ".relay", "stage"))
		return len(staged) > 0, fmt.Sprintf("%q", staged)
	})
}

// testShortBodies cuts bodies in every way of framing them, with and without an
// id and a digest. Nothing is published.
func testShortBodies(t *testing.T) {
	in := startInbox(t)
	const put = "PUT /short HTTP/1.1\r\nHost: x\r\n"
	bodies := []string{
		"Content-Length: 1000\r\n\r\nonly this", "Content-Length: 1000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
		"Transfer-Encoding: chunked\r\n\r\n1000\r\nonly this", "Transfer-Encoding: chunked\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n",
	}
	for _, headers := range []string{"", "Idempotency-Key: \"k\"\r\n", "Upload-Length: 1000\r\nIdempotency-Key: \"l\"\r\n"} {
		for _, body := range bodies {
			conn := dialPort(t, in.port)
			_, _ = io.WriteString(conn, put+headers+body)
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
			if a := readAnswer(conn); a.status/100 == 2 {
				t.Errorf("%q got %d %s", headers+body, a.status, a.body)
			}
			_ = conn.Close()
		}
	}
	wrong := put + "Repr-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:\r\nContent-Length: 5\r\n\r\nother"
	if a := rawRequest(t, in.port, wrong); a.status != http.StatusUnprocessableEntity || a.code != "digest-mismatch" {
		t.Errorf("other bytes than announced got %d %s", a.status, a.body)
	}
	in.checkStage()
	if names := inboxNames(t, in); len(names) > 0 {
		t.Errorf("short bodies became %q", names)
	}
}
