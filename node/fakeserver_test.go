package node

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// fakeServer is the admin API of another node, as far as a client of the
// network asks it. What answer handles does not reach the rest.
type fakeServer struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	network string
	table   fsm.Table
	asked   []string // "METHOD /path"
	answer  func(w http.ResponseWriter, r *http.Request) bool
	changed chan struct{} // closed and replaced by set
	done    chan struct{} // closed by close
	close   func()
}

func newFakeServer(t *testing.T, network string, index uint64) *fakeServer {
	t.Helper()
	f := &fakeServer{t: t, network: network, table: tableAt(index), changed: make(chan struct{}), done: make(chan struct{})}
	server := httptest.NewServer(f)
	f.url = server.URL
	f.close = sync.OnceFunc(func() {
		close(f.done)
		server.CloseClientConnections()
		server.Close()
	})
	t.Cleanup(f.close)
	return f
}

// tableAt is a table of one cluster at an index.
func tableAt(index uint64, cs ...fsm.Collector) fsm.Table {
	return fsm.Table{Index: index, Clusters: map[fsm.ClusterName]fsm.Cluster{
		"c": {Name: "c", Mode: fsm.ModeAll, FailoverAfter: fsm.DefaultFailoverAfter, Collectors: cs},
	}}
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	answer, network := f.answer, f.network
	f.mu.Unlock()
	if answer != nil && answer(w, r) {
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/status":
		_ = json.NewEncoder(w).Encode(httpapi.Status{NetworkID: network, Ready: true})
	case "GET /v1/clusters":
		f.clusters(w, r)
	default:
		http.Error(w, "Cannot "+r.Method+" "+r.URL.Path, http.StatusNotFound)
	}
}

// clusters waits for another table as a node does.
func (f *fakeServer) clusters(w http.ResponseWriter, r *http.Request) {
	index, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait")) // 0 without one
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for waits := true; waits; {
		f.mu.Lock()
		table, changed := f.table, f.changed
		f.mu.Unlock()
		if table.Index != index {
			break
		}
		select {
		case <-r.Context().Done():
			return
		case <-f.done: // a client may have come again while the connections were closed
			return
		case <-changed:
		case <-timer.C:
			waits = false
		}
	}
	f.mu.Lock()
	table := f.table
	f.mu.Unlock()
	_ = json.NewEncoder(w).Encode(httpapi.NewClusters(table, nil))
}

func (f *fakeServer) set(change func(f *fakeServer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
	close(f.changed)
	f.changed = make(chan struct{})
}

// count is how many requests came that begin with these words.
func (f *fakeServer) count(request string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if strings.HasPrefix(a, request) {
			n++
		}
	}
	return n
}

// page answers everything with a page of HTML and a status.
func page(status int) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = w.Write([]byte("<html>no</html>"))
		return true
	}
}

// silence answers nothing until the caller gives up.
func silence(_ http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body) // only then is its end seen
	<-r.Context().Done()
	return true
}
