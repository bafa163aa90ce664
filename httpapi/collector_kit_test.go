package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeInbox is an inbox in memory. It keeps partial files of any size, and
// fails the test when a staging does not end exactly once.
type fakeInbox struct {
	t testing.TB

	begin   func(Arrival) error                        // nil: take all
	write   func([]byte) error                         // nil: take all
	publish func(ctx context.Context, a Arrival) error // nil: publish

	mu       sync.Mutex
	files    map[string][]byte // published, by name
	receipts map[string]Receipt
	kept     map[string][]byte // partial, by key
	marks    map[string][]Mark // by key
	arrivals []Arrival
	stagings []*fakeStaging
}

func newFakeInbox(t testing.TB) *fakeInbox {
	in := &fakeInbox{
		t: t, files: map[string][]byte{}, receipts: map[string]Receipt{}, kept: map[string][]byte{}, marks: map[string][]Mark{},
	}
	t.Cleanup(in.checkEndings)
	return in
}

// checkEndings says which staging did not end exactly once. Servers are closed
// before, since they were made later.
func (in *fakeInbox) checkEndings() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.stagings {
		if len(s.endings) != 1 {
			in.t.Errorf("staging of %q ended %d times: %v", s.a.Name, len(s.endings), s.endings)
		}
	}
}

func (in *fakeInbox) Begin(_ context.Context, a Arrival) (Staging, error) {
	return in.open(a, nil)
}

func (in *fakeInbox) Resume(_ context.Context, a Arrival, offset int64) (Staging, error) {
	in.mu.Lock()
	have, ok := in.kept[a.Key]
	in.mu.Unlock()
	if !ok {
		return nil, ErrUnknownUpload
	}
	if int64(len(have)) != offset {
		return nil, fmt.Errorf("resume: %w", &OffsetError{Have: int64(len(have))})
	}
	return in.open(a, have)
}

func (in *fakeInbox) open(a Arrival, have []byte) (Staging, error) {
	in.mu.Lock()
	in.arrivals = append(in.arrivals, a)
	r, ok := in.receipts[a.Key]
	in.mu.Unlock()
	if ok && a.Key != "" {
		return nil, &DeliveredError{Receipt: r}
	}
	if in.begin != nil {
		if err := in.begin(a); err != nil {
			return nil, err
		}
	}
	s := &fakeStaging{in: in, a: a, data: bytes.Clone(have)}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stagings = append(in.stagings, s)
	return s, nil
}

func (in *fakeInbox) Progress(_ context.Context, key string) (Progress, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if r, ok := in.receipts[key]; ok {
		return Progress{Receipt: &r}, nil
	}
	have, ok := in.kept[key]
	if !ok {
		return Progress{}, ErrUnknownUpload
	}
	return Progress{Offset: int64(len(have)), Size: -1}, nil
}

func (in *fakeInbox) Settle(key string, marks []Mark) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.marks[key] = marks
}

func (in *fakeInbox) file(name string) (string, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	data, ok := in.files[name]
	return string(data), ok
}

func (in *fakeInbox) endings() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var all []string
	for _, s := range in.stagings {
		all = append(all, s.endings...)
	}
	return all
}

type fakeStaging struct {
	in      *fakeInbox
	a       Arrival
	data    []byte
	endings []string // guarded by in.mu
}

func (s *fakeStaging) Write(p []byte) (int, error) {
	if s.in.write != nil {
		if err := s.in.write(p); err != nil {
			return 0, err
		}
	}
	s.data = append(s.data, p...)
	return len(p), nil
}

func (s *fakeStaging) end(how string) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.endings = append(s.endings, how)
}

func (s *fakeStaging) Keep() error {
	s.end("keep")
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.kept[s.a.Key] = s.data
	return nil
}

func (s *fakeStaging) Drop() error {
	s.end("drop")
	return nil
}

func (s *fakeStaging) Publish(ctx context.Context) (Receipt, error) {
	s.end("publish")
	if s.in.publish != nil {
		if err := s.in.publish(ctx, s.a); err != nil {
			return Receipt{}, err
		}
	}
	digest := sha256.Sum256(s.data)
	if s.a.Digest != nil && digest != *s.a.Digest {
		return Receipt{}, ErrDigest
	}
	if s.a.Size >= 0 && s.a.Size != int64(len(s.data)) {
		return Receipt{}, ErrShort
	}
	r := Receipt{
		ID: s.a.Key, Name: s.a.Name, PublishedAs: s.a.Name, Size: int64(len(s.data)), SHA256: hex.EncodeToString(digest[:]),
	}
	if r.ID == "" {
		r.ID = "plain"
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.files[s.a.Name] = s.data
	s.in.receipts[s.a.Key] = r
	delete(s.in.kept, s.a.Key)
	return r, nil
}

// collectorServer is a Collector on a real socket.
type collectorServer struct {
	t    testing.TB
	addr string
	url  string
	http *http.Client
}

// serveCollector runs a collector over in with the limits of a test: a body may
// stall for a second.
func serveCollector(t testing.TB, in Inbox, change func(*CollectorConfig)) *collectorServer {
	t.Helper()
	cfg := CollectorConfig{ID: "c1", Cluster: "cluster1", NodeID: "n1", Inbox: in, RateWindow: time.Second}
	if change != nil {
		change(&cfg)
	}
	return serveHandler(t, NewCollector(cfg))
}

func serveHandler(t testing.TB, h http.Handler) *collectorServer {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.Config = NewServer(h, Limits{}, nil)
	srv.Start()
	t.Cleanup(srv.Close)
	return &collectorServer{t, srv.Listener.Addr().String(), srv.URL, srv.Client()}
}

// do sends a request and returns status, headers and body of the answer.
func (s *collectorServer) do(method, path string, body io.Reader, headers ...string) (int, http.Header, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, answer
}

// rawConn speaks to a server byte by byte. All that takes longer than ten
// seconds fails.
type rawConn struct {
	t testing.TB
	*net.TCPConn
	br *bufio.Reader
}

func dialRaw(t testing.TB, addr string) *rawConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &rawConn{t, conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// send writes lines, each with CRLF, and then body.
func (c *rawConn) send(body string, lines ...string) {
	c.t.Helper()
	head := ""
	if len(lines) > 0 {
		head = strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	if _, err := io.WriteString(c, head+body); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer, which may be an interim one.
func (c *rawConn) answer() (*http.Response, []byte) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, body
}

func (c *rawConn) closeWrite() {
	c.t.Helper()
	if err := c.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// wantProblem checks status and code of an answer.
func wantProblem(t testing.TB, status int, body []byte, wantStatus int, wantCode string) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("no problem document: %v: %s", err, body)
	}
	if status != wantStatus || p.Status != wantStatus || p.Code != wantCode {
		t.Errorf("answer %d with %d %s, want %d %s: %s", status, p.Status, p.Code, wantStatus, wantCode, body)
	}
	return p
}

// wantReceipt checks an answer that is a receipt of content under name.
func wantReceipt(t testing.TB, status int, body []byte, wantStatus int, key, name, content string) {
	t.Helper()
	if status != wantStatus {
		t.Fatalf("status %d, want %d: %s", status, wantStatus, body)
	}
	r, err := parseReceipt(status, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.matches(key, int64(len(content)), sha256.Sum256([]byte(content))); err != nil {
		t.Error(err)
	}
	if r.Name != name || r.Collector != "c1" || r.Durability != DurabilityGroup || r.Duplicate != (wantStatus == 200) {
		t.Errorf("receipt %+v", r)
	}
}
