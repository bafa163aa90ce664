package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPutDelivers(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, nil)
	digest := sha256.Sum256([]byte("hello"))
	mtime := time.Date(2026, 7, 1, 12, 0, 0, 123456789, time.UTC)
	meta := Meta{
		Key: testID, Digest: &digest, MTime: mtime, Cluster: "cluster1", Hops: []string{"n8", "n9"},
		Settled: []Mark{{0xc0ffee, 7}}, PossibleDuplicate: true,
	}
	h := http.Header{}
	meta.set(h)
	var pairs []string
	for k := range h {
		pairs = append(pairs, k, h.Get(k))
	}
	status, _, body := s.do("PUT", escapeName("ein Wort ü.txt"), strings.NewReader("hello"), pairs...)
	wantReceipt(t, status, body, 201, testID, "ein Wort ü.txt", "hello")
	want := Arrival{
		Key: testID, Name: "ein Wort ü.txt", Size: 5, Digest: &digest, MTime: mtime, Hops: "n8, n9", PossibleDuplicate: true,
	}
	if diff := cmp.Diff(want, in.arrivals[0]); diff != "" {
		t.Errorf("arrival (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Mark{{0xc0ffee, 7}}, in.marks[testID]); diff != "" {
		t.Errorf("marks (-want +got):\n%s", diff)
	}

	status, _, body = s.do("PUT", escapeName("ein Wort ü.txt"), strings.NewReader("hello"), pairs...)
	wantReceipt(t, status, body, 200, testID, "ein Wort ü.txt", "hello")
}

func TestPlainPut(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"small": "hello", "empty": "", "large": strings.Repeat("0123456789", 100_000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newFakeInbox(t)
			s := serveCollector(t, in, nil)
			status, _, answer := s.do("PUT", "/known%20size", strings.NewReader(body))
			wantReceipt(t, status, answer, 201, "plain", "known size", body)
			status, _, answer = s.do("PUT", "/chunked", io.MultiReader(strings.NewReader(body))) // of unknown size
			wantReceipt(t, status, answer, 201, "plain", "chunked", body)
			if got, _ := in.file("chunked"); got != body {
				t.Errorf("%d bytes published, want %d", len(got), len(body))
			}
			if in.arrivals[0].Size != int64(len(body)) {
				t.Errorf("size %d", in.arrivals[0].Size)
			}
		})
	}
}

// The original's uploader closes the connection without a look at the answer.
func TestOriginalsUploader(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	done := make(chan struct{})
	in.publish = func(context.Context, Arrival) error { close(done); return nil }
	s := serveCollector(t, in, nil)
	c := dialRaw(t, s.addr)
	c.send("hello", "PUT /a.json HTTP/1.1", "Host: "+s.addr, "Connection: close", "Content-Length: 5")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("not published")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		method, path string
		headers      []string
		status       int
		code         string
		retry        bool
	}{
		"slash in the name":    {"PUT", "/a/b", nil, 422, "bad-name", false},
		"escaped slash":        {"PUT", "/..%2fb", nil, 422, "bad-name", false},
		"no name":              {"PUT", "/", nil, 422, "bad-name", false},
		"query":                {"PUT", "/a?b", nil, 422, "bad-name", false},
		"empty query":          {"PUT", "/a?", nil, 422, "bad-name", false},
		"encoded":              {"PUT", "/a", []string{"Content-Encoding", "gzip"}, 415, "encoded-body", false},
		"too large":            {"PUT", "/a", []string{"X-Fill", "11"}, 413, "too-large", false},
		"range":                {"PUT", "/a", []string{"Content-Range", "bytes 1-2/3"}, 400, "bad-header", false},
		"offset":               {"PUT", "/a", []string{"Upload-Offset", "3"}, 400, "bad-header", false},
		"length":               {"PUT", "/a", []string{"Upload-Length", "3"}, 400, "bad-header", false},
		"incomplete, no key":   {"PUT", "/a", []string{"Upload-Complete", "?0"}, 400, "bad-header", false},
		"bad digest":           {"PUT", "/a", []string{"Repr-Digest", "sha-256=:AA==:"}, 400, "bad-header", false},
		"bad key":              {"PUT", "/a", []string{"Idempotency-Key", `"`}, 400, "bad-header", false},
		"two keys":             {"PUT", "/a", []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}, 400, "bad-header", false},
		"marks without key":    {"PUT", "/a", []string{"Relay-Settled", "0000000000000001=1"}, 400, "bad-header", false},
		"other cluster":        {"PUT", "/a", []string{"Relay-Cluster", "cluster2"}, 409, "wrong-cluster", true},
		"hops":                 {"PUT", "/a", []string{"Relay-Hops", strings.Repeat("n1, ", 16) + "n1"}, 508, "too-many-hops", false},
		"cross origin":         {"PUT", "/a", []string{"Sec-Fetch-Site", "cross-site"}, 403, "cross-origin", false},
		"patch without type":   {"PATCH", "/a", nil, 400, "bad-header", false},
		"patch without key":    {"PATCH", "/a", []string{"Content-Type", partialType}, 400, "bad-header", false},
		"patch without offset": {"PATCH", "/a", []string{"Content-Type", partialType, "Idempotency-Key", "k"}, 400, "bad-header", false},
		"patch of nothing": {"PATCH", "/a", []string{
			"Content-Type", partialType, "Idempotency-Key", "k", "Upload-Offset", "3", "Upload-Complete", "?1",
		}, 404, "unknown-upload", false},
		"get a file":       {"GET", "/a", nil, 405, "method", false},
		"delete":           {"DELETE", "/a", nil, 405, "method", false},
		"post to a file":   {"POST", "/a", nil, 405, "method", false},
		"patch the root":   {"PATCH", "/", nil, 405, "method", false},
		"post, no batch":   {"POST", "/", nil, 400, "bad-header", false},
		"batch, encoded":   {"POST", "/", []string{"Content-Type", "multipart/mixed; boundary=b", "Content-Encoding", "br"}, 415, "encoded-body", false},
		"batch, no bounds": {"POST", "/", []string{"Content-Type", "multipart/mixed"}, 400, "bad-header", false},
		"batch, wrong cluster": {"POST", "/", []string{
			"Content-Type", "multipart/mixed; boundary=b", "Relay-Cluster", "cluster2",
		}, 409, "wrong-cluster", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newFakeInbox(t)
			s := serveCollector(t, in, func(cfg *CollectorConfig) { cfg.MaxFileBytes = 10 })
			body := "0123"
			if len(tc.headers) > 0 && tc.headers[0] == "X-Fill" {
				body = "0123456789+"
			}
			status, h, answer := s.do(tc.method, tc.path, strings.NewReader(body), tc.headers...)
			wantProblem(t, status, answer, tc.status, tc.code)
			if got := h.Get("Content-Type"); got != problemType {
				t.Errorf("Content-Type %q", got)
			}
			if got := h.Get("Retry-After") != ""; got != tc.retry {
				t.Errorf("Retry-After %q", h.Get("Retry-After"))
			}
			if len(in.stagings) > 0 {
				t.Error("the inbox was asked to take it")
			}
		})
	}
}

func TestErrorsOfTheInbox(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		status int
		code   string
		retry  bool
	}{
		{ErrBadName, 422, "bad-name", false},
		{ErrDigest, 422, "digest-mismatch", false},
		{ErrDigestConflict, 422, "digest-conflict", false},
		{ErrNameTaken, 422, "name-taken", false},
		{ErrTooLarge, 413, "too-large", false},
		{ErrFull, 507, "full", true},
		{ErrUnderWay, 409, "under-way", true},
		{ErrUnavailable, 503, "unavailable", true},
		{ErrIO, 500, "io", false},
		{ErrShort, 400, "short-body", false},
		{errors.Join(ErrIO, ErrInDoubt), 500, "in-doubt", true},
		{errors.New("/srv/secret: no such file"), 500, "internal", false},
	} {
		t.Run(tc.code, func(t *testing.T) {
			t.Parallel()
			in := newFakeInbox(t)
			wrapped := fmt.Errorf("stage /srv/secret: %w", tc.err)
			in.begin = func(a Arrival) error {
				if a.Name == "begin" {
					return wrapped
				}
				return nil
			}
			in.write = func(p []byte) error {
				if string(p) == "write" {
					return wrapped
				}
				return nil
			}
			in.publish = func(context.Context, Arrival) error { return wrapped }
			s := serveCollector(t, in, nil)
			for _, where := range []string{"begin", "write", "publish"} {
				status, h, body := s.do("PUT", "/"+where, strings.NewReader(where), "Idempotency-Key", "k")
				p := wantProblem(t, status, body, tc.status, tc.code)
				if got := h.Get("Retry-After") != ""; got != tc.retry {
					t.Errorf("%s: Retry-After %q", where, h.Get("Retry-After"))
				}
				if p.Detail != "" && !saysDetail(tc.err) {
					t.Errorf("%s: tells %q", where, p.Detail)
				}
			}
			if diff := cmp.Diff([]string{"drop", "publish"}, in.endings()); diff != "" && !isCut(tc.err) {
				t.Error(diff)
			}
		})
	}
}

func saysDetail(err error) bool {
	return errors.Is(err, ErrBadName) || errors.Is(err, ErrTooLarge)
}

func TestMethodsThatAreAllowedAreNamed(t *testing.T) {
	t.Parallel()
	s := serveCollector(t, newFakeInbox(t), nil)
	for path, want := range map[string]string{"/": "GET, HEAD, POST", "/a": "HEAD, PATCH, PUT"} {
		if _, h, _ := s.do("DELETE", path, nil); h.Get("Allow") != want {
			t.Errorf("%s: Allow %q, want %q", path, h.Get("Allow"), want)
		}
	}
}

func TestRootSaysWhatThisIs(t *testing.T) {
	t.Parallel()
	s := serveCollector(t, newFakeInbox(t), nil)
	status, _, body := s.do("GET", "/", nil)
	if status != 200 || !strings.Contains(string(body), "collector c1") || bytes.Count(body, []byte("\n")) != 1 {
		t.Errorf("%d %q", status, body)
	}
	if status, _, _ := s.do("HEAD", "/", nil); status != 200 {
		t.Errorf("HEAD: %d", status)
	}
}

func TestSettledDuplicate(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	in.begin = func(a Arrival) error {
		return &DeliveredError{Receipt: Receipt{ID: a.Key, Settled: true}}
	}
	s := serveCollector(t, in, nil)
	status, _, body := s.do("PUT", "/a", strings.NewReader("x"), "Idempotency-Key", testID)
	r, err := parseReceipt(status, body)
	if err != nil || status != 200 || !r.Settled || r.ID != testID || r.Name != "a" || r.Collector != "c1" {
		t.Errorf("%d %+v %v", status, r, err)
	}
	if err := r.matches(testID, 1, sha256.Sum256([]byte("x"))); err != nil {
		t.Error(err)
	}
}

func TestTooLargeWithoutDeclaredSize(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, func(cfg *CollectorConfig) { cfg.MaxFileBytes = 10 })
	status, _, body := s.do("PUT", "/a", io.MultiReader(strings.NewReader("0123456789+")))
	wantProblem(t, status, body, 413, "too-large")
	if diff := cmp.Diff([]string{"drop"}, in.endings()); diff != "" {
		t.Error(diff)
	}
}

func TestPanicLeavesNothing(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t) // checks that the staging ended
	in.write = func([]byte) error { panic("write") }
	s := serveCollector(t, in, nil)
	c := dialRaw(t, s.addr)
	c.send("hello", "PUT /a HTTP/1.1", "Host: x", "Content-Length: 5")
	if _, err := c.br.ReadByte(); err == nil {
		t.Error("answered")
	}
	status, _, body := s.do("GET", "/", nil)
	if status != 200 {
		t.Errorf("the server is gone: %d %s", status, body)
	}
}

func TestWarningsAreRareAndNameTheRequest(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	in := newFakeInbox(t)
	in.begin = func(a Arrival) error { return map[string]error{"full": ErrFull, "way": ErrUnderWay}[a.Name] }
	c := NewCollector(CollectorConfig{ID: "c1", Inbox: in, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := serveHandler(t, c)
	_, _, body := s.do("PUT", "/full", strings.NewReader("x"))
	p := wantProblem(t, 507, body, 507, "full")
	for range 3 {
		s.do("PUT", "/full", strings.NewReader("x"))
		s.do("PUT", "/way", strings.NewReader("x"), "Idempotency-Key", "k")
	}
	if got := strings.Count(log.String(), "\n"); got != 1 || !strings.Contains(log.String(), p.RequestID) {
		t.Errorf("%d lines, want one with request id %s:\n%s", got, p.RequestID, log.String())
	}
	if w := (&warnings{}); !w.due("full", time.Unix(0, 0)) || w.due("full", time.Unix(59, 0)) || !w.due("full", time.Unix(60, 0)) {
		t.Error("not once a minute")
	}
}

func TestSizesThatContradict(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		offset, length int64
		complete       bool
		body           int64
		want           int64
		err            error
	}{
		{-1, -1, true, 5, 5, nil},
		{-1, -1, true, -1, -1, nil},
		{-1, 5, true, -1, 5, nil},
		{3, -1, true, 5, 8, nil},
		{3, 8, true, 5, 8, nil},
		{3, 9, true, 5, 0, ErrBadHeader},
		{3, 9, false, 5, 9, nil},
		{3, 8, false, 5, 8, nil},
		{3, 7, false, 5, 0, ErrBadHeader},
		{3, -1, false, 5, -1, nil},
		{maxCount, -1, true, 1 << 62, 0, ErrTooLarge},
	} {
		got, err := wholeSize(upload{offset: tc.offset, length: tc.length}, tc.complete, tc.body)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%+v: %d, %v", tc, got, err)
		}
	}
}
