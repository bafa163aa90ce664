package httpapi

import (
	"net"
	"net/http"
	"testing"
	"time"
)

func TestConnectionsAboveTheLimit(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{
		"per peer": {ConnsPerPeer: 2},
		"in all":   {Conns: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := Listen(t.Context(), "127.0.0.1:0", limits)
			if err != nil {
				t.Fatal(err)
			}
			hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
			serve(t, NewServer(hello, limits, nil), ln)
			ask := func(c *rawConn) int {
				c.send("", "GET / HTTP/1.1", "Host: x")
				resp, body := c.answer()
				if resp.StatusCode == 503 {
					wantProblem(t, 503, body, 503, "busy")
					if !resp.Close || resp.Header.Get("Retry-After") == "" {
						t.Errorf("refused with %v", resp.Header)
					}
				}
				return resp.StatusCode
			}
			first, second := dialRaw(t, ln.Addr().String()), dialRaw(t, ln.Addr().String())
			if a, b := ask(first), ask(second); a != 204 || b != 204 {
				t.Fatalf("within the limit: %d, %d", a, b)
			}
			if got := ask(dialRaw(t, ln.Addr().String())); got != 503 {
				t.Errorf("above the limit: %d", got)
			}
			if ln.Refused() != 1 {
				t.Errorf("%d refused", ln.Refused())
			}
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "a place that was given back is taken", func() bool {
				return ask(dialRaw(t, ln.Addr().String())) == 204
			})
		})
	}
}

// An answer that comes before its request is an error to Go's client, and no
// refusal that a sender could act on.
func TestRefusalIsAnAnswerToTheRequest(t *testing.T) {
	t.Parallel()
	ln, err := Listen(t.Context(), "127.0.0.1:0", Limits{Conns: 1})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, NewServer(http.NotFoundHandler(), Limits{}, nil), ln)
	dialRaw(t, ln.Addr().String()).send("", "GET / HTTP/1.1", "Host: x")
	eventually(t, "the place is taken", func() bool {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		return ln.open == 1
	})
	for range 3 {
		c := dialRaw(t, ln.Addr().String())
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if b, err := c.br.ReadByte(); err == nil {
			t.Fatalf("answered before the request, beginning with %q", b)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		c.send("", "PUT /a HTTP/1.1", "Host: x", "Content-Length: 1000")
		if resp, _ := c.answer(); resp.StatusCode != 503 {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
}

func TestListenerCloseWaitsForWhatIsRefused(t *testing.T) {
	t.Parallel()
	ln, err := Listen(t.Context(), "127.0.0.1:0", Limits{Conns: 1})
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 1)
	ended := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
		_, err = ln.Accept()
		ended <- err
	}()
	dialRaw(t, ln.Addr().String())
	conn := <-accepted
	refused := dialRaw(t, ln.Addr().String())
	if resp, _ := refused.answer(); resp.StatusCode != 503 {
		t.Errorf("%d", resp.StatusCode)
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("accepted after Close")
	}
	for range 2 { // net/http may close twice; the place is given back once
		_ = conn.Close()
	}
	if ln.open != 0 || len(ln.peers) != 0 || ln.refusing != 0 {
		t.Errorf("open %d, peers %v, refusing %d", ln.open, ln.peers, ln.refusing)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if ln, err := Listen(t.Context(), "127.0.0.1:no", Limits{}); err == nil {
		t.Error("listening", ln.Close())
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := t.Context()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not so within ten seconds: %s", what)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}
