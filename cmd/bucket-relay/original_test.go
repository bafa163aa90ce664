package main_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// originalCollector behaves as bucket-collector does: whatever the method, the
// raw tail of the URL is the name, the body becomes <name>.tmp and then <name>,
// and the answer is "success" as soon as the request has ended. It knows none of
// our headers. Two things that would hurt the real one are noted: a request
// without a name, which makes it crash, and any method but PUT, which makes an
// empty file of that name.
type originalCollector struct {
	t    testing.TB
	dir  string
	port int

	mu     sync.Mutex
	puts   map[string]int // by raw name
	harm   []string
	broken func(w http.ResponseWriter, r *http.Request) bool // answers instead when it returns true
}

func newOriginalCollector(t testing.TB) *originalCollector {
	t.Helper()
	o := &originalCollector{t: t, dir: t.TempDir(), puts: map[string]int{}}
	o.port = serveHTTP(t, o)
	return o
}

func (o *originalCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	broken := o.broken
	o.mu.Unlock()
	if broken != nil && broken(w, r) {
		return
	}
	name := strings.TrimPrefix(r.RequestURI, "/")
	o.mu.Lock()
	if r.Method != http.MethodPut || name == "" {
		o.harm = append(o.harm, r.Method+" "+r.RequestURI)
	}
	o.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil || name == "" {
		return
	}
	_, _ = io.WriteString(w, "success")
	tmp := filepath.Join(o.t.TempDir(), "tmp")
	if err := os.WriteFile(tmp, body, 0o600); err != nil {
		o.t.Error(err)
	}
	if err := os.Rename(tmp, filepath.Join(o.dir, name)); err != nil {
		o.t.Error(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.puts[name]++
}

// check fails the test if something was sent that the original cannot take.
func (o *originalCollector) check() {
	o.t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.harm) > 0 {
		o.t.Errorf("requests that the original takes for empty files, or dies of: %q", o.harm)
	}
}

func (o *originalCollector) setBroken(broken func(w http.ResponseWriter, r *http.Request) bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = broken
}

// originalUpload sends a file as bucket-uploader does: a connection of its own,
// no header but Host and the framing, the name as it is. The answer is read only
// for the test.
func originalUpload(ctx context.Context, port int, name string, body []byte, chunked bool) error {
	return originalUploadTo(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), name, body, chunked)
}

// originalUploadTo is the same to any address.
func originalUploadTo(ctx context.Context, address, name string, body []byte, chunked bool) error {
	conn, err := (&net.Dialer{Timeout: patienceLimit}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	text := fmt.Sprintf("PUT /%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", name, address)
	if chunked { // what Node does with a stream
		text += "Transfer-Encoding: chunked\r\n\r\n"
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 64<<10)
			text += fmt.Sprintf("%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		text += "0\r\n\r\n"
	} else {
		text += fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	if a := readAnswer(conn); a.status != http.StatusCreated {
		return fmt.Errorf("%s: %d %s", name, a.status, a.body)
	}
	return nil
}

// TestOriginalUploaderDelivers sends many files at once as the original does.
func TestOriginalUploaderDelivers(t *testing.T) {
	w := newWorld(t)
	in := w.inbox("in", "c")
	w.node("down", in).startReady()
	r := readInbox(t, in.dir, takeSome)
	s := newSamples(41)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 30) // its max_conn
	for i := range 200 {
		name, body := s.next()
		slots <- struct{}{}
		wg.Go(func() {
			if err := originalUpload(t.Context(), in.port, name, body, i%4 != 0); err != nil {
				t.Error(err)
			}
			<-slots
		})
	}
	wg.Wait()
	r.await(patienceLimit, s.made())
	r.check(s.made())
	in.checkStage()
}

// TestOriginalCollectorReceives has our uploader deliver into the original's
// collector, also what was claimed before a restart: spools says that this is
// at-least-once, and nothing is sent that would do harm there.
func TestOriginalCollectorReceives(t *testing.T) {
	w := newWorld(t)
	out := w.outbox("out", "c")
	o := newOriginalCollector(t)
	w.cluster("c").add("theirs", o.port)
	up := w.node("up", out)
	up.startReady()
	r := readInbox(t, o.dir, takeSome)
	s := newSamples(42)
	p := newProducer(t, out.dir, s)
	p.drop(200)
	p.dropOf(1, 300_000)
	p.dropOf(1, 3<<20)
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	if target := targetOf(up, "theirs"); !target.AtLeastOnce {
		t.Errorf("spools does not say at least once: %+v", target)
	}
	if text := runClient(t, up, "spools"); !strings.Contains(text, "at least once") {
		t.Errorf("bucket-relay spools does not say at least once:\n%s", text)
	}

	o.setBroken(func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "no", http.StatusBadGateway)
		return true
	})
	p.drop(20)
	p.dropOf(2, 3<<20)
	p.dropOf(2, 300_000)
	out.awaitClaimed(24)
	up.kill()
	o.setBroken(nil)
	up.restart()
	up.awaitReady()
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	r.check(s.made())
	o.check()
}

// runClient runs a client command against a node and returns what it prints.
func runClient(t testing.TB, n *node, args ...string) string {
	t.Helper()
	p := startProcess(t, filepath.Join(t.TempDir(), "client.log"), relayBinary(t), []string{"BUCKET_RELAY_ADDR=" + n.admin}, args...)
	if code := p.awaitEnd(patienceLimit).ExitCode(); code != 0 {
		t.Errorf("bucket-relay %s: exit code %d\n%s", strings.Join(args, " "), code, p.output())
	}
	return p.output()
}

// TestOriginalCollectorBesideOurs has one of each in a cluster: what a peer is
// counts for it alone. A peer at the original's address may become one of ours.
func TestOriginalCollectorBesideOurs(t *testing.T) {
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.inbox("ours", "c")
	o := newOriginalCollector(t)
	w.cluster("c").add("theirs", o.port)
	up := w.node("up", out)
	w.node("down", in).startReady()
	up.startReady()
	s := newSamples(43)
	ours, theirs := readInbox(t, in.dir, takeSome), readInbox(t, o.dir, takeSome)
	newProducer(t, out.dir, s).drop(100)
	ours.await(patienceLimit, s.made())
	theirs.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	if target := targetOf(up, "ours"); target.AtLeastOnce {
		t.Errorf("our own collector is said to be at least once: %+v", target)
	}
	ours.check(s.made())
	theirs.check(s.made())
	o.check()
}
