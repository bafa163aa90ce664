package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// No byte of a body may be asked for before the inbox has decided.
func TestContinueComesAfterTheDecision(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	in.begin = func(a Arrival) error { return map[string]error{"full": ErrFull, "bad": ErrBadName}[a.Name] }
	in.receipts["known"] = Receipt{ID: "known", Name: "a", Size: 5}
	s := serveCollector(t, in, func(cfg *CollectorConfig) { cfg.MaxFileBytes = 100 })
	for _, tc := range []struct {
		line   string
		header string
		status int
	}{
		{"PUT /a HTTP/1.1", "Idempotency-Key: known\r\nContent-Length: 5", 200},
		{"PUT /full HTTP/1.1", "Content-Length: 5", 507},
		{"PUT /bad HTTP/1.1", "Content-Length: 5", 422},
		{"PUT /a%2fb HTTP/1.1", "Content-Length: 5", 422},
		{"PUT /a HTTP/1.1", "Content-Length: 101", 413},
		{"PUT /a HTTP/1.1", "Content-Encoding: gzip\r\nContent-Length: 5", 415},
		{"PUT /a HTTP/1.1", "Relay-Cluster: other\r\nContent-Length: 5", 409},
		{"POST / HTTP/1.1", "Content-Type: text/plain\r\nContent-Length: 5", 400},
		{"PUT /new HTTP/1.1", "Content-Length: 5", 100},
	} {
		c := dialRaw(t, s.addr)
		c.send("", tc.line, "Host: x", "Expect: 100-continue", tc.header)
		resp, _ := c.answer()
		if resp.StatusCode != tc.status {
			t.Errorf("%s, %s: %d, want %d", tc.line, tc.header, resp.StatusCode, tc.status)
		}
		if tc.status == 100 {
			c.send("hello")
			if resp, _ := c.answer(); resp.StatusCode != 201 {
				t.Errorf("after 100: %d", resp.StatusCode)
			}
		}
	}
}

func TestCutBody(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		header string
		ending string
	}{
		"keyed":          {"Idempotency-Key: k\r\nContent-Length: 10", "keep"},
		"plain":          {"Content-Length: 10", "drop"},
		"keyed, chunked": {"Idempotency-Key: k\r\nTransfer-Encoding: chunked", "keep"},
		"plain, chunked": {"Transfer-Encoding: chunked", "drop"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newFakeInbox(t)
			s := serveCollector(t, in, nil)
			c := dialRaw(t, s.addr)
			body := "hello"
			if strings.Contains(tc.header, "chunked") {
				body = "5\r\nhello\r\n"
			}
			c.send(body, "PUT /a HTTP/1.1", "Host: x", tc.header)
			c.closeWrite()
			resp, answer := c.answer()
			wantProblem(t, resp.StatusCode, answer, 400, "short-body")
			if diff := cmp.Diff([]string{tc.ending}, in.endings()); diff != "" {
				t.Error(diff)
			}
			if tc.ending == "keep" && string(in.kept["k"]) != "hello" {
				t.Errorf("kept %q", in.kept["k"])
			}
			if _, ok := in.file("a"); ok {
				t.Error("published")
			}
		})
	}
}

// cancelled passes requests on and tells when the context of the last ended.
type cancelled struct {
	next http.Handler
	ctx  chan context.Context
}

func (h cancelled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.ctx <- r.Context()
	h.next.ServeHTTP(w, r)
}

// The sender is gone when its file is whole: it is published all the same, and
// a resend finds the receipt.
func TestSenderGoneAfterTheBody(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	requests := make(chan context.Context, 1)
	s := serveHandler(t, cancelled{NewCollector(CollectorConfig{ID: "c1", Inbox: in}), requests})
	seen := make(chan error, 1)
	in.publish = func(ctx context.Context, _ Arrival) error {
		<-(<-requests).Done() // net/http has noticed
		seen <- ctx.Err()
		return ctx.Err()
	}
	c := dialRaw(t, s.addr)
	c.send("hello", "PUT /a HTTP/1.1", "Host: x", "Idempotency-Key: k", "Content-Length: 5")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-seen:
		if err != nil {
			t.Errorf("publishing was told to stop: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not published")
	}
}

func TestSlowBodyIsCut(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, func(cfg *CollectorConfig) { cfg.RateWindow = 50 * time.Millisecond })
	c := dialRaw(t, s.addr)
	c.send("hello", "PUT /a HTTP/1.1", "Host: x", "Idempotency-Key: k", "Content-Length: 10")
	resp, body := c.answer() // though we say no more
	wantProblem(t, resp.StatusCode, body, 408, "too-slow")
	if string(in.kept["k"]) != "hello" {
		t.Errorf("kept %q", in.kept["k"])
	}
}

// A refusal is answered even when the body that was announced never comes:
// net/http wants to read it first.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	s := serveCollector(t, newFakeInbox(t), func(cfg *CollectorConfig) { cfg.RateWindow = 50 * time.Millisecond })
	for _, line := range []string{"PUT /a%2fb HTTP/1.1", "HEAD /a HTTP/1.1", "GET / HTTP/1.1", "DELETE /a HTTP/1.1"} {
		c := dialRaw(t, s.addr)
		c.send("", line, "Host: x", "Content-Length: 1000")
		if _, err := http.ReadResponse(c.br, nil); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// The deadlines of the body must not outlive it: publishing may take longer,
// and net/http would take the connection for broken.
func TestSlowPublishKeepsTheConnection(t *testing.T) {
	t.Parallel()
	const window = 50 * time.Millisecond
	in := newFakeInbox(t)
	requests := make(chan context.Context, 2)
	s := serveHandler(t, cancelled{NewCollector(CollectorConfig{ID: "c1", Inbox: in, RateWindow: window}), requests})
	in.publish = func(context.Context, Arrival) error {
		select {
		case <-(<-requests).Done():
			t.Error("the request was cancelled")
		case <-time.After(4 * window):
		}
		return nil
	}
	c := dialRaw(t, s.addr)
	for range 2 {
		c.send("hello", "PUT /a HTTP/1.1", "Host: x", "Content-Length: 5")
		if resp, body := c.answer(); resp.StatusCode != 201 {
			t.Fatalf("%d %s", resp.StatusCode, body)
		}
	}
}

func TestRestOfAnUpload(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, nil)
	digest := sha256.Sum256([]byte("hello world"))
	key := []string{"Idempotency-Key", `"k"`, "Repr-Digest", formatDigest(digest)}
	piece := func(method, body, offset, complete string) (int, http.Header, []byte) {
		return s.do(method, "/a", strings.NewReader(body), append([]string{
			"Content-Type", partialType, headerOffset, offset, headerComplete, complete, headerLength, "11",
		}, key...)...)
	}

	if status, _, _ := s.do("HEAD", "/a", nil, key...); status != 404 {
		t.Errorf("HEAD of nothing: %d", status)
	}
	status, h, _ := piece("PUT", "hel", "0", "?0")
	if status != 204 || h.Get(headerOffset) != "3" {
		t.Errorf("PUT: %d, offset %q", status, h.Get(headerOffset))
	}
	status, h, _ = s.do("HEAD", "/a", nil, key...)
	if status != 204 || h.Get(headerOffset) != "3" || h.Get(headerComplete) != "?0" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %d %v", status, h)
	}
	status, h, body := piece("PATCH", "lo", "2", "?0")
	wantProblem(t, status, body, 409, "offset-mismatch")
	if h.Get(headerOffset) != "3" || h.Get("Retry-After") != "" {
		t.Errorf("offset mismatch: %v", h)
	}
	status, h, _ = piece("PATCH", "lo ", "3", "?0")
	if status != 204 || h.Get(headerOffset) != "6" {
		t.Errorf("PATCH: %d, offset %q", status, h.Get(headerOffset))
	}
	status, _, body = piece("PATCH", "world", "6", "?1")
	wantReceipt(t, status, body, 201, "k", "a", "hello world")
	status, h, _ = s.do("HEAD", "/a", nil, key...)
	if status != 200 || h.Get(headerComplete) != "?1" || h.Get(headerOffset) != "11" || h.Get(headerLength) != "11" {
		t.Errorf("HEAD when done: %d %v", status, h)
	}
}

// A piece that the inbox finds not worth keeping is not counted.
func TestOffsetIsTheInboxsWord(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, forgetful{in}, nil)
	status, h, _ := s.do("PUT", "/a", strings.NewReader("hel"), "Idempotency-Key", "k", headerComplete, "?0")
	if status != 204 || h.Get(headerOffset) != "0" {
		t.Errorf("%d, offset %q", status, h.Get(headerOffset))
	}
}

type forgetful struct{ *fakeInbox }

func (forgetful) Progress(context.Context, string) (Progress, error) {
	return Progress{}, ErrUnknownUpload
}

func TestUnderWay(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	in.begin = func(Arrival) error { return ErrUnderWay }
	s := serveCollector(t, in, nil)
	status, h, body := s.do("PUT", "/a", strings.NewReader("x"), "Idempotency-Key", "k")
	wantProblem(t, status, body, 409, "under-way")
	if h.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", h.Get("Retry-After"))
	}
}

func TestSlowHeadersAreCut(t *testing.T) {
	t.Parallel()
	ln, err := Listen(t.Context(), "127.0.0.1:0", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(NewCollector(CollectorConfig{Inbox: newFakeInbox(t)}), Limits{ReadHeaderTimeout: 50 * time.Millisecond}, nil)
	serve(t, srv, ln)
	c := dialRaw(t, ln.Addr().String())
	if _, err := c.Write([]byte("PUT /a HTTP/1.1\r\nHost")); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(c.br) // until the server closes
	if err != nil || bytes.HasPrefix(rest, []byte("HTTP/1.1 2")) {
		t.Errorf("answered %q, then %v", rest, err)
	}
}

// serve runs srv on ln until the test ends.
func serve(t *testing.T, srv *http.Server, ln net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
}
