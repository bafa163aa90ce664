package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// fakeCollector answers deliveries as it is told: answer is called for each
// with its number, from 1 on, and returns false to let it succeed.
type fakeCollector struct {
	*httptest.Server
	id     string
	answer func(n int, w http.ResponseWriter, r *http.Request) bool

	mu   sync.Mutex
	keys []string // of the deliveries so far; guarded by mu
	last http.Header
}

func newFakeCollector(t *testing.T, id string, answer func(int, http.ResponseWriter, *http.Request) bool) *fakeCollector {
	f := &fakeCollector{id: id, answer: answer}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeCollector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		http.Error(w, "", http.StatusNotFound)
		return
	}
	f.mu.Lock()
	key, _ := strconv.Unquote(r.Header.Get("Idempotency-Key"))
	f.keys, f.last = append(f.keys, key), r.Header.Clone()
	n := len(f.keys)
	f.mu.Unlock()
	if f.answer != nil && f.answer(n, w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	sum := sha256.Sum256(body)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(httpapi.Receipt{
		ID: key, Name: strings.TrimPrefix(r.URL.Path, "/"), Size: int64(len(body)), SHA256: hex.EncodeToString(sum[:]),
		Collector: f.id, Durability: httpapi.DurabilityGroup,
	})
}

func (f *fakeCollector) member() httpapi.ClusterCollector {
	host, port, _ := net.SplitHostPort(f.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	return httpapi.ClusterCollector{ID: f.id, Address: host, Port: n, State: "active", Alive: true}
}

func (f *fakeCollector) seen() ([]string, http.Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.keys), f.last
}

func full(_ int, w http.ResponseWriter, _ *http.Request) bool {
	http.Error(w, "no space", http.StatusInsufficientStorage)
	return true
}

// cut takes the body and ends the connection without an answer.
func cut(_ int, w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	panic(http.ErrAbortHandler)
}

func cutOnce(n int, w http.ResponseWriter, r *http.Request) bool { return n == 1 && cut(n, w, r) }

// sourceOf is a CourierSource that knows one cluster, named c.
type sourceOf httpapi.Cluster

func (s sourceOf) Clusters(context.Context, uint64, time.Duration) (httpapi.Clusters, error) {
	return httpapi.Clusters{Clusters: map[string]httpapi.Cluster{"c": httpapi.Cluster(s)}}, nil
}

func (s sourceOf) Addr() string { return "here" }

// mustOpenCourier opens a courier for a cluster.
func mustOpenCourier(t *testing.T, cluster httpapi.Cluster, timeout time.Duration) *Courier {
	t.Helper()
	c, err := OpenCourier(t.Context(), CourierConfig{Source: sourceOf(cluster), Cluster: "c", Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// writeFiles makes a file of each content and returns their paths.
func writeFiles(t *testing.T, contents ...string) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i, content := range contents {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("f%d", i)))
		if err := os.WriteFile(paths[i], []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// sendTo sends files of the given content to a cluster of the collectors and
// returns what became of them, in their order. Whatever became of them, as much
// must have been sent in the end as was to be expected.
func sendTo(t *testing.T, mode fsm.Mode, failover string, timeout time.Duration, contents []string, to ...*fakeCollector) []Delivery {
	t.Helper()
	cluster := httpapi.Cluster{Mode: mode, FailoverAfter: failover}
	for _, f := range to {
		cluster.Collectors = append(cluster.Collectors, f.member())
	}
	paths := writeFiles(t, contents...)
	var all []Delivery // one after the other: Parallel is 1
	progress := &sums{}
	arrived := mustOpenCourier(t, cluster, timeout).Send(t.Context(), paths, progress, func(d Delivery) { all = append(all, d) })
	if want := !slices.ContainsFunc(all, func(d Delivery) bool { return !d.Arrived() }); arrived != want {
		t.Errorf("Send returned %t for %+v", arrived, all)
	}
	if e, m := progress.expected.Load(), progress.moved.Load(); e != m {
		t.Errorf("%d bytes expected, %d moved", e, m)
	}
	return all
}

// failure words why a collector does not have a file.
func failure(d Delivery, id string) string { return fmt.Sprint(d.Errors[id]) }

// sums is a CourierProgress that adds up what it is told.
type sums struct{ expected, moved atomic.Int64 }

func (s *sums) Expect(n int64)                           { s.expected.Add(n) }
func (s *sums) Moved(n int64)                            { s.moved.Add(n) }
func (*sums) Reading(string, int64, int64)               {}
func (*sums) Waits(string, string, error, time.Duration) {}

// fadingSource is a source that does not answer once it is gone.
type fadingSource struct {
	sourceOf
	gone  bool
	asked int
}

func (s *fadingSource) Clusters(ctx context.Context, index uint64, wait time.Duration) (httpapi.Clusters, error) {
	s.asked++
	if s.gone {
		return httpapi.Clusters{}, httpapi.ErrNoNode
	}
	return s.sourceOf.Clusters(ctx, index, wait)
}
