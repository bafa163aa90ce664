package httpapi

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// halfway is a collector that holds the beginning of one file.
type halfway struct {
	standing
	t     *testing.T
	offer Offer
	mu    sync.Mutex
	calls []string // method, and offset of a PATCH
}

// standing is what a collector knows of the file, and what it says of that.
type standing struct {
	known    bool
	have     []byte
	complete bool
	lie      int64 // added to the offset that HEAD tells
	head     int   // status of HEAD, if not 0
}

func (h *halfway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	call := r.Method
	if o := r.Header.Get(headerOffset); o != "" {
		call += " " + o
	}
	h.calls = append(h.calls, call)
	switch r.Method {
	case http.MethodHead:
		h.tellProgress(w)
	case http.MethodPatch:
		h.goOn(w, r)
	case http.MethodPut:
		if h.complete {
			_, _ = w.Write(mustJSON(h.t, receiptOf(h.offer)))
			return
		}
		h.have = nil
		h.take(w, r)
	}
}

func (h *halfway) tellProgress(w http.ResponseWriter) {
	switch {
	case h.head != 0:
		w.WriteHeader(h.head)
	case !h.known:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set(headerOffset, strconv.FormatInt(int64(len(h.have))+h.lie, 10))
		w.Header().Set(headerComplete, formatBool(h.complete))
		w.WriteHeader(http.StatusNoContent)
	}
}

func (h *halfway) goOn(w http.ResponseWriter, r *http.Request) {
	up, err := parseUpload(r.Header)
	if err != nil || up.complete == nil || !*up.complete || up.length != h.offer.Size ||
		r.Header.Get("Content-Type") != partialType || r.ContentLength != up.length-up.offset {
		h.t.Errorf("PATCH %+v, %v, Content-Length %d", r.Header, err, r.ContentLength)
	}
	if m, err := parseMeta(r.Header); err != nil || m.Key != h.offer.ID || *m.Digest != h.offer.Digest {
		h.t.Errorf("PATCH lacks what PUT tells: %+v, %v", m, err)
	}
	if up.offset != int64(len(h.have)) {
		w.Header().Set(headerOffset, strconv.Itoa(len(h.have)))
		_ = WriteProblem(w, r, &OffsetError{Have: int64(len(h.have))})
		return
	}
	h.take(w, r)
}

func (h *halfway) take(w http.ResponseWriter, r *http.Request) {
	rest, err := io.ReadAll(r.Body)
	if err != nil {
		h.t.Error(err)
	}
	h.have = append(h.have, rest...)
	want := make([]byte, h.offer.Size)
	if _, err := h.offer.Body.ReadAt(want, 0); err != nil || !bytes.Equal(h.have, want) {
		h.t.Errorf("the file did not arrive as it is (%v)", err)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(mustJSON(h.t, receiptOf(h.offer)))
}

func TestResume(t *testing.T) {
	t.Parallel()
	content := bytesOf(3 << 20)
	offer := offerOf("big", content)
	offer.Resume = true
	const mid = 1 << 20
	cases := map[string]struct {
		h     standing
		calls []string
	}{
		"nothing known":             {standing{}, []string{"HEAD", "PUT"}},
		"some of it":                {standing{known: true, have: content[:mid]}, []string{"HEAD", "PATCH 1048576"}},
		"begun, nothing durable":    {standing{known: true}, []string{"HEAD", "PATCH 0"}},
		"all of it, not published":  {standing{known: true, have: content}, []string{"HEAD", "PATCH 3145728"}},
		"published":                 {standing{known: true, have: content, complete: true}, []string{"HEAD", "PUT"}},
		"another offset by then":    {standing{known: true, have: content[:mid], lie: 7}, []string{"HEAD", "PATCH 1048583", "PATCH 1048576"}},
		"too much by then":          {standing{known: true, have: append(bytes.Clone(content), 'x'), lie: -2}, []string{"HEAD", "PATCH 3145727", "PUT"}},
		"more than there is":        {standing{known: true, have: content, lie: 1}, []string{"HEAD", "PUT"}},
		"HEAD unknown to the peer":  {standing{head: 405}, []string{"HEAD", "PUT"}},
		"HEAD without an offset":    {standing{head: 200}, []string{"HEAD", "PUT"}},
		"HEAD fails in some manner": {standing{head: 500}, []string{"HEAD", "PUT"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &halfway{t: t, offer: offer, standing: c.h}
			h.have = bytes.Clone(c.h.have)
			r, err := newTestSender(t, SenderConfig{}).Put(t.Context(), httpPeer(t, h.ServeHTTP), offer)
			if err != nil || r.Duplicate != c.h.complete {
				t.Fatalf("got %+v, %v", r, err)
			}
			if got, want := h.calls, c.calls; len(got) != len(want) || !equalStrings(got, want) {
				t.Errorf("got calls %q, want %q", got, want)
			}
		})
	}
}

func equalStrings(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestResumeOutcomes(t *testing.T) {
	t.Parallel()
	offer := offerOf("big", bytesOf(1<<20))
	offer.Resume = true
	const offset = "HTTP/1.1 204 X\r\nUpload-Offset: 10\r\nUpload-Complete: ?0\r\n\r\n"
	const complete = "HTTP/1.1 200 X\r\nUpload-Complete: ?1\r\nContent-Length: 0\r\n\r\n"
	head := func(c *wireConn, answer string) {
		_, _ = c.readHead()
		_, _ = io.WriteString(c, answer)
	}
	cases := map[string]struct {
		scripts []func(c *wireConn)
		cfg     SenderConfig
		outcome Outcome
		code    string
	}{
		"under way": {[]func(c *wireConn){
			func(c *wireConn) { head(c, "HTTP/1.1 409 X\r\nRetry-After: 1\r\n\r\n"); c.untilClosed() },
		}, SenderConfig{}, Unknown, "under-way"},
		"busy": {[]func(c *wireConn){
			func(c *wireConn) { head(c, "HTTP/1.1 503 X\r\n\r\n"); c.untilClosed() },
		}, SenderConfig{}, Refused, codeUnknownPeer},
		"silent before the rest is asked for": {[]func(c *wireConn){
			func(c *wireConn) { head(c, offset); c.untilClosed() },
			func(c *wireConn) { c.untilClosed() },
		}, SenderConfig{FirstByte: 200 * time.Millisecond}, Refused, CodeNoAnswer},
		"cut in the rest": {[]func(c *wireConn){
			func(c *wireConn) { head(c, offset); c.untilClosed() },
			func(c *wireConn) {
				_, _ = c.readHead()
				c.say(100, nil)
				_, _ = io.CopyN(io.Discard, c.br, 1000)
				c.reset()
			},
		}, SenderConfig{}, Unknown, CodeCut},
		"published, receipt refused": {[]func(c *wireConn){
			func(c *wireConn) {
				head(c, complete)
				_, _ = c.readHead()
				_, _ = io.WriteString(c, "HTTP/1.1 503 X\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				c.untilClosed()
			},
		}, SenderConfig{}, Unknown, codeUnknownPeer},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, c.scripts...)
			within(t, 20*time.Second, func() {
				_, err := newTestSender(t, c.cfg).Put(t.Context(), w.peer(), offer)
				wantSendError(t, err, c.outcome, c.code)
			})
		})
	}
}

func TestResumeAtAPeerThatNeverAnswersHead(t *testing.T) {
	t.Parallel()
	offer := offerOf("big", bytesOf(1<<20))
	offer.Resume = true
	w := newWire(t,
		func(c *wireConn) { c.untilClosed() },
		func(c *wireConn) {
			r, err := c.readHead()
			if err != nil {
				return
			}
			c.say(100, nil)
			_, _ = io.Copy(io.Discard, r.Body)
			c.say(200, []byte("success"))
		})
	s := newTestSender(t, SenderConfig{FirstByte: 500 * time.Millisecond})
	within(t, 20*time.Second, func() {
		r, err := s.Put(t.Context(), w.peer(), offer)
		if err != nil || !r.Original {
			t.Errorf("got %+v, %v, want the file to be sent whole", r, err)
		}
	})
}

// A collector that reads again what it has needs time in proportion before it
// asks for the rest; meanwhile it takes nothing, which is no stall.
func TestResumeWaitsForTheGoAheadOfTheRest(t *testing.T) {
	t.Parallel()
	offer := offerOf("big", bytesOf(8<<20))
	offer.Resume = true
	asked := make(chan struct{})
	w := newWire(t,
		func(c *wireConn) {
			_, _ = c.readHead()
			_, _ = io.WriteString(c, "HTTP/1.1 204 X\r\nUpload-Offset: 1\r\nUpload-Complete: ?0\r\n\r\n")
			c.untilClosed()
		},
		func(c *wireConn) {
			r, err := c.readHead()
			if err != nil {
				return
			}
			// Longer than an unannounced PUT would wait. Nothing may come meanwhile.
			_ = c.SetReadDeadline(time.Now().Add(maxGoAhead + 200*time.Millisecond))
			if _, err := c.br.Peek(1); err == nil {
				t.Error("the rest was sent before it was asked for")
			}
			_ = c.SetReadDeadline(time.Time{})
			close(asked)
			c.say(100, nil)
			_, _ = io.Copy(io.Discard, r.Body)
			c.say(201, mustJSON(t, receiptOf(offer)))
		})
	within(t, 20*time.Second, func() {
		if _, err := newTestSender(t, SenderConfig{}).Put(t.Context(), w.peer(), offer); err != nil {
			t.Error(err)
		}
		<-asked
	})
}
