package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStrangersHoldLittle opens connections that only want to hold something,
// and sends on the side: honest files must pass all the time.
func TestStrangersHoldLittle(t *testing.T) {
	w := newWorld(t)
	in := w.inbox("in", "c")
	n := w.node("down", in)
	n.startReady()
	for name, stranger := range map[string]func(*testing.T, *inbox){
		"headers that never end":    slowHeaders,
		"a body that trickles":      slowBody,
		"a body that never begins":  noBody,
		"headers that are too many": hugeHeaders,
		"what is no HTTP":           garbage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stranger(t, in)
			honest(t, in, t.Name())
		})
	}
	t.Cleanup(func() {
		in.checkStage()
		if !n.running() {
			t.Errorf("the collector ended\n%s", n.tail())
		}
	})
}

// honest puts a file as curl -T would.
func honest(t *testing.T, in *inbox, test string) {
	t.Helper()
	name := strings.NewReplacer("/", "-", " ", "_").Replace(test)
	if a := rawRequest(t, in.port, rawPut("/"+name)); a.status != http.StatusCreated {
		t.Errorf("an honest file got %d %s", a.status, a.body)
	}
}

// trickle writes one byte after the other until the peer closes, and returns
// how long that took.
func trickle(conn net.Conn, every time.Duration, text string) time.Duration {
	start := time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		if _, err := io.WriteString(conn, text[i%len(text):i%len(text)+1]); err != nil {
			return time.Since(start)
		}
		<-tick.C
		if time.Since(start) > patienceLimit {
			return time.Since(start)
		}
	}
}

// slowHeaders sends a byte of a header now and then. ReadHeaderTimeout is 5 s.
func slowHeaders(t *testing.T, in *inbox) {
	var wg sync.WaitGroup
	for range 50 {
		conn := dialPort(t, in.port)
		_, _ = io.WriteString(conn, "PUT /slow HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		wg.Go(func() {
			defer func() { _ = conn.Close() }()
			if took := trickle(conn, 200*time.Millisecond, "a"); took > 20*time.Second {
				t.Errorf("unfinished headers were waited for %v", took)
			}
		})
	}
	honest(t, in, t.Name()+" meanwhile")
	wg.Wait()
}

// slowBody sends less than the minimum rate, which is 16 KiB/s over 10 s.
func slowBody(t *testing.T, in *inbox) {
	conn := dialPort(t, in.port)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, "PUT /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	done := make(chan rawAnswer, 1)
	go func() { done <- readAnswer(conn) }()
	took := trickle(conn, 200*time.Millisecond, "a")
	answer := <-done
	if answer.status != http.StatusRequestTimeout && answer.status != 0 || took > 30*time.Second {
		t.Errorf("a slow body got %d %s after %v, want 408", answer.status, answer.body, took)
	}
	checkNotPublished(t, in, "slow")
}

// noBody announces one and sends nothing.
func noBody(t *testing.T, in *inbox) {
	start := time.Now()
	answer := rawRequest(t, in.port, "PUT /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	if took := time.Since(start); answer.status != http.StatusRequestTimeout || took > 30*time.Second {
		t.Errorf("a missing body got %d %s after %v, want 408", answer.status, answer.body, took)
	}
	checkNotPublished(t, in, "nothing")
}

func checkNotPublished(t *testing.T, in *inbox, name string) {
	t.Helper()
	for _, there := range inboxNames(t, in) {
		if there == name {
			t.Errorf("%s was published", filepath.Join(in.dir, name))
		}
	}
}

func hugeHeaders(t *testing.T, in *inbox) {
	for _, headers := range []string{
		"X-Huge: " + strings.Repeat("a", 1<<20) + "\r\n",
		strings.Repeat("X-Many: a\r\n", 100_000),
		"Relay-Hops: " + strings.Repeat("n, ", 100_000) + "n\r\n",
	} {
		answer := rawRequest(t, in.port, "PUT /huge HTTP/1.1\r\nHost: x\r\n"+headers+"Content-Length: 5\r\n\r\nhello")
		// With so much of it unread, the answer may get lost in a reset.
		if answer.status != http.StatusRequestHeaderFieldsTooLarge && answer.status != 0 {
			t.Errorf("%d bytes of headers got %d %s, want 431", len(headers), answer.status, answer.body)
		}
	}
	checkNotPublished(t, in, "huge")
}

func garbage(t *testing.T, in *inbox) {
	const put, put11 = "PUT /garbage", "PUT /garbage HTTP/1.1\r\nHost: x\r\n"
	for _, text := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x00\x00\r\n\r\n", "\r\n\r\n\r\n\r\n",
		put + "\r\n\r\n", put + " HTTP/9.9\r\n\r\n", put + " HTTP/1.1\r\n\r\n",
		put11 + "Host: y\r\n\r\n", put11 + "Content-Length: -5\r\n\r\nhello", put11 + "Content-Length: 5, 6\r\n\r\nhello",
		put11 + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", put11 + "Content-Length: 99999999999999999999\r\n\r\n",
		put11 + "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", put11 + "Transfer-Encoding: gzip\r\n\r\nhello",
		put11 + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello", put11 + "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
		put11 + "Repr-Digest: sha-256=:AAAA:\r\nContent-Length: 5\r\n\r\nhello", put11 + "Relay-Mtime: yesterday\r\nContent-Length: 5\r\n\r\nhello",
		put11 + "Relay-Settled: x\r\nContent-Length: 5\r\n\r\nhello", put11 + "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nhello",
		put11 + "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 5\r\n\r\nhello",
	} {
		conn := dialPort(t, in.port)
		_, _ = io.WriteString(conn, text)
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Error(err)
		}
		if answer := readAnswer(conn); answer.status/100 != 4 && answer.status != 0 && answer.status != 501 && answer.status != 505 {
			t.Errorf("%.80q got %d %s", text, answer.status, answer.body)
		}
		_ = conn.Close()
	}
	checkNotPublished(t, in, "garbage")
}

// TestTooManyConnections fills the share of one peer: it is told so, another
// peer is not held up, and there is room again when the connections end.
func TestTooManyConnections(t *testing.T) {
	w := newWorld(t)
	in := w.inbox("in", "c")
	w.node("down", in).startReady()
	var conns []net.Conn
	for range 256 {
		conn := dialPort(t, in.port)
		conns = append(conns, conn)
		_, _ = io.WriteString(conn, "PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nbeginning")
	}
	for range 20 {
		a := rawRequest(t, in.port, rawPut("/beyond"))
		if a.status != http.StatusServiceUnavailable || a.code != "busy" || a.header.Get("Retry-After") == "" {
			t.Errorf("a connection beyond the limit got %d %s, want 503 busy with Retry-After", a.status, a.body)
		}
	}
	if status := putFrom(t, "127.0.0.2", in.port, "other-peer"); status != http.StatusCreated {
		t.Errorf("another peer got %d meanwhile", status)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	waitFor(t, patienceLimit, "room again", func() (bool, string) {
		a := rawRequest(t, in.port, rawPut("/again"))
		return a.status == http.StatusCreated, fmt.Sprintf("%d %s", a.status, a.body)
	})
	in.checkStage()
	checkNotPublished(t, in, "half")
	checkNotPublished(t, in, "beyond")
}

// putFrom puts a file from another address of this machine.
func putFrom(t *testing.T, from string, port int, name string) (status int) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patienceLimit}
	client := &http.Client{Timeout: patienceLimit, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, addr)
		},
	}}
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) + "/" + name
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}
