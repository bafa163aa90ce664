package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOutcomeOfEveryAnswer(t *testing.T) {
	t.Parallel()
	problem := func(err error) *Problem { return problemOf(err) }
	page := func(status int) *Problem {
		return parseProblem(status, http.Header{}, []byte("<html>nginx</html>"))
	}
	cases := map[string]struct {
		p            *Problem
		unsent, sent Outcome
	}{
		"bad name":        {problem(ErrBadName), Permanent, Permanent},
		"digest mismatch": {problem(ErrDigest), Passing, Passing},
		"digest conflict": {problem(ErrDigestConflict), Permanent, Permanent},
		"name taken":      {problem(ErrNameTaken), Permanent, Permanent},
		"too large":       {problem(ErrTooLarge), Permanent, Permanent},
		"encoded body":    {problem(ErrEncodedBody), Permanent, Permanent},
		"bad header":      {problem(ErrBadHeader), Permanent, Permanent},
		"too many hops":   {problem(ErrTooManyHops), Permanent, Permanent},
		"full":            {problem(ErrFull), Refused, Refused},
		"busy":            {problem(ErrBusy), Refused, Refused},
		"unavailable":     {problem(ErrUnavailable), Refused, Refused},
		"under way":       {problem(ErrUnderWay), Unknown, Unknown},
		"wrong cluster":   {problem(ErrWrongCluster), Refused, Refused},
		"io":              {problem(ErrIO), Passing, Passing},
		"too slow":        {problem(ErrTooSlow), Passing, Passing},
		"short body":      {problem(ErrShort), Passing, Passing},
		"offset":          {problem(&OffsetError{Have: 7}), Passing, Passing},
		"not found":       {problem(ErrNotFound), Passing, Passing},
		"internal":        {problem(io.ErrClosedPipe), Refused, Unknown},
		"in doubt":        {problem(errors.Join(ErrIO, ErrInDoubt)), Unknown, Unknown},

		"page 101": {page(101), Passing, Passing}, "page 301": {page(301), Passing, Passing},
		"page 304": {page(304), Passing, Passing}, "page 307": {page(307), Passing, Passing},
		"page 400": {page(400), Passing, Passing}, "page 401": {page(401), Passing, Passing},
		"page 403": {page(403), Passing, Passing}, "page 404": {page(404), Passing, Passing},
		"page 405": {page(405), Passing, Passing}, "page 409": {page(409), Unknown, Unknown},
		"page 413": {page(413), Permanent, Permanent}, "page 422": {page(422), Permanent, Permanent},
		"page 429": {page(429), Refused, Refused}, "page 500": {page(500), Refused, Unknown},
		"page 501": {page(501), Passing, Passing}, "page 502": {page(502), Refused, Unknown},
		"page 503": {page(503), Refused, Refused}, "page 504": {page(504), Refused, Unknown},
		"page 507": {page(507), Refused, Refused}, "page 508": {page(508), Permanent, Permanent},
		"page 599": {page(599), Refused, Unknown},
	}
	for name, c := range cases {
		if got := judge(c.p, false); got != c.unsent {
			t.Errorf("%s, nothing sent: %v, want %v", name, got, c.unsent)
		}
		if got := judge(c.p, true); got != c.sent {
			t.Errorf("%s, sent: %v, want %v", name, got, c.sent)
		}
	}
}

func TestAnswersOnTheWire(t *testing.T) {
	t.Parallel()
	full := mustJSON(t, problemOf(ErrFull))
	cases := map[string]struct {
		status  int
		header  map[string]string
		body    []byte
		outcome Outcome
		code    string
		retry   time.Duration
	}{
		"full":             {507, map[string]string{"Retry-After": "7"}, full, Refused, "full", 7 * time.Second},
		"page of a proxy":  {502, nil, []byte("<html>"), Unknown, "http", 0},
		"redirect":         {307, map[string]string{"Location": "http://127.0.0.1:1/"}, nil, Passing, CodeRedirect, 0},
		"date to come":     {503, map[string]string{"Retry-After": "Fri, 31 Dec 2199 23:59:59 GMT"}, nil, Refused, "http", 0},
		"year to wait":     {503, map[string]string{"Retry-After": "31536000"}, nil, Refused, "http", maxRetryAfter},
		"conflict":         {422, nil, mustJSON(t, problemOf(ErrDigestConflict)), Permanent, "digest-conflict", 0},
		"endless document": {500, nil, bytes.Repeat([]byte("x"), 1<<20), Unknown, "http", 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := answering(t, c.status, c.header, c.body)
			_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, offerOf("a", []byte("x")))
			e := mustSendError(t, err, c.outcome, c.code)
			if e.Status != c.status || e.RetryAfter != c.retry || e.Detail == "" {
				t.Errorf("got %+v, want status %d, retry after %v and words", e, c.status, c.retry)
			}
		})
	}
}

func TestFullCollectorIsToldApartBeforeTheBody(t *testing.T) {
	t.Parallel()
	peer := httpPeer(t, func(w http.ResponseWriter, r *http.Request) { _ = WriteProblem(w, r, ErrFull) })
	reads := &countingReader{r: zeros{}}
	_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, Offer{ID: testID, Name: "a", Size: 1 << 30, Body: reads})
	wantSendError(t, err, Refused, "full")
	if n := reads.n.Load(); n != 0 {
		t.Errorf("%d bytes of the body were sent", n)
	}
}

func TestNobodyListening(t *testing.T) {
	t.Parallel()
	w := newWire(t, func(*wireConn) {})
	peer := w.peer()
	w.close()
	for _, size := range []int{0, 10, 1 << 20} {
		_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, offerOf("a", bytesOf(size)))
		wantSendError(t, err, Refused, CodeUnreachable)
	}
	_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), Peer{Base: "ftp://x"}, offerOf("a", nil))
	wantSendError(t, err, Refused, CodeUnreachable)
}

func TestCutsAndSilences(t *testing.T) {
	t.Parallel()
	big := offerOf("a", bytesOf(4<<20))
	small := offerOf("a", []byte("content"))
	halfReceipt := string(mustJSON(t, receiptOf(small))[:50])
	cases := map[string]struct {
		offer   Offer
		script  func(c *wireConn)
		outcome Outcome
		code    string
	}{
		"reset within the headers": {big, func(c *wireConn) {
			_, _ = c.br.ReadByte()
			c.reset()
		}, Refused, CodeCut},
		"reset after the headers, body not begun": {big, func(c *wireConn) {
			_, _ = c.readHead()
			c.reset()
		}, Refused, CodeCut},
		"reset after half of the body": {big, func(c *wireConn) {
			_, _ = c.readHead()
			c.say(100, nil)
			_, _ = io.CopyN(io.Discard, c.br, 2<<20)
			c.reset()
		}, Unknown, CodeCut},
		"reset after the whole body": {small, func(c *wireConn) {
			_ = c.readWhole()
			c.reset()
		}, Unknown, CodeCut},
		"closed after an empty file": {offerOf("a", nil), func(c *wireConn) { _ = c.readWhole() }, Unknown, CodeCut},
		"half an answer": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n"+halfReceipt)
		}, Unknown, CodeBadReceipt},
		"half a status line": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "HTTP/1.1 20")
		}, Unknown, CodeCut},
		"no HTTP": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "220 mail.example ESMTP\r\n")
		}, Unknown, CodeCut},
		"endless headers": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nX: "+strings.Repeat("x", maxAnswerHeader+1))
		}, Unknown, CodeCut},
		"half a refusal": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "HTTP/1.1 507 Full\r\nContent-Length: 500\r\n\r\n{")
		}, Refused, codeUnknownPeer},
		"silent": {small, func(c *wireConn) { c.untilClosed() }, Unknown, CodeNoAnswer},
		"silent after half an answer": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n"+halfReceipt)
			c.untilClosed()
		}, Unknown, CodeBadReceipt},
		"only interim answers": {small, func(c *wireConn) {
			_ = c.readWhole()
			_, _ = io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n")
			c.untilClosed()
		}, Unknown, CodeNoAnswer},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, c.script)
			cfg := SenderConfig{}
			if strings.Contains(name, "silent") || strings.Contains(name, "interim") {
				cfg.FirstByte = 50 * time.Millisecond
			}
			within(t, 20*time.Second, func() {
				_, err := newTestSender(t, cfg).Put(t.Context(), w.peer(), c.offer)
				wantSendError(t, err, c.outcome, c.code)
			})
			if n := w.accepted(); n != 1 {
				t.Errorf("%d connections: an attempt on a new connection is not repeated", n)
			}
		})
	}
}

func TestPeerThatTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	w := newWire(t, func(c *wireConn) {
		if _, err := c.readHead(); err == nil {
			c.say(100, nil)
			<-over
		}
	})
	t.Cleanup(func() { close(over) }) // before the wire waits for its script
	within(t, 20*time.Second, func() {
		s := newTestSender(t, SenderConfig{Stall: 100 * time.Millisecond})
		_, err := s.Put(t.Context(), w.peer(), Offer{ID: testID, Name: "a", Size: 1 << 30, Body: zeros{}})
		wantSendError(t, err, Unknown, CodeStalled)
	})
}

// The kernel's own clock stands in for the deadline on Linux, and only there;
// so this looks at the deadline alone.
func TestWritesHaveADeadline(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	defer func() { _ = far.Close() }()
	c := &stallConn{Conn: near, stall: 50 * time.Millisecond}
	within(t, 10*time.Second, func() {
		n, err := c.Write(make([]byte, 3*writeChunk))
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !timeout(err) {
			t.Errorf("got %d, %v, want nothing written before the deadline", n, err)
		}
	})
}

func TestPeerThatIsSlowButTakesEveryChunkIsNotCut(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	c := &stallConn{Conn: near, stall: 500 * time.Millisecond}
	taken := make(chan int64, 1)
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		n := int64(0)
		for range 16 { // 0.8 s in all
			<-tick.C
			m, err := io.CopyN(io.Discard, far, writeChunk)
			n += m
			if err != nil {
				break
			}
		}
		taken <- n
	}()
	n, err := c.ReadFrom(io.LimitReader(endless{}, 16*writeChunk))
	if got := <-taken; err != nil || n != 16*writeChunk || got != n {
		t.Errorf("sent %d (%v), taken %d, want %d", n, err, got, 16*writeChunk)
	}
	_ = near.Close()
	_ = far.Close()
}

// endless gives zeros for ever.
type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// pausing waits at the beginning of a read in the midst of a file, as a disk
// may. It notes whether a read is under way.
type pausing struct {
	pause   time.Duration
	reading atomic.Int32
}

func (r *pausing) ReadAt(p []byte, off int64) (int, error) {
	r.reading.Add(1)
	defer r.reading.Add(-1)
	if off > 0 {
		<-time.After(r.pause)
	}
	clear(p)
	return len(p), nil
}

func TestSlowDiskIsNoSilenceOfTheCollector(t *testing.T) {
	t.Parallel()
	o := offerOf("a", make([]byte, expectAbove+writeChunk*2))
	o.Body = &pausing{pause: 600 * time.Millisecond}
	peer := answering(t, 201, nil, mustJSON(t, receiptOf(o)))
	s := newTestSender(t, SenderConfig{FirstByte: 500 * time.Millisecond, MinGoodput: 1 << 40})
	if _, err := s.Put(t.Context(), peer, o); err != nil {
		t.Error(err)
	}
}

func TestPutWaitsForItsLastRead(t *testing.T) {
	t.Parallel()
	w := newWire(t, func(c *wireConn) {
		if _, err := c.readHead(); err != nil {
			return
		}
		c.say(100, nil)
		if _, err := io.CopyN(io.Discard, c.br, writeChunk); err == nil {
			c.say(507, nil) // while the sender waits for its disk
			c.untilClosed()
		}
	})
	file := &pausing{pause: 100 * time.Millisecond}
	_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), w.peer(), Offer{ID: testID, Name: "a", Size: 1 << 30, Body: file})
	if n := file.reading.Load(); n != 0 {
		t.Error("the file was being read when Put returned")
	}
	wantSendError(t, err, Refused, codeUnknownPeer)
}

func TestAnswerThatStopsWhileTheBodyRuns(t *testing.T) {
	t.Parallel()
	w := newWire(t, func(c *wireConn) {
		if _, err := c.readHead(); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 100 X\r\n\r\nHTTP/1.1 507 X\r\nContent-Length: 10\r\n\r\n")
		c.untilClosed()
	})
	within(t, 20*time.Second, func() {
		s := newTestSender(t, SenderConfig{FirstByte: 200 * time.Millisecond, MinGoodput: 1 << 60})
		_, err := s.Put(t.Context(), w.peer(), Offer{ID: testID, Name: "a", Size: 1 << 50, Body: zeros{}})
		wantSendError(t, err, Refused, codeUnknownPeer)
	})
}

func TestEndlessAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	const plenty = 64 << 20
	written := make(chan int64, 1)
	w := newWire(t, func(c *wireConn) {
		_ = c.readWhole()
		_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\n\r\n")
		n, _ := io.CopyN(c, endless{}, plenty)
		written <- n
	})
	_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), w.peer(), offerOf("a", []byte("x")))
	wantSendError(t, err, Unknown, CodeBadReceipt)
	if n := <-written; n == plenty {
		t.Errorf("all of %d bytes were taken", n)
	}
}

func TestCallerWhoGivesUp(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	w := newWire(t, func(c *wireConn) {
		_ = c.readWhole()
		close(arrived)
		c.untilClosed()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := newTestSender(t, SenderConfig{}).Put(ctx, w.peer(), offerOf("a", []byte("x")))
	wantSendError(t, err, Unknown, CodeCanceled)
	_, err = newTestSender(t, SenderConfig{}).Put(ctx, w.peer(), offerOf("a", []byte("x")))
	wantSendError(t, err, Refused, CodeCanceled)
}

// serveOnce answers one request properly and keeps the connection.
func serveOnce(t *testing.T, c *wireConn, o Offer) {
	if err := c.readWhole(); err == nil {
		c.say(201, mustJSON(t, receiptOf(o)))
	}
}

func TestDeadIdleConnectionIsNoFailure(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"empty": 0, "small": 100, "announced": 4 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := offerOf("a", []byte("x")), offerOf("b", bytesOf(size))
			w := newWire(t, func(c *wireConn) {
				serveOnce(t, c, first)
				_, _ = c.br.Peek(1) // the second request is on its way
			}, func(c *wireConn) {
				head, err := c.readHead()
				if err != nil {
					return
				}
				if head.Header.Get("Expect") != "" {
					c.say(100, nil)
				}
				_, _ = io.Copy(io.Discard, head.Body)
				c.say(201, mustJSON(t, receiptOf(second)))
			})
			s := newTestSender(t, SenderConfig{})
			for _, o := range []Offer{first, second} {
				if _, err := s.Put(t.Context(), w.peer(), o); err != nil {
					t.Fatalf("%s: %v", o.Name, err)
				}
			}
			if n := w.accepted(); n != 2 {
				t.Errorf("%d connections, want 2", n)
			}
		})
	}
}

func TestRepeatThatFindsNobodyStaysUnknown(t *testing.T) {
	t.Parallel()
	o := offerOf("a", []byte("x"))
	var w *wire
	w = newWire(t, func(c *wireConn) {
		serveOnce(t, c, o)
		_ = c.readWhole() // published, for all that anyone knows
		_ = w.ln.Close()
	})
	s := newTestSender(t, SenderConfig{})
	if _, err := s.Put(t.Context(), w.peer(), o); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), w.peer(), o)
	wantSendError(t, err, Unknown, CodeUnreachable)
}

func TestLargeBodyIsNotRepeatedUnasked(t *testing.T) {
	t.Parallel()
	first, big := offerOf("a", []byte("x")), offerOf("b", bytesOf(8<<20))
	w := newWire(t, func(c *wireConn) {
		serveOnce(t, c, first)
		if _, err := c.readHead(); err == nil { // no go-ahead, so not a byte of an answer
			_, _ = io.CopyN(io.Discard, c.br, 1<<20)
			c.reset()
		}
	}, func(c *wireConn) {
		t.Error("the body was sent again from its beginning, where it should have been resumed")
	})
	s := newTestSender(t, SenderConfig{FirstByte: 200 * time.Millisecond})
	if _, err := s.Put(t.Context(), w.peer(), first); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), w.peer(), big)
	wantSendError(t, err, Unknown, CodeCut)
}

func TestOnePeerInTroubleHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	silent := newWire(t, func(c *wireConn) { c.untilClosed() })
	o := offerOf("a", []byte("x"))
	healthy := answering(t, 201, nil, mustJSON(t, receiptOf(o)))
	s := newTestSender(t, SenderConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	var stuck atomic.Int32
	done := make(chan struct{})
	for range 40 {
		stuck.Add(1)
		go func() {
			_, _ = s.Put(ctx, silent.peer(), o)
			if stuck.Add(-1) == 0 {
				close(done)
			}
		}()
	}
	within(t, 20*time.Second, func() {
		for range 20 {
			if _, err := s.Put(t.Context(), healthy, o); err != nil {
				t.Errorf("healthy: %v", err)
			}
		}
	})
	if stuck.Load() == 0 {
		t.Error("nobody was stuck: the test shows nothing")
	}
	cancel()
	<-done
}

func TestNoProxyIsAsked(t *testing.T) {
	t.Parallel()
	// net/http never asks one for loopback, so a request would show nothing.
	if newTransport(dialConfig{}).Proxy != nil {
		t.Error("the transport asks for a proxy")
	}
}
