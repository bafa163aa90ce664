package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// clientOf opens the client of a network at servers.
func clientOf(t *testing.T, servers ...*fakeServer) *client {
	t.Helper()
	dir := t.TempDir()
	id, err := openIdentity(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Network: Network{Heartbeat: time.Second}}
	for _, s := range servers {
		cfg.Network.Servers = append(cfg.Network.Servers, s.url)
	}
	log := slog.New(slog.DiscardHandler)
	c := openClient(cfg, &identityKeeper{dir: dir, id: id}, openAssignments(dir, log), log)
	t.Cleanup(c.close)
	return c
}

// registrations makes a server take registrations. Each goes to got.
func registrations(got chan<- string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet {
			return false
		}
		got <- r.Method + " " + r.URL.Path
		if r.Method == http.MethodPut {
			_ = json.NewEncoder(w).Encode(httpapi.Registered{ID: "c1", Port: 10100, Index: 9})
		} else {
			w.WriteHeader(http.StatusNoContent)
		}
		return true
	}
}

func TestClientFollowsAndRegistersAtAnotherServerWhenOneDies(t *testing.T) {
	t.Parallel()
	a, b := newFakeServer(t, "ours", 7), newFakeServer(t, "ours", 7)
	got := make(chan string, 10)
	a.answer, b.answer = registrations(got), registrations(got)
	c := clientOf(t, a, b)
	awaitIndex(t, c.tables, 7)
	for range 2 {
		if r, err := c.PutCollector(t.Context(), "c", "c1", httpapi.Registration{}); err != nil || r.Port != 10100 || r.Index != 9 {
			t.Errorf("%+v %v", r, err)
		}
		if request := <-got; request != "PUT /v1/clusters/c/collectors/c1" {
			t.Error(request)
		}
	}
	a.close()
	b.set(func(f *fakeServer) { f.table = tableAt(8) })
	awaitIndex(t, c.tables, 8)
	for range 2 {
		if _, err := c.PutCollector(t.Context(), "c", "c1", httpapi.Registration{}); err != nil {
			t.Error(err)
		}
	}
	if first := c.ordered()[0]; first != b.url {
		t.Errorf("it would ask %s first, which is dead", first)
	}
	if err := c.removeCollector(t.Context(), "c", "c1"); err != nil {
		t.Error(err)
	}
}

// A server that takes connections and is silent, as a stopped process does, may
// not use up the time of the others.
func TestClientRegistersBesideASilentServer(t *testing.T) {
	t.Parallel()
	silent, good := newFakeServer(t, "ours", 7), newFakeServer(t, "ours", 7)
	got := make(chan string, 10)
	silent.answer, good.answer = silence, registrations(got)
	c := clientOf(t, silent, good)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := c.PutCollector(ctx, "c", "c1", httpapi.Registration{}); err != nil {
		t.Error(err)
	}
}

func TestClientEndsAtARefusal(t *testing.T) {
	t.Parallel()
	a, b := newFakeServer(t, "ours", 7), newFakeServer(t, "ours", 7)
	refuse := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"T","status":409,"code":"conflict","detail":"is another's"}`))
		return true
	}
	a.answer, b.answer = refuse, refuse
	c := clientOf(t, a, b)
	if _, err := c.PutCollector(t.Context(), "c", "c1", httpapi.Registration{}); !errors.Is(err, httpapi.ErrConflict) {
		t.Error(err)
	}
	if n := a.count("PUT") + b.count("PUT"); n != 1 {
		t.Errorf("refused %d times", n)
	}
}

func TestClientStaysInTheNetworkThatAnsweredFirst(t *testing.T) {
	t.Parallel()
	ours := newFakeServer(t, "ours", 7)
	c := clientOf(t, ours)
	awaitIndex(t, c.tables, 7)
	if id := c.id.get().NetworkID; id != "ours" {
		t.Fatalf("it is in network %q", id)
	}
	ours.set(func(f *fakeServer) { f.network, f.table = "theirs", tableAt(100) })
	c.close()
	again := openClient(c.cfg, c.id, c.tables, c.log)
	defer again.close()
	eventually(t, "it says so", func() (bool, string) {
		st := httpapi.Status{Ready: true}
		again.status(&st)
		return !st.Ready && strings.Contains(st.Reason, "of another network (theirs)") && strings.Contains(st.Reason, identityFile), st.Reason
	})
	if again.tables.index() != 7 {
		t.Error("it took the table of another network")
	}
}

// original answers as the original's network server does.
func original(got chan<- string, clusters string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/clusters":
			_, _ = w.Write([]byte(clusters))
		case "/register":
			got <- r.URL.RequestURI()
			_, _ = fmt.Fprintf(w, `{"id":%q,"port":%q}`, r.URL.Query().Get("id"), r.URL.Query().Get("port"))
		case "/remove":
			got <- r.URL.RequestURI()
			_, _ = w.Write([]byte(`{"success":1}`))
		default:
			return page(http.StatusNotFound)(w, r)
		}
		return true
	}
}

func TestClientOfTheOriginalsServer(t *testing.T) {
	t.Parallel()
	server := newFakeServer(t, "", 0)
	got := make(chan string, 10)
	const first = `{"c":{"i":{"address":"127.0.0.1","port":"10100"}}}`
	server.answer = original(got, first)
	c := clientOf(t, server)
	awaitIndex(t, c.tables, 1)
	eventually(t, "no complaint", func() (bool, string) {
		st := httpapi.Status{Ready: true}
		c.status(&st)
		return st.Ready && st.Role == httpapi.RoleClient, st.Reason
	})
	r, err := c.PutCollector(t.Context(), "c", "c1", httpapi.Registration{Address: "127.0.0.1", Port: 10101, Node: "n"})
	if err != nil || r != (httpapi.Registered{ID: "c1", Port: 10101}) {
		t.Errorf("%+v %v", r, err)
	}
	if err := c.removeCollector(t.Context(), "c", "c1"); err != nil {
		t.Error(err)
	}
	if a, b := <-got, <-got; a != "/register?address=127.0.0.1&cluster=c&id=c1&port=10101" || b != "/remove?id=c1" {
		t.Errorf("it was asked %s and %s", a, b)
	}
	polls := server.count("GET /clusters")
	eventually(t, "another poll", func() (bool, string) { return server.count("GET /clusters") > polls, "" })
	if c.tables.index() != 1 {
		t.Error("a table that is the same counts as a new one")
	}
	server.set(func(f *fakeServer) { f.answer = original(got, `{"c":{}}`) })
	awaitIndex(t, c.tables, 2)
}

// The original's server keeps its table in memory: after a restart it knows
// nobody. Those that register again were never gone; the others are, later.
func TestClientKeepsWhatTheOriginalForgot(t *testing.T) {
	t.Parallel()
	col := func(id string, port int) fsm.Collector {
		return fsm.Collector{ID: fsm.CollectorID(id), Cluster: "c", Address: "h", Port: port, State: fsm.StateActive, External: true}
	}
	c := &client{cfg: Config{Network: Network{Heartbeat: time.Second}}, missing: map[fsm.CollectorID]time.Time{}}
	synctest.Test(t, func(t *testing.T) {
		now := tableAt(5, col("a", 1), col("b", 2))
		seen := func(next fsm.Table, want ...string) {
			t.Helper()
			c.keepMissing(next, now)
			var got []string
			for _, m := range next.Clusters["c"].Collectors {
				got = append(got, string(m.ID))
			}
			if !slices.Equal(got, want) {
				t.Errorf("collectors %v, want %v", got, want)
			}
			now = next
		}
		seen(fsm.Table{Clusters: map[fsm.ClusterName]fsm.Cluster{}}, "a", "b")
		time.Sleep(2 * time.Second)
		seen(tableAt(0, col("b", 2)), "a", "b")
		time.Sleep(2 * time.Second)
		seen(tableAt(0, col("b", 2)), "b")
		seen(tableAt(0, col("d", 2)), "d") // at the address of b
		seen(tableAt(0), "d")
		seen(tableAt(0, col("d", 3)), "d")
		seen(tableAt(0), "d")
		time.Sleep(4 * time.Second)
		seen(tableAt(0))
	})
}

// A server of the network that is none any more, but answers: what else listens
// there now, or a node in no network, has no say in where files are owed to.
func TestClientTakesNothingFromWhatIsNoNetwork(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(f *fakeServer){
		"the original's server": func(f *fakeServer) { f.answer = original(nil, `{}`) },
		"a static node":         func(f *fakeServer) { f.network, f.table = "", tableAt(100) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newFakeServer(t, "ours", 7)
			c := clientOf(t, server)
			awaitIndex(t, c.tables, 7)
			c.close()
			server.set(set)
			again := openClient(c.cfg, c.id, c.tables, c.log)
			defer again.close()
			eventually(t, "it says so", func() (bool, string) {
				st := httpapi.Status{Ready: true}
				again.status(&st)
				return !st.Ready && strings.Contains(st.Reason, "follows"), st.Reason
			})
			if again.tables.index() != 7 {
				t.Error("it took the table")
			}
		})
	}
}

// The original's server is replaced by nodes of ours, whose tables begin at a
// low index: they are followed at once, and registered at as ours.
func TestClientSeesTheOriginalReplaced(t *testing.T) {
	t.Parallel()
	server := newFakeServer(t, "ours", 3)
	got := make(chan string, 10)
	server.answer = original(got, `{"c":{}}`)
	c := clientOf(t, server)
	c.tables.replace(tableAt(500))
	eventually(t, "a poll", func() (bool, string) { return server.count("GET /clusters") > 0, "" })
	server.set(func(f *fakeServer) { f.answer = registrations(got) })
	awaitIndex(t, c.tables, 3)
	if _, err := c.PutCollector(t.Context(), "c", "c1", httpapi.Registration{}); err != nil {
		t.Fatal(err)
	}
	if request := <-got; request != "PUT /v1/clusters/c/collectors/c1" {
		t.Error(request)
	}
	if again := openAssignments(c.id.dir, c.log); again.index() > 3 {
		t.Errorf("on disk the table has the index %d", again.index())
	}
}

func TestClientPoolKeepsFewClients(t *testing.T) {
	t.Parallel()
	p := newClientPool()
	defer p.close()
	first, err := p.get("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.get("127.0.0.1:1"); err != nil || again != first {
		t.Errorf("another client for the same address: %v", err)
	}
	for i := range 3 * maxClients {
		if _, err := p.get(fmt.Sprint("127.0.0.1:", i+2)); err != nil {
			t.Fatal(err)
		}
		if n := len(p.by); n > maxClients {
			t.Fatalf("%d clients are kept", n)
		}
	}
	if _, err := p.get("http://a/b?c"); err == nil || !strings.Contains(err.Error(), "http://a/b?c") {
		t.Errorf("no address: %v", err)
	}
}

func TestLeaveOfAClientTakesItsCollectorsOut(t *testing.T) {
	t.Parallel()
	server := newFakeServer(t, "ours", 7)
	got := make(chan string, 10)
	server.answer = registrations(got)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "in"), 0o750); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "relay.yaml")
	mustWrite(t, file, fmt.Sprintf(`
name: n1
data_dir: %[1]s/data
http: 127.0.0.1:0
network: { servers: [ %[2]s ], heartbeat: 1s }
collectors:
  - { cluster: c, id: c1, port: %[3]d, address: 127.0.0.1, spool: %[1]s/in }
`, dir, server.url, freePort(t)))
	n := mustOpen(t, mustLoadFile(t, file))
	if request := <-got; request != "PUT /v1/clusters/c/collectors/c1" {
		t.Fatal(request)
	}
	if _, err := (clientAPI{memberAPI{n}}).Health(t.Context()); !errors.Is(err, httpapi.ErrClientOnly) || !strings.Contains(err.Error(), server.url) {
		t.Errorf("health: %v", err)
	}
	was := n.Status().NodeID
	if err := (clientAPI{memberAPI{n}}).Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	var requests []string
	for len(got) > 0 {
		requests = append(requests, <-got)
	}
	if i := slices.Index(requests, "DELETE /v1/clusters/c/collectors/c1"); i < 0 || i != len(requests)-1 {
		t.Errorf("requests %q", requests)
	}
	<-n.Gone()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if id, err := readIdentity(filepath.Join(dir, "data", identityFile)); err != nil || id.NodeID == was || id.NetworkID != "" {
		t.Errorf("after leaving it is %+v, %v", id, err)
	}
}
