package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// part makes a part of a batch with its digest.
func part(key, name, content string) BatchPart {
	digest := sha256.Sum256([]byte(content))
	return BatchPart{
		Name: name, Size: int64(len(content)), Body: strings.NewReader(content), Meta: Meta{Key: key, Digest: &digest},
	}
}

// parts makes n parts named f0, f1, ….
func parts(n int) []BatchPart {
	ps := make([]BatchPart, n)
	for i := range ps {
		ps[i] = part(fmt.Sprintf("k%d", i), fmt.Sprintf("f%d", i), fmt.Sprintf("content %d", i))
	}
	return ps
}

// post sends the batch and returns the answers.
func (s *collectorServer) post(contentType string, body io.Reader, n int) []BatchAnswer {
	s.t.Helper()
	status, h, answer := s.do("POST", "/", body, "Content-Type", contentType)
	if status != 200 || h.Get("Content-Type") != answersType {
		s.t.Fatalf("%d %s: %s", status, h.Get("Content-Type"), answer)
	}
	answers, err := decodeAnswers(bytes.NewReader(answer), n)
	if err != nil {
		s.t.Fatalf("%v: %s", err, answer)
	}
	return answers
}

// outcome is an answer in a word: the status of a receipt, or a code.
func outcome(a BatchAnswer) string {
	if a.Problem != nil {
		return a.Problem.Code
	}
	return fmt.Sprint(a.Receipt.status())
}

func outcomes(answers []BatchAnswer) []string {
	var words []string
	for _, a := range answers {
		words = append(words, outcome(a))
	}
	return words
}

func TestBatch(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, nil)
	ps := []BatchPart{part("k0", "a", "one"), part("k1", "ü b", ""), part("", "plain", "x\r\n--y\r\n")}
	mtime := time.Date(1999, 12, 31, 23, 59, 59, 1, time.UTC)
	ps[0].Meta.MTime, ps[0].Meta.Hops, ps[0].Meta.Cluster = mtime, []string{"n7"}, "cluster1"
	ps[0].Meta.Settled = []Mark{{1, 2}}
	b := NewBatch(ps)
	answers := s.post(b.ContentType(), b, 3)
	if diff := cmp.Diff([]string{"201", "201", "201"}, outcomes(answers)); diff != "" {
		t.Fatal(diff)
	}
	for name, want := range map[string]string{"a": "one", "ü b": "", "plain": "x\r\n--y\r\n"} {
		if got, ok := in.file(name); !ok || got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if a := in.arrivals[0]; !a.MTime.Equal(mtime) || a.Hops != "n7" || a.Size != 3 || a.Key != "k0" {
		t.Errorf("arrival %+v", a)
	}
	if len(in.marks["k0"]) != 1 {
		t.Error("marks not passed on")
	}
	if r := answers[1].Receipt; r.ID != "k1" || r.Name != "ü b" || r.Collector != "c1" || r.Durability != DurabilityGroup {
		t.Errorf("receipt %+v", r)
	}
	again := NewBatch([]BatchPart{part("k0", "a", "one"), part("k2", "c", "new")})
	if diff := cmp.Diff([]string{"200", "201"}, outcomes(s.post(again.ContentType(), again, 2))); diff != "" {
		t.Error(diff)
	}
}

// rawBatch joins parts, each with its headers, with the boundary "b".
func rawBatch(parts ...string) string {
	var s strings.Builder
	for i, p := range parts {
		if i > 0 {
			s.WriteString("\r\n")
		}
		s.WriteString("--b\r\n" + p)
	}
	return s.String() + "\r\n--b--\r\n"
}

const rawType = "multipart/mixed; boundary=b"

func TestBadPartsKeepToThemselves(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	in.begin = func(a Arrival) error { return map[string]error{"taken": ErrNameTaken, "full": ErrFull}[a.Name] }
	in.publish = func(_ context.Context, a Arrival) error {
		if a.Name == "panic" {
			panic("publish")
		}
		return map[string]error{"eio": ErrIO}[a.Name]
	}
	s := serveCollector(t, in, nil)
	digest := formatDigest(sha256.Sum256([]byte("other")))
	good := "Content-Location: /good\r\n\r\ngood"
	for _, tc := range []struct{ want, part string }{
		{"name-taken", "Content-Location: /taken\r\n\r\nx"},
		{"full", "Content-Location: /full\r\n\r\nx"},
		{"io", "Content-Location: /eio\r\n\r\nx"},
		{"internal", "Content-Location: /panic\r\n\r\nx"},
		{"bad-name", "Content-Location: /a/b\r\n\r\nx"},
		{"bad-name", "Content-Location: /%zz\r\n\r\nx"},
		{"bad-header", "Content-Length: 1\r\n\r\nx"},
		{"bad-header", "\r\nx"},
		{"bad-header", "Content-Location: /a\r\nContent-Location: /b\r\n\r\nx"},
		{"bad-header", "Content-Location: /a\r\nContent-Length: -1\r\n\r\nx"},
		{"bad-header", "Content-Location: /a\r\nRelay-Mtime: now\r\n\r\nx"},
		{"bad-header", "no header\r\n\r\nx"},
		{"bad-header", "Content-Location: /no-empty-line"},
		{"bad-header", "Content-Location: /a\r\nX-Long: " + strings.Repeat("x", maxPartHeader) + "\r\n\r\nx"},
		{"short-body", "Content-Location: /a\r\nContent-Length: 2\r\n\r\nx"},
		{"short-body", "Content-Location: /a\r\nContent-Length: 1\r\n\r\nxx"},
		{"digest-mismatch", "Content-Location: /a\r\nRepr-Digest: " + digest + "\r\n\r\nx"},
		{"encoded-body", "Content-Location: /a\r\nContent-Encoding: gzip\r\n\r\nx"},
		{"encoded-body", "Content-Location: /a\r\nContent-Transfer-Encoding: base64\r\n\r\neA=="},
		{"too-large", "Content-Location: /a\r\nContent-Length: 8388609\r\n\r\nx"},
		{"too-large", "Content-Location: /a\r\n\r\n" + strings.Repeat("x", MaxBatchPartBytes+1)},
		{"wrong-cluster", "Content-Location: /a\r\nRelay-Cluster: cluster2\r\n\r\nx"},
		{"too-many-hops", "Content-Location: /a\r\nRelay-Hops: " + strings.Repeat("n,", 16) + "n\r\n\r\nx"},
	} {
		answers := s.post(rawType, strings.NewReader(rawBatch(good, tc.part, good)), 3)
		if diff := cmp.Diff([]string{"201", tc.want, "201"}, outcomes(answers)); diff != "" {
			t.Errorf("%.60q: %s", tc.part, diff)
		}
	}
}

func TestBrokenTailOfABatch(t *testing.T) {
	t.Parallel()
	whole := "--b\r\nContent-Location: /a\r\n\r\none\r\n--b\r\nContent-Location: /b\r\n\r\ntwo"
	for name, tc := range map[string]struct {
		tail string
		want []string
	}{
		"cut in a part":         {"", []string{"201", "short-body"}},
		"cut in a header":       {"\r\n--b\r\nContent-Loc", []string{"201", "201", "short-body"}},
		"cut behind a boundary": {"\r\n--b\r\n", []string{"201", "201", "short-body"}},
		"no boundary":           {"\r\n--bx", []string{"201", "short-body"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newFakeInbox(t)
			s := serveCollector(t, in, nil)
			answers := s.post(rawType, strings.NewReader(whole+tc.tail), 3)
			if diff := cmp.Diff(tc.want, outcomes(answers)); diff != "" {
				t.Error(diff)
			}
			if got, _ := in.file("a"); got != "one" {
				t.Errorf("the part that was whole: %q", got)
			}
		})
	}
	s := serveCollector(t, newFakeInbox(t), nil)
	if diff := cmp.Diff([]string{"bad-header"}, outcomes(s.post(rawType, strings.NewReader("preamble"), 1))); diff != "" {
		t.Error(diff)
	}
	if answers := s.post(rawType, strings.NewReader("--b--\r\n"), 0); len(answers) != 0 {
		t.Errorf("empty batch: %v", outcomes(answers))
	}
}

// The sender of a batch is cut off: what was whole is published.
func TestBatchCutByTheSender(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, nil)
	c := dialRaw(t, s.addr)
	c.send("--b\r\nContent-Location: /a\r\nIdempotency-Key: k\r\n\r\none\r\n--b\r\nContent-Location: /b\r\n\r\ntw",
		"POST / HTTP/1.1", "Host: x", "Content-Type: "+rawType, "Content-Length: 1000")
	c.closeWrite()
	resp, body := c.answer()
	answers, err := decodeAnswers(bytes.NewReader(body), 2)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	if diff := cmp.Diff([]string{"201", "short-body"}, outcomes(answers)); diff != "" {
		t.Error(diff)
	}
}

func TestSlowBatchIsCut(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, func(cfg *CollectorConfig) { cfg.RateWindow = 50 * time.Millisecond })
	c := dialRaw(t, s.addr)
	c.send("--b\r\nContent-Location: /a\r\n\r\none\r\n--b\r\nContent-Location: /b\r\n\r\ntw",
		"POST / HTTP/1.1", "Host: x", "Content-Type: "+rawType, "Content-Length: 1000")
	_, body := c.answer() // though we say no more
	answers, err := decodeAnswers(bytes.NewReader(body), 2)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"201", "too-slow"}, outcomes(answers)); diff != "" {
		t.Error(diff)
	}
}

// All parts must wait in Publish at the same time: that is what makes them one
// group.
func TestPartsArePublishedTogether(t *testing.T) {
	t.Parallel()
	const n = publishWindow
	in := newFakeInbox(t)
	arrived, all := make(chan struct{}, n), make(chan struct{})
	in.publish = func(context.Context, Arrival) error {
		arrived <- struct{}{}
		select {
		case <-all:
			return nil
		case <-time.After(20 * time.Second):
			return errors.New("published apart")
		}
	}
	go func() {
		for range n {
			<-arrived
		}
		close(all)
	}()
	s := serveCollector(t, in, nil)
	b := NewBatch(parts(n))
	for i, a := range s.post(b.ContentType(), b, n) {
		if a.Problem != nil || a.Receipt.Name != fmt.Sprintf("f%d", i) {
			t.Fatalf("part %d: %v %v", i, a.Receipt, a.Problem)
		}
	}
}

// A window is published while the rest of the batch is still read, so that a
// batch has a bounded number of files open.
func TestWindowIsPublishedBeforeTheRest(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	published := make(chan struct{}, publishWindow+1)
	in.publish = func(context.Context, Arrival) error { published <- struct{}{}; return nil }
	in.begin = func(a Arrival) error {
		if a.Name == fmt.Sprintf("f%d", publishWindow) {
			select {
			case <-published:
			case <-time.After(20 * time.Second):
				return errors.New("nothing published before")
			}
		}
		return nil
	}
	s := serveCollector(t, in, nil)
	b := NewBatch(parts(publishWindow + 1))
	for i, a := range s.post(b.ContentType(), b, publishWindow+1) {
		if a.Problem != nil {
			t.Fatalf("part %d: %v", i, a.Problem)
		}
	}
}

func TestBatchOfTooManyParts(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	s := serveCollector(t, in, nil)
	b := NewBatch(parts(MaxBatchParts + 2))
	answers := s.post(b.ContentType(), b, MaxBatchParts+2)
	if len(answers) != MaxBatchParts+1 {
		t.Fatalf("%d answers", len(answers))
	}
	for i, a := range answers {
		want := "201"
		if i == MaxBatchParts {
			want = "too-large"
		}
		if outcome(a) != want {
			t.Fatalf("part %d: %s", i, outcome(a))
		}
	}
}

// With fewer places than parts, batches publish what they hold and go on.
func TestBatchesShareTheirPlaces(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	c := NewCollector(CollectorConfig{ID: "c1", Inbox: in})
	c.slots = make(chan struct{}, 2)
	s := serveHandler(t, c)
	b := NewBatch(parts(7))
	for i, a := range s.post(b.ContentType(), b, 7) {
		if a.Problem != nil {
			t.Errorf("part %d: %v", i, a.Problem)
		}
	}
	if len(c.slots) != 0 {
		t.Errorf("%d places not given back", len(c.slots))
	}
}

func TestPanicInABatchLeavesNothing(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t) // checks that every staging ended
	in.write = func(p []byte) error {
		if string(p) == "content 2" {
			panic("write")
		}
		return nil
	}
	c := NewCollector(CollectorConfig{ID: "c1", Inbox: in})
	s := serveHandler(t, c)
	b := NewBatch(parts(4))
	body, err := io.ReadAll(b)
	if err != nil {
		t.Fatal(err)
	}
	raw := dialRaw(t, s.addr)
	raw.send(string(body), "POST / HTTP/1.1", "Host: x", "Content-Type: "+b.ContentType(), fmt.Sprint("Content-Length: ", len(body)))
	if _, err := raw.br.ReadByte(); err == nil {
		t.Error("answered")
	}
	if len(c.slots) != 0 {
		t.Errorf("%d places not given back", len(c.slots))
	}
}
