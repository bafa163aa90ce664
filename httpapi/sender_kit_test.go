package httpapi

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const testID = "3f0c8a52-0a1b-4c3d-8e4f-5a6b7c8d9e0f.00c0ffee00c0ffee.2a"

// offerOf offers content under a name.
func offerOf(name string, content []byte) Offer {
	return Offer{
		ID: testID, Name: name, Size: int64(len(content)), Digest: sha256.Sum256(content), Body: bytes.NewReader(content),
	}
}

// bytesOf gives n bytes that are not all the same.
func bytesOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i >> 8 * 7)
	}
	return b
}

// receiptOf is what an honest collector says of an offer.
func receiptOf(o Offer) Receipt {
	return Receipt{
		ID: o.ID, Name: o.Name, PublishedAs: o.Name, Size: o.Size, SHA256: hex.EncodeToString(o.Digest[:]),
		Collector: "c1", Durability: DurabilityGroup,
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// newTestSender makes a sender that is closed with the test.
func newTestSender(t *testing.T, cfg SenderConfig) *Sender {
	t.Helper()
	s := NewSender(cfg)
	t.Cleanup(s.Close)
	return s
}

// httpPeer is a collector made of a handler.
func httpPeer(t *testing.T, h http.HandlerFunc) Peer {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return Peer{Base: srv.URL}
}

// answering is a collector that takes the whole body and says one thing.
func answering(t *testing.T, status int, header map[string]string, body []byte) Peer {
	t.Helper()
	return httpPeer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = w.Write(body)
	})
}

// wire is a peer below HTTP: each accepted connection is given to the next of
// its scripts, the last of which serves all that follow. A connection is closed
// when its script returns.
type wire struct {
	ln      net.Listener
	wg      sync.WaitGroup
	mu      sync.Mutex
	conns   []net.Conn
	scripts []func(c *wireConn)
}

// wireConn is one connection with a buffered reader over it.
type wireConn struct {
	net.Conn
	br *bufio.Reader
}

func newWire(t *testing.T, scripts ...func(c *wireConn)) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{ln: ln, scripts: scripts}
	w.wg.Go(w.acceptLoop)
	t.Cleanup(w.close)
	return w
}

func (w *wire) peer() Peer { return Peer{Base: "http://" + w.ln.Addr().String()} }

func (w *wire) acceptLoop() {
	for {
		conn, err := w.ln.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		script := w.scripts[min(len(w.conns), len(w.scripts)-1)]
		w.conns = append(w.conns, conn)
		w.mu.Unlock()
		w.wg.Go(func() {
			defer func() { _ = conn.Close() }()
			script(&wireConn{conn, bufio.NewReader(conn)})
		})
	}
}

// accepted is how many connections there were.
func (w *wire) accepted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

func (w *wire) close() {
	_ = w.ln.Close()
	w.mu.Lock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// readHead reads the headers of a request and returns it; its body is unread.
func (c *wireConn) readHead() (*http.Request, error) { return http.ReadRequest(c.br) }

// readWhole reads a request with its body.
func (c *wireConn) readWhole() error {
	r, err := c.readHead()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// say answers with a body of exactly that text.
func (c *wireConn) say(status int, body []byte) {
	_, _ = fmt.Fprintf(c, "HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

// untilClosed waits for the other end to give up.
func (c *wireConn) untilClosed() { _, _ = io.Copy(io.Discard, c.br) }

// reset drops the connection without a goodbye.
func (c *wireConn) reset() {
	_ = c.Conn.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// wantSendError checks what an attempt ended with.
func wantSendError(t *testing.T, err error, outcome Outcome, code string) {
	t.Helper()
	_ = mustSendError(t, err, outcome, code)
}

// mustSendError does so too, and returns it for a closer look.
func mustSendError(t *testing.T, err error, outcome Outcome, code string) *SendError {
	t.Helper()
	e := asSendError(t, err)
	if e.Outcome != outcome || e.Code != code {
		t.Fatalf("got outcome %v, code %q (%v), want %v, %q", e.Outcome, e.Code, e, outcome, code)
	}
	return e
}

func asSendError(t *testing.T, err error) *SendError {
	t.Helper()
	e, ok := errors.AsType[*SendError](err)
	if !ok {
		t.Fatalf("got error %v (%T), want a SendError", err, err)
	}
	return e
}

// within fails a test that a missing protection would leave hanging.
func within(t *testing.T, d time.Duration, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("still under way after %v", d)
	}
}
