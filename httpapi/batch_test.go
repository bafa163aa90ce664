package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestBatchSizeIsKnown(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 3} {
		b := NewBatch(parts(n))
		body, err := io.ReadAll(b)
		if err != nil || int64(len(body)) != b.Size() {
			t.Errorf("%d parts: %d bytes, said %d: %v", n, len(body), b.Size(), err)
		}
	}
}

// A file that shrinks or cannot be read costs only its own part.
func TestBatchFillsUp(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	ps := parts(3)
	ps[0].Body = io.MultiReader(strings.NewReader("cont"), iotest.ErrReader(broken))
	ps[1].Body = strings.NewReader("cut")
	b := NewBatch(ps)
	got := readBatch(t, b, strings.TrimPrefix(b.ContentType(), "multipart/mixed; boundary="))
	want := []string{"cont\x00\x00\x00\x00\x00", "cut\x00\x00\x00\x00\x00\x00", "content 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(b.Err(0), broken) || !errors.Is(b.Err(1), io.ErrUnexpectedEOF) || b.Err(2) != nil {
		t.Errorf("errors %v, %v, %v", b.Err(0), b.Err(1), b.Err(2))
	}
}

// readBatch reads a whole batch and returns the bodies.
func readBatch(t *testing.T, r io.Reader, boundary string) []string {
	t.Helper()
	br := newBatchReader(r, boundary)
	var bodies []string
	for {
		_, err := br.next()
		if errors.Is(err, io.EOF) {
			return bodies
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(br)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, string(body))
	}
}

func TestBatchReaderInSmallPieces(t *testing.T) {
	t.Parallel()
	b := NewBatch([]BatchPart{part("k", "a", "\r\n--\r\r\n"), part("k", "b", ""), part("k", "c", strings.Repeat("\r\n-", batchBuffer))})
	got := readBatch(t, iotest.OneByteReader(b), b.boundary)
	want := []string{"\r\n--\r\r\n", "", strings.Repeat("\r\n-", batchBuffer)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTextThatLooksLikeABoundary(t *testing.T) {
	t.Parallel()
	wire := rawBatch("\r\none\r\n--bx\r\n--b \r\n-b--\r\n", "\r\n\r\n--b\r", "\r\n--b--")
	want := []string{"one\r\n--bx\r\n--b \r\n-b--\r\n", "\r\n--b\r", "--b--"}
	if diff := cmp.Diff(want, readBatch(t, strings.NewReader(wire), "b")); diff != "" {
		t.Error(diff)
	}
}

// A part that lacks its empty line must not take the next one's for it, even
// where the boundary could be a header.
func TestPartWithoutEndOfHeader(t *testing.T) {
	t.Parallel()
	br := newBatchReader(strings.NewReader("--b:c\r\nA: 1\r\n--b:c\r\nA: 2\r\n\r\nbody\r\n--b:c--"), "b:c")
	if h, err := br.next(); err == nil {
		t.Errorf("part with headers %v", h)
	}
	h, err := br.next()
	if err != nil || h.Get("A") != "2" {
		t.Fatalf("%v, %v", h, err)
	}
	if body, err := io.ReadAll(br); err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestBatchReaderSkipsWhatWasNotRead(t *testing.T) {
	t.Parallel()
	b := NewBatch(parts(3))
	br := newBatchReader(b, b.boundary)
	for i := range 3 {
		h, err := br.next()
		if err != nil || h.Get("Content-Location") != "/f"+string(rune('0'+i)) {
			t.Fatalf("part %d: %v %v", i, h, err)
		}
	}
	for range 2 {
		if _, err := br.next(); !errors.Is(err, io.EOF) {
			t.Errorf("after the last: %v", err)
		}
	}
}

func TestBatchBoundary(t *testing.T) {
	t.Parallel()
	for ct, want := range map[string]string{
		"multipart/mixed; boundary=b":     "b",
		`Multipart/Mixed; boundary="a b"`: "a b",
		"multipart/form-data; boundary=b": "",
		"multipart/mixed":                 "",
		"":                                "",
		"multipart/mixed; boundary=" + strings.Repeat("b", 71): "",
	} {
		if got, err := batchBoundary(ct); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", ct, got, err)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	answers := []BatchAnswer{
		{Receipt: Receipt{ID: "k", Name: "<a>", PublishedAs: "a~1", SHA256: "00", Size: 0, Collector: "c", Durability: "group"}},
		{Receipt: Receipt{ID: "k2", Name: "b", Settled: true, Duplicate: true}},
		{Problem: problemOf(ErrFull)},
	}
	wire := encodeAnswers(answers)
	got, err := decodeAnswers(bytes.NewReader(wire), 3)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(answers, got); diff != "" {
		t.Error(diff)
	}
	for name, tc := range map[string]struct {
		body string
		n    int
		want int
	}{
		"fewer lines":   {string(wire), 5, 3},
		"more lines":    {string(wire), 2, 2},
		"cut":           {string(wire[:len(wire)-1]), 3, 2},
		"a proxy":       {"<html>\n", 1, 0},
		"other status":  {`{"status":204,"id":"k"}` + "\n", 1, 0},
		"no id":         {`{"status":201}` + "\n", 1, 0},
		"a line of MiB": {strings.Repeat(" ", 1<<20) + "\n", 1, 0},
	} {
		got, err := decodeAnswers(strings.NewReader(tc.body), tc.n)
		if len(got) != tc.want || (err == nil) != (name == "fewer lines") {
			t.Errorf("%s: %d answers, %v", name, len(got), err)
		}
	}
}

// FuzzBatchRead feeds strangers' bytes to the reader: it ends, within bounds.
func FuzzBatchRead(f *testing.F) {
	for _, s := range []string{
		rawBatch("Content-Location: /a\r\n\r\nx", "\r\n"), "--b--", "--b", "--b\r\n\r\n\r\n--b--", "--b\r\nx\r\n--b--\r\n",
		"--b\r\n\r\n\r\n--bx\r\n--b\r\n\r\n", "", "--b\r\n--b\r\n--b--", "--b\r\na: b\r\n c\r\n\r\n\r\n--b--",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		br := newBatchReader(bytes.NewReader(data), "b")
		seen := 0
		for {
			_, err := br.next()
			if _, only := errors.AsType[*partError](err); err != nil && !only {
				return
			}
			body, _ := io.ReadAll(br)
			if seen += len(body); seen > len(data) {
				t.Fatalf("%d bytes out of %d", seen, len(data))
			}
		}
	})
}

// FuzzBatchRoundTrip packs two files and unpacks them twice: with our reader
// and with the one of the standard library.
func FuzzBatchRoundTrip(f *testing.F) {
	f.Add("a", "x", "b", "\r\n--")
	f.Add("ü ?%/", "", "\r\n", strings.Repeat("\r\n--", 20_000))
	f.Fuzz(func(t *testing.T, name1, body1, name2, body2 string) {
		ps := []BatchPart{part("k1", name1, body1), part("k2", name2, body2)}
		b := NewBatch(ps)
		wire, err := io.ReadAll(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{body1, body2}, readBatch(t, bytes.NewReader(wire), b.boundary)); diff != "" {
			t.Error(diff)
		}
		_, params, err := mime.ParseMediaType(b.ContentType())
		if err != nil {
			t.Fatal(err)
		}
		mr := multipart.NewReader(bytes.NewReader(wire), params["boundary"])
		for i, want := range []string{body1, body2} {
			p, err := mr.NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(p)
			if err != nil || string(got) != want {
				t.Errorf("part %d: %q, %v", i, got, err)
			}
			if m, err := parseMeta(http.Header(p.Header)); err != nil || m.Key != ps[i].Meta.Key {
				t.Errorf("part %d: %+v, %v", i, m, err)
			}
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(string(encodeAnswers([]BatchAnswer{{Receipt: Receipt{ID: "k"}}, {Problem: problemOf(ErrFull)}})))
	f.Add("{}\n")
	f.Fuzz(func(t *testing.T, body string) {
		answers, err := decodeAnswers(strings.NewReader(body), 3)
		if len(answers) > 3 {
			t.Fatalf("%d answers", len(answers))
		}
		if err != nil {
			return
		}
		again, err := decodeAnswers(bytes.NewReader(encodeAnswers(answers)), 3)
		if err != nil || len(again) != len(answers) {
			t.Errorf("%d answers again, %v", len(again), err)
		}
	})
}
