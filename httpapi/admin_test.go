package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// fakeNode is a Reporter and DeadLetters made of values.
type fakeNode struct {
	status   Status
	spools   Spools
	clusters func(ctx context.Context, index uint64, wait time.Duration) (Clusters, error)
	dead     DeadList
	retry    func(id string) error
	remove   func(id string) error
}

func (f *fakeNode) Status() Status { return f.status }
func (f *fakeNode) Spools() Spools { return f.spools }
func (f *fakeNode) Clusters(ctx context.Context, index uint64, wait time.Duration) (Clusters, error) {
	return f.clusters(ctx, index, wait)
}
func (f *fakeNode) Dead(context.Context) (DeadList, error)        { return f.dead, nil }
func (f *fakeNode) RetryDead(_ context.Context, id string) error  { return f.retry(id) }
func (f *fakeNode) RemoveDead(_ context.Context, id string) error { return f.remove(id) }

func newFakeNode() *fakeNode {
	table := NewClusters(fsm.Table{Index: 7, Clusters: map[fsm.ClusterName]fsm.Cluster{
		"cluster1": {Name: "cluster1", Collectors: []fsm.Collector{
			{ID: "c1", Cluster: "cluster1", Address: "127.0.0.1", Port: 10100},
		}},
		"keyed": {
			Name: "keyed", Mode: fsm.ModeKey, Key: regexp.MustCompile(`^(\d+)-`), FailoverAfter: 30 * time.Second,
		},
	}}, nil)
	unexpected := func(id string) error { return fmt.Errorf("unexpected call for %q", id) }
	return &fakeNode{
		status: Status{Version: "v1", NodeID: "id", Name: "n1", Role: RoleStatic, Index: 7, Ready: true, UptimeS: 1.5},
		clusters: func(context.Context, uint64, time.Duration) (Clusters, error) {
			return table, nil
		},
		retry: unexpected, remove: unexpected,
	}
}

func newTestAdmin(f *fakeNode) http.Handler {
	return NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Hosts: []string{"relay.example"}})
}

// ask sends one request to a handler, as a client that called it by host.
func ask(h http.Handler, method, target, host string, header map[string]string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	r.Host = host
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func mustRead(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAdminWireForm pins the JSON that other programs rely on.
func TestAdminWireForm(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.spools = Spools{Spools: []Spool{{
		Name: "/out", Kind: KindOutbox, Path: "/out", Queued: 3, InFlight: 1, Dead: 2, OldestS: 4.5,
		Targets: []Target{{Collector: "c1", Queued: 3, State: TargetBackoff, Reason: "connection refused"}},
	}}}
	f.dead = DeadList{Dead: []DeadFile{{
		ID: testID, Spool: "/out", Name: "a.json", Size: 5, Code: "too-large", Reason: "more than 4 bytes",
		At: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
	}}}
	h := newTestAdmin(f)
	cases := map[string]string{
		"/healthz": "ok",
		"/readyz":  "ready",
		"/v1/status": `{"version":"v1","node_id":"id","name":"n1","network_id":"","role":"static","leader":"","index":7,` +
			`"ready":true,"reason":"","uptime_s":1.5,"insecure":false}`,
		"/v1/spools": `{"spools":[{"name":"/out","kind":"outbox","path":"/out","queued":3,"in_flight":1,"dead":2,"oldest_s":4.5,` +
			`"targets":[{"collector":"c1","queued":3,"in_flight":0,"oldest_s":0,"state":"backoff","reason":"connection refused"}]}]}`,
		"/v1/clusters": `{"index":7,"clusters":{"cluster1":{"mode":"all","collectors":[` +
			`{"id":"c1","node":"","address":"127.0.0.1","port":10100,"state":"active","alive":true}]},` +
			`"keyed":{"mode":"key","key":"^(\\d+)-","failover_after":"30s","collectors":[]}}}`,
		"/v1/clusters/keyed": `{"mode":"key","key":"^(\\d+)-","failover_after":"30s","collectors":[]}`,
		"/v1/dead": `{"dead":[{"id":"` + testID + `","spool":"/out","name":"a.json","size":5,"code":"too-large",` +
			`"reason":"more than 4 bytes","at":"2026-07-01T00:00:00Z"}]}`,
	}
	for path, want := range cases {
		resp := ask(h, "GET", path, "127.0.0.1:10088", nil)
		if got := mustRead(t, resp); resp.StatusCode != 200 || got != want+"\n" {
			t.Errorf("%s: got %d\n%swant\n%s", path, resp.StatusCode, got, want)
		}
		if strings.HasPrefix(path, "/v1/clusters") && resp.Header.Get("Relay-Index") != "7" {
			t.Errorf("%s: Relay-Index %q", path, resp.Header.Get("Relay-Index"))
		}
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.clusters = func(context.Context, uint64, time.Duration) (Clusters, error) { return Clusters{}, nil }
	h := newTestAdmin(f)
	for path, want := range map[string]string{
		"/v1/spools": `{"spools":[]}`, "/v1/dead": `{"dead":[]}`, "/v1/clusters": `{"index":0,"clusters":{}}`,
	} {
		if got := mustRead(t, ask(h, "GET", path, "localhost", nil)); got != want+"\n" {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestReadyzGivesTheReason(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.status.Ready, f.status.Reason = false, "inbox of json_consumer_1 is being reopened"
	resp := ask(newTestAdmin(f), "GET", "/readyz", "localhost", nil)
	if got := mustRead(t, resp); resp.StatusCode != 503 || got != f.status.Reason+"\n" {
		t.Errorf("got %d %q, want 503 and the reason", resp.StatusCode, got)
	}
	if resp := ask(newTestAdmin(f), "GET", "/healthz", "localhost", nil); resp.StatusCode != 200 {
		t.Errorf("/healthz: got %d, want 200: the process lives", resp.StatusCode)
	}
}

func TestOnlyKnownHostsAreServed(t *testing.T) {
	t.Parallel()
	h := newTestAdmin(newFakeNode())
	for host, want := range map[string]int{
		"127.0.0.1:10088": 200, "127.0.0.1": 200, "10.1.2.3:1": 200, "[::1]:10088": 200, "::1": 200,
		"localhost": 200, "LocalHost:10088": 200, "localhost.": 200, "relay.example:10088": 200, "RELAY.example.": 200,
		"evil.example": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example:10088": 403, "": 403,
		"relay.example.evil": 403, "127.0.0.1:10088.evil.example": 403,
	} {
		resp := ask(h, "GET", "/v1/status", host, nil)
		if resp.StatusCode != want {
			t.Errorf("Host %q: got %d, want %d", host, resp.StatusCode, want)
		}
		if want == 403 && !strings.Contains(mustRead(t, resp), `"code":"forbidden-host"`) {
			t.Errorf("Host %q: no code", host)
		}
	}
}

func TestOtherSitesChangeNothing(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	calls := 0
	f.retry = func(string) error { calls++; return nil }
	h := newTestAdmin(f)
	path := "/v1/dead/" + testID + "/retry"
	for _, header := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
	} {
		resp := ask(h, "POST", path, "localhost:10088", header)
		if body := mustRead(t, resp); resp.StatusCode != 403 || !strings.Contains(body, `"code":"cross-origin"`) {
			t.Errorf("%v: got %d %s", header, resp.StatusCode, body)
		}
	}
	if calls != 0 {
		t.Fatalf("%d changes were made", calls)
	}
	for _, header := range []map[string]string{nil, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost:10088"}} {
		if resp := ask(h, "POST", path, "localhost:10088", header); resp.StatusCode != 204 {
			t.Errorf("%v: got %d, want 204", header, resp.StatusCode)
		}
	}
}

func TestGetChangesNothing(t *testing.T) {
	t.Parallel()
	h := newTestAdmin(newFakeNode()) // whose changes all fail the test by a 500
	for _, path := range []string{"/v1/dead/x/retry", "/v1/dead/x", "/v1/leave", "/v1/leader/transfer", "/v1/members/x"} {
		resp := ask(h, "GET", path, "localhost", nil)
		if body := mustRead(t, resp); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" || !strings.Contains(body, `"code":"method"`) {
			t.Errorf("GET %s: got %d, Allow %q, %s", path, resp.StatusCode, resp.Header.Get("Allow"), body)
		}
	}
}

func TestAnswersAreSafeInABrowser(t *testing.T) {
	t.Parallel()
	h := newTestAdmin(newFakeNode())
	for path, host := range map[string]string{"/v1/status": "localhost", "/nothing": "localhost", "/metrics": "localhost", "/": "evil.example"} {
		resp := ask(h, "GET", path, host, nil)
		for key, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := resp.Header.Get(key); got != want {
				t.Errorf("%s: %s is %q, want %q", path, key, got, want)
			}
		}
	}
}

func TestStaticNetworkSaysSo(t *testing.T) {
	t.Parallel()
	h := newTestAdmin(newFakeNode())
	for _, call := range []string{
		"GET /v1/members", "DELETE /v1/members/n1", "GET /v1/health",
		"PUT /v1/clusters/c", "DELETE /v1/clusters/c",
		"PUT /v1/clusters/c/collectors/i", "DELETE /v1/clusters/c/collectors/i", "POST /v1/clusters/c/collectors/i/drain",
		"GET /v1/snapshot", "PUT /v1/snapshot", "POST /v1/leader/transfer", "POST /v1/leave",
		"POST /v1/internal/bootstrap-check", "GET /register?cluster=c&address=h", "GET /remove?id=i",
	} {
		method, path, _ := strings.Cut(call, " ")
		resp := ask(h, method, path, "localhost", nil)
		var p Problem
		if err := json.Unmarshal([]byte(mustRead(t, resp)), &p); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 501 || p.Code != "static-network" || !strings.Contains(p.Detail, "static network") {
			t.Errorf("%s: got %d %+v", call, resp.StatusCode, p)
		}
	}
}

func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	gone := func(string) error { return fmt.Errorf("nobody of that id: %w", ErrNotFound) }
	f.retry, f.remove = gone, gone
	h := newTestAdmin(f)
	for _, call := range []string{
		"GET /", "GET /v1", "GET /v1/nothing", "GET /v1/clusters/nobody", "DELETE /v1/dead/x", "POST /v1/dead/x/retry", "GET /registers",
	} {
		method, path, _ := strings.Cut(call, " ")
		resp := ask(h, method, path, "localhost", nil)
		if body := mustRead(t, resp); resp.StatusCode != 404 || !strings.Contains(body, `"code":"not-found"`) {
			t.Errorf("%s: got %d %s", call, resp.StatusCode, body)
		}
	}
}

func TestFailureGoesToTheLogAndNotToTheClient(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.retry = func(string) error { return errors.New("secret /srv/path") }
	var log strings.Builder
	h := NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	resp := ask(h, "POST", "/v1/dead/x/retry", "localhost", nil)
	var p Problem
	body := mustRead(t, resp)
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 500 || strings.Contains(body, "secret") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	if !strings.Contains(log.String(), "secret") || p.RequestID == "" || !strings.Contains(log.String(), p.RequestID) {
		t.Errorf("log %q lacks the cause or the request id %q", log.String(), p.RequestID)
	}
}

func TestClustersWait(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.status.Index = 41
	var index uint64
	var wait time.Duration
	f.clusters = func(_ context.Context, i uint64, w time.Duration) (Clusters, error) {
		index, wait = i, w
		return Clusters{Index: i + 1}, nil
	}
	h := newTestAdmin(f)
	for query, want := range map[string]struct {
		index uint64
		wait  time.Duration
	}{
		"": {}, "?index=41": {index: 41}, "?index=41&wait=60s": {41, time.Minute},
		"?index=1&wait=1000h": {1, MaxWait}, "?consistent": {},
	} {
		index, wait = 99, 99
		resp := ask(h, "GET", "/v1/clusters"+query, "localhost", nil)
		if resp.StatusCode != 200 || index != want.index || wait < want.wait || wait > want.wait+want.wait/16 {
			t.Errorf("%q: got %d, index %d, wait %v, want %+v", query, resp.StatusCode, index, wait, want)
		}
	}
	for _, query := range []string{"?index=x", "?index=-1", "?wait=60", "?wait=-1s", "?index=99999999999999999999"} {
		resp := ask(h, "GET", "/v1/clusters"+query, "localhost", nil)
		if body := mustRead(t, resp); resp.StatusCode != 400 || !strings.Contains(body, `"code":"bad-query"`) {
			t.Errorf("%q: got %d %s", query, resp.StatusCode, body)
		}
	}
}

func TestMetricsAreWhatTheSpoolsHold(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.status.Insecure = true
	outbox := Spool{
		Name: "/out\xff", Kind: KindOutbox, Queued: 3, InFlight: 1, Dead: 2, OldestS: 4.5,
		Waiting: []Waiting{{"no rule matches", 2, "x"}, {"no cluster", 3, "y"}}, Rejected: []Waiting{{"symlink", 1, "l"}},
		Targets: []Target{{Collector: "c1", Queued: 3, InFlight: 1, State: TargetBackoff}, {Collector: "c2", State: TargetOK}},
	}
	inbox := Spool{
		Name: "/in", Kind: KindInbox, Queued: 1, InFlight: 2,
		Inbox: &InboxCounts{Collector: "c1", Published: 10, Duplicates: 4, Renamed: 3, SyncFailures: 6, RefusedConns: 5},
	}
	f.spools = Spools{Spools: []Spool{outbox, outbox, inbox}} // the same twice must not spoil the page
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewMetrics(f))
	h := NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Registry: reg})
	want := []string{
		`relay_build_info{node="n1",version="v1"} 1`, `relay_insecure 1`, `relay_ready 1`, `relay_uptime_seconds 1.5`,
		`relay_inbox_duplicate_files_total{collector="c1",inbox="/in"} 4`,
		`relay_inbox_sync_failures_total{collector="c1",inbox="/in"} 6`,
		`relay_inbox_partial_files{collector="c1",inbox="/in"} 1`,
		`relay_inbox_published_files_total{collector="c1",inbox="/in"} 10`,
		`relay_inbox_receiving_files{collector="c1",inbox="/in"} 2`,
		`relay_inbox_refused_connections_total{collector="c1",inbox="/in"} 5`,
		`relay_inbox_renamed_files_total{collector="c1",inbox="/in"} 3`,
		`relay_outbox_dead_files{outbox="/out�"} 2`, `relay_outbox_in_flight_files{outbox="/out�"} 1`,
		`relay_outbox_oldest_seconds{outbox="/out�"} 4.5`, `relay_outbox_queued_files{outbox="/out�"} 3`,
		`relay_outbox_rejected_files{outbox="/out�"} 1`, `relay_outbox_waiting_files{outbox="/out�"} 5`,
		`relay_target_in_flight_files{collector="c1",outbox="/out�"} 1`, `relay_target_in_flight_files{collector="c2",outbox="/out�"} 0`,
		`relay_target_ok{collector="c1",outbox="/out�"} 0`, `relay_target_ok{collector="c2",outbox="/out�"} 1`,
		`relay_target_oldest_seconds{collector="c1",outbox="/out�"} 0`, `relay_target_oldest_seconds{collector="c2",outbox="/out�"} 0`,
		`relay_target_queued_files{collector="c1",outbox="/out�"} 3`, `relay_target_queued_files{collector="c2",outbox="/out�"} 0`,
	}
	resp := ask(h, "GET", "/metrics", "localhost", nil)
	var got []string
	for line := range strings.Lines(mustRead(t, resp)) {
		if strings.HasPrefix(line, "relay_") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff(want, got, asSets); diff != "" || resp.StatusCode != 200 {
		t.Errorf("status %d (-want +got):\n%s", resp.StatusCode, diff)
	}
}

// asSets compares lists without their order.
var asSets = cmp.Transformer("set", func(in []string) map[string]bool {
	out := map[string]bool{}
	for _, s := range in {
		out[s] = true
	}
	return out
})
