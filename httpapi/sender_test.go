package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestPutSendsTheFileWithItsHeaders(t *testing.T) {
	t.Parallel()
	names := []string{
		"a.json", "a b.json", `quo"te'.txt`, "grüße.log", "日本語", "100%", "%2e%2e%2f", "a?b#c", "a;b&c=d+e",
		"~x", "a:b@c", `back\slash`, strings.Repeat("n", 200),
	}
	for _, name := range names {
		t.Run(fmt.Sprintf("%.20s", name), func(t *testing.T) {
			t.Parallel()
			checkPutOnWire(t, name, []byte("content"))
		})
	}
	for _, size := range []int{0, 1, expectAbove, expectAbove + 1, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			checkPutOnWire(t, "a.json", bytesOf(size))
		})
	}
}

func checkPutOnWire(t *testing.T, name string, content []byte) {
	t.Helper()
	o := offerOf(name, content)
	o.MTime = time.Date(2026, 7, 1, 12, 0, 0, 123, time.UTC)
	o.Cluster, o.Hops, o.PossibleDuplicate = "cluster1", "n1, n2", true
	o.Settled = []Mark{{Epoch: 0xc0ffee, Seq: 40}}
	peer := httpPeer(t, func(w http.ResponseWriter, r *http.Request) {
		got, err := unescapeName(r.URL.EscapedPath())
		if err != nil || got != name || r.Method != http.MethodPut {
			t.Errorf("got %s %q (name %q, %v), want PUT of %q", r.Method, r.URL.EscapedPath(), got, err, name)
		}
		m, err := parseMeta(r.Header)
		want := Meta{
			Key: testID, Digest: &o.Digest, MTime: o.MTime, Cluster: "cluster1", Hops: []string{"n1", "n2", "n3"},
			Settled: o.Settled, PossibleDuplicate: true,
		}
		if diff := cmp.Diff(want, m); diff != "" || err != nil {
			t.Errorf("headers (-want +got):\n%s%v", diff, err)
		}
		if announced := r.Header.Get("Expect") != ""; announced != (len(content) > expectAbove) {
			t.Errorf("%d bytes: Expect %q", len(content), r.Header.Get("Expect"))
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(body, content) || r.ContentLength != o.Size {
			t.Errorf("got %d bytes (%v), Content-Length %d, want %d", len(body), err, r.ContentLength, o.Size)
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(mustJSON(t, receiptOf(o)))
	})
	got, err := newTestSender(t, SenderConfig{NodeID: "n3"}).Put(t.Context(), peer, o)
	if diff := cmp.Diff(receiptOf(o), got); diff != "" || err != nil {
		t.Errorf("receipt (-want +got):\n%s%v", diff, err)
	}
}

func TestHopsThatCannotBeReadDoNotStopAFile(t *testing.T) {
	t.Parallel()
	o := offerOf("a", []byte("x"))
	o.Hops = "what\r\nEvil: 1"
	peer := httpPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get(headerHops); got != "n3" || r.Header.Get("Evil") != "" {
			t.Errorf("got hops %q, Evil %q", got, r.Header.Get("Evil"))
		}
		_, _ = w.Write(mustJSON(t, receiptOf(o)))
	})
	if _, err := newTestSender(t, SenderConfig{NodeID: "n3"}).Put(t.Context(), peer, o); err != nil {
		t.Fatal(err)
	}
}

func TestReceiptOfAnEarlierDeliveryCostsNoBody(t *testing.T) {
	t.Parallel()
	o := offerOf("big", bytesOf(8<<20))
	peer := httpPeer(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(mustJSON(t, receiptOf(o))) // 200, body unread
	})
	reads := &countingReader{r: bytes.NewReader(bytesOf(8 << 20))}
	o.Body = reads
	r, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, o)
	if err != nil || !r.Duplicate {
		t.Fatalf("got %+v, %v, want a receipt of a duplicate", r, err)
	}
	if n := reads.n.Load(); n != 0 {
		t.Errorf("%d bytes of the body were sent", n)
	}
}

func TestOnlyTheReceiptOfThisFileCounts(t *testing.T) {
	t.Parallel()
	o := offerOf("a.json", []byte("content"))
	change := func(f func(r *Receipt)) []byte {
		r := receiptOf(o)
		f(&r)
		return mustJSON(t, r)
	}
	cases := map[string]struct {
		status int
		body   []byte
	}{
		"another id":        {201, change(func(r *Receipt) { r.ID = "other" })},
		"another size":      {201, change(func(r *Receipt) { r.Size++ })},
		"another digest":    {201, change(func(r *Receipt) { r.SHA256 = strings.Repeat("0", 64) })},
		"no digest":         {201, change(func(r *Receipt) { r.SHA256 = "" })},
		"half an object":    {201, mustJSON(t, receiptOf(o))[:40]},
		"two objects":       {201, bytes.Repeat(mustJSON(t, receiptOf(o)), 2)},
		"nothing":           {200, nil},
		"a page":            {200, []byte("<html>welcome</html>")},
		"more than 64 KiB":  {201, append(mustJSON(t, receiptOf(o)), bytes.Repeat([]byte(" "), 64<<10)...)},
		"accepted":          {202, mustJSON(t, receiptOf(o))},
		"no content":        {204, nil},
		"success with 201":  {201, []byte("success")},
		"success and more":  {200, []byte("success\n")},
		"Success":           {200, []byte("Success")},
		"success as string": {200, []byte(`"success"`)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), answering(t, c.status, nil, c.body), o)
			if e := mustSendError(t, err, Unknown, CodeBadReceipt); e.Status != c.status {
				t.Errorf("got status %d, want %d", e.Status, c.status)
			}
		})
	}
}

func TestOriginalCollectorIsKnownByItsWord(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 7, 1 << 20} {
		o := offerOf("a.json", bytesOf(size))
		r, err := newTestSender(t, SenderConfig{}).Put(t.Context(), answering(t, 200, nil, []byte("success")), o)
		if err != nil || !r.Original || r.ID != o.ID {
			t.Fatalf("%d bytes: got %+v, %v, want the original's receipt", size, r, err)
		}
	}
}

func TestSuccessBeforeTheBodyWasTakenIsNone(t *testing.T) {
	t.Parallel()
	w := newWire(t, func(c *wireConn) {
		if _, err := c.readHead(); err == nil {
			c.say(200, []byte("success"))
			c.untilClosed()
		}
	})
	// Larger than what sockets buffer, so that it cannot have left.
	o := Offer{ID: testID, Name: "a", Size: 1 << 30, Body: zeros{}}
	within(t, 20*time.Second, func() {
		_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), w.peer(), o)
		wantSendError(t, err, Unknown, CodeBadReceipt)
	})
}

func TestSettledIsToldApart(t *testing.T) {
	t.Parallel()
	o := offerOf("a.json", []byte("content"))
	settled := mustJSON(t, Receipt{ID: testID, Name: "a.json", Collector: "c1", Durability: DurabilityGroup, Settled: true})
	_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), answering(t, 200, nil, settled), o)
	wantSendError(t, err, Settled, CodeSettled)
	o.ID = "another.id"
	_, err = newTestSender(t, SenderConfig{}).Put(t.Context(), answering(t, 200, nil, settled), o)
	wantSendError(t, err, Unknown, CodeBadReceipt)
}

func TestPutAfterAnAnswerReadsTheFileNoMore(t *testing.T) {
	t.Parallel()
	o := offerOf("a.json", nil)
	w := newWire(t, func(c *wireConn) {
		if _, err := c.readHead(); err != nil {
			return
		}
		c.say(100, nil)
		if _, err := io.CopyN(io.Discard, c.br, 1<<20); err == nil {
			c.say(507, nil)
			c.untilClosed()
		}
	})
	file := &closableReader{r: zeros{}}
	o.Size, o.Body = 1<<30, file
	within(t, 20*time.Second, func() {
		_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), w.peer(), o)
		file.closed.Store(true)
		wantSendError(t, err, Refused, codeUnknownPeer)
	})
	w.close()
	if file.late.Load() {
		t.Error("the file was read after Put had returned")
	}
}

func TestSourceThatCannotBeReadIsNotTheCollectorsFault(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{10, expectAbove + 10, 4 << 20} {
		peer := answering(t, 201, nil, []byte("{}"))
		broken := offerOf("a", bytesOf(int(size)))
		broken.Body = failingReader{good: size / 2}
		_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, broken)
		if e := mustSendError(t, err, Passing, CodeSource); !errors.Is(e, os.ErrPermission) {
			t.Errorf("%d bytes: cause %v, want the reader's", size, e.Err)
		}
		short := offerOf("a", bytesOf(int(size)))
		short.Body = bytes.NewReader(bytesOf(int(size) - 1))
		_, err = newTestSender(t, SenderConfig{}).Put(t.Context(), peer, short)
		wantSendError(t, err, Passing, CodeSource)
	}
}

func TestOffersThatNobodyCanTake(t *testing.T) {
	t.Parallel()
	good := offerOf("a", []byte("x"))
	for name, change := range map[string]func(o *Offer){
		"no id":       func(o *Offer) { o.ID = "" },
		"long id":     func(o *Offer) { o.ID = strings.Repeat("i", 129) },
		"id in lines": func(o *Offer) { o.ID = "a\r\nb" },
		"no name":     func(o *Offer) { o.Name = "" },
		"no body":     func(o *Offer) { o.Body = nil },
		"size":        func(o *Offer) { o.Size = -1 },
	} {
		o := good
		change(&o)
		_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), Peer{Base: "http://127.0.0.1:1"}, o)
		if e, ok := errors.AsType[*SendError](err); !ok || e.Outcome != Permanent || e.Code != CodeBadOffer {
			t.Errorf("%s: got %v, want a bad offer", name, err)
		}
	}
}

func TestManyPutsAtOnceLeaveNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		name, _ := unescapeName(r.URL.EscapedPath())
		o := offerOf(name, body)
		o.ID = strings.Trim(r.Header.Get(headerKey), `"`)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(mustJSON(t, receiptOf(o)))
	}))
	defer srv.Close()
	s := NewSender(SenderConfig{MaxConn: 4})
	defer s.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				o := offerOf(fmt.Sprintf("f%d-%d", i, j), bytesOf(j*20<<10))
				o.ID = fmt.Sprintf("id.%d.%d", i, j)
				if _, err := s.Put(t.Context(), Peer{Base: srv.URL}, o); err != nil {
					t.Errorf("%s: %v", o.Name, err)
				}
			}
		})
	}
	wg.Wait()
}

// countingReader counts what is read of it.
type countingReader struct {
	r io.ReaderAt
	n atomic.Int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n.Add(int64(n))
	return n, err
}

// zeros is a file of any size.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// closableReader notes reads after it was closed.
type closableReader struct {
	r            io.ReaderAt
	closed, late atomic.Bool
}

func (c *closableReader) ReadAt(p []byte, off int64) (int, error) {
	if c.closed.Load() {
		c.late.Store(true)
	}
	return c.r.ReadAt(p, off)
}

// failingReader gives good zeros and then an error.
type failingReader struct{ good int64 }

func (f failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.good {
		return 0, os.ErrPermission
	}
	n := min(int64(len(p)), f.good-off)
	clear(p[:n])
	if n < int64(len(p)) {
		return int(n), os.ErrPermission
	}
	return int(n), nil
}
