package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// send makes one request with a body to a handler.
func send(h http.Handler, method, target, body string, header map[string]string) *http.Response {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost"
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// mustRefuse checks the status and the code of a refusal, and returns it.
func mustRefuse(t *testing.T, what string, resp *http.Response, status int, code string) Problem {
	t.Helper()
	var p Problem
	body := mustRead(t, resp)
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Errorf("%s: %d %q: %v", what, resp.StatusCode, body, err)
		return p
	}
	if resp.StatusCode != status || p.Code != code {
		t.Errorf("%s: got %d %s (%s), want %d %s", what, resp.StatusCode, p.Code, p.Detail, status, code)
	}
	return p
}

// TestNetworkWireForm pins the JSON of a network of several nodes.
func TestNetworkWireForm(t *testing.T) {
	t.Parallel()
	contact, lag := 1.5, uint64(0)
	n := &fakeNetwork{
		members: Members{
			Members: []Member{{
				NodeID: "id1", Name: "n1", Address: "10.0.0.1:10090", HTTP: "10.0.0.1:10088", Raft: "10.0.0.1:10089",
				State: "alive", Role: RoleLeader, Leader: true, Generation: 3,
			}, {NodeID: "id2", Name: "n2", State: "failed", Role: RoleNonvoter, Reason: "stable for 3 s of 10"}},
			Refused: []Refusal{{Name: "n9", NodeID: "id9", Address: "10.0.0.9:10090", Reason: "of another network", At: time.Unix(0, 0).UTC()}},
		},
		health: func(context.Context) (Health, error) {
			return Health{
				Healthy: false, Leader: "n1", Voters: 1, FailureTolerance: 0, Index: 9, Warnings: []string{"add a node"},
				Nodes: []NodeHealth{
					{NodeID: "id1", Name: "n1", State: "alive", Alive: true, Voter: true, Leader: true, Role: RoleLeader, LastContactMS: &contact, Lag: &lag},
					{NodeID: "id2", Name: "n2", State: "failed", Role: RoleFollower, Reason: "not in sight"},
				},
			}, nil
		},
		put: func(context.Context, string, string, Registration) (Registered, error) {
			return Registered{ID: "c9", Port: 10107, Index: 12}, nil
		},
		probe: func(context.Context, Probe) (ProbeAnswer, error) {
			return ProbeAnswer{OK: true, HasState: true, NetworkID: "net", Expect: 3, Members: []string{"id1"}, Reason: "why"}, nil
		},
	}
	h := newNetworkAdmin(t, newFakeNode(), n)
	for _, tc := range []struct{ call, body, want string }{
		{"GET /v1/members", "", `{"members":[{"node_id":"id1","name":"n1","address":"10.0.0.1:10090","http":"10.0.0.1:10088",` +
			`"raft":"10.0.0.1:10089","state":"alive","role":"leader","leader":true,"generation":3},` +
			`{"node_id":"id2","name":"n2","address":"","http":"","raft":"","state":"failed","role":"nonvoter","leader":false,` +
			`"reason":"stable for 3 s of 10"}],` +
			`"refused":[{"name":"n9","node_id":"id9","address":"10.0.0.9:10090","reason":"of another network","at":"1970-01-01T00:00:00Z"}]}`},
		{"GET /v1/health", "", `{"healthy":false,"leader":"n1","voters":1,"failure_tolerance":0,"index":9,"nodes":[` +
			`{"node_id":"id1","name":"n1","state":"alive","alive":true,"voter":true,"leader":true,"role":"leader","last_contact_ms":1.5,"lag":0},` +
			`{"node_id":"id2","name":"n2","state":"failed","alive":false,"voter":false,"leader":false,"role":"follower",` +
			`"last_contact_ms":null,"lag":null,"reason":"not in sight"}],"warnings":["add a node"]}`},
		{"PUT /v1/clusters/c/collectors/c9", `{"node":"id1","address":"10.0.0.1"}`, `{"id":"c9","port":10107,"index":12}`},
		{"POST /v1/internal/bootstrap-check", `{"from":"id2","name":"n2","expect":3,"members":["id1","id2"],"version":1}`,
			`{"ok":true,"has_state":true,"network_id":"net","expect":3,"members":["id1"],"reason":"why"}`},
		{"GET /clusters", "", `{"cluster1":{"c1":{"address":"127.0.0.1","port":10100}},"keyed":{}}`},
	} {
		method, path, _ := strings.Cut(tc.call, " ")
		resp := send(h, method, path, tc.body, nil)
		if got := mustRead(t, resp); resp.StatusCode != 200 || got != tc.want+"\n" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d\n%swant\n%s", tc.call, resp.StatusCode, got, tc.want)
		}
	}
}

func TestListsOfANetworkAreNotNull(t *testing.T) {
	t.Parallel()
	n := &fakeNetwork{
		health: func(context.Context) (Health, error) { return Health{}, nil },
		probe:  func(context.Context, Probe) (ProbeAnswer, error) { return ProbeAnswer{}, nil },
	}
	h := newNetworkAdmin(t, newFakeNode(), n)
	for call, want := range map[string]string{
		"GET /v1/members": `{"members":[]}`, "GET /v1/health": `"nodes":[]`, "POST /v1/internal/bootstrap-check": `"members":[]`,
	} {
		method, path, _ := strings.Cut(call, " ")
		if got := mustRead(t, send(h, method, path, "{}", nil)); !strings.Contains(got, want) {
			t.Errorf("%s: %s lacks %s", call, got, want)
		}
	}
}

// TestChangesReachTheNetwork calls every change once, and looks at what arrives.
func TestChangesReachTheNetwork(t *testing.T) {
	t.Parallel()
	var got string
	note := func(format string, args ...any) error {
		got = fmt.Sprintf(format, args...)
		return nil
	}
	n := &fakeNetwork{
		remove: func(_ context.Context, node string) error { return note("remove %s", node) },
		putCluster: func(_ context.Context, name string, spec ClusterSpec) error {
			return note("cluster %s %+v", name, spec)
		},
		delCluster: func(_ context.Context, name string) error { return note("no cluster %s", name) },
		del:        func(_ context.Context, cluster, id string) error { return note("no collector %s/%s", cluster, id) },
		drain: func(_ context.Context, cluster, id string, drain bool) error {
			return note("drain %s/%s %t", cluster, id, drain)
		},
		transfer: func(_ context.Context, to string) error { return note("transfer to %q", to) },
		leave:    func(context.Context) error { return note("leave") },
		load: func(_ context.Context, r io.Reader, force bool) error {
			b, err := io.ReadAll(r)
			return errors.Join(err, note("load %s %t", b, force))
		},
	}
	h := newNetworkAdmin(t, newFakeNode(), n)
	for _, tc := range []struct{ call, body, want string }{
		{"DELETE /v1/members/n%202", "", "remove n 2"},
		{"PUT /v1/clusters/c", `{"mode":"key","key":"^a","failover_after":"1m"}`, "cluster c {Mode:key Key:^a FailoverAfter:1m}"},
		{"PUT /v1/clusters/c", `{}`, "cluster c {Mode: Key: FailoverAfter:}"},
		{"DELETE /v1/clusters/c", "", "no cluster c"},
		{"DELETE /v1/clusters/c/collectors/i", "", "no collector c/i"},
		{"POST /v1/clusters/c/collectors/i/drain", "", "drain c/i true"},
		{"POST /v1/clusters/c/collectors/i/drain?undo=false", "", "drain c/i true"},
		{"POST /v1/clusters/c/collectors/i/drain?undo", "", "drain c/i false"},
		{"POST /v1/leader/transfer", "", `transfer to ""`},
		{"POST /v1/leader/transfer", `{"to":"n2"}`, `transfer to "n2"`},
		{"POST /v1/leave", "", "leave"},
		{"PUT /v1/snapshot", "state", "load state false"},
		{"PUT /v1/snapshot?force", "state", "load state true"},
		{"PUT /v1/snapshot?force=0", "state", "load state false"},
	} {
		got = ""
		method, path, _ := strings.Cut(tc.call, " ")
		resp := send(h, method, path, tc.body, nil)
		if body := mustRead(t, resp); resp.StatusCode != 204 || got != tc.want {
			t.Errorf("%s: %d %s, the network got %q, want %q", tc.call, resp.StatusCode, body, got, tc.want)
		}
	}
}

func TestRegistrationReachesTheNetwork(t *testing.T) {
	t.Parallel()
	var got Registration
	n := &fakeNetwork{put: func(_ context.Context, cluster, id string, reg Registration) (Registered, error) {
		got = reg
		return Registered{ID: cluster + "/" + id}, nil
	}}
	h := newNetworkAdmin(t, newFakeNode(), n)
	want := Registration{
		Node: "id1", Address: "n1.example", Port: 7, SkipPorts: []int{10100}, PortStart: 10100, External: true, Heartbeat: "10s",
	}
	body := `{"node":"id1","address":"n1.example","port":7,"skip_ports":[10100],"port_start":10100,"external":true,"heartbeat":"10s"}`
	resp := send(h, "PUT", "/v1/clusters/c/collectors/i", body, nil)
	if answer := mustRead(t, resp); resp.StatusCode != 200 || !strings.Contains(answer, `"c/i"`) || cmp.Diff(want, got) != "" {
		t.Errorf("%d %s (-want +got):\n%s", resp.StatusCode, answer, cmp.Diff(want, got))
	}
}

// TestSenselessChangesDoNotReachTheNetwork: the fake fails the test when called.
func TestSenselessChangesDoNotReachTheNetwork(t *testing.T) {
	t.Parallel()
	h := newNetworkAdmin(t, newFakeNode(), &fakeNetwork{})
	const col = "PUT /v1/clusters/c/collectors/i"
	ports := strings.TrimSuffix(strings.Repeat("1,", maxSkipPorts+1), ",")
	for _, tc := range []struct {
		call, body string
		status     int
		code       string
	}{
		{col, ``, 400, "bad-body"},
		{col, `{`, 400, "bad-body"},
		{col, `[]`, 400, "bad-body"},
		{col, `{"address":"h","node":"n"} x`, 400, "bad-body"},
		{col, `{"address":"h","node":"n","adress":"x"}`, 400, "bad-body"},
		{col, `{"address":"h","node":"n","port":"1"}`, 400, "bad-body"},
		{col, `{"node":"n"}`, 422, "invalid"},
		{col, `{"address":"a b","node":"n"}`, 422, "invalid"},
		{col, `{"address":"h:1","node":"n"}`, 422, "invalid"},
		{col, `{"address":"0.0.0.0","node":"n"}`, 422, "invalid"},
		{col, `{"address":"h"}`, 422, "invalid"},
		{col, `{"address":"h","node":"a/b"}`, 422, "invalid"},
		{col, `{"address":"h","node":"n","port":65536}`, 422, "invalid"},
		{col, `{"address":"h","node":"n","port":-1}`, 422, "invalid"},
		{col, `{"address":"h","node":"n","port_start":65536}`, 422, "invalid"},
		{col, `{"address":"h","node":"n","skip_ports":[` + ports + `]}`, 422, "invalid"},
		{col, `{"address":"h","external":true}`, 422, "invalid"},
		{col, `{"address":"h","node":"n","heartbeat":"5s"}`, 422, "invalid"},
		{col, `{"address":"h","external":true,"heartbeat":"5"}`, 422, "invalid"},
		{col, `{"address":"h","external":true,"heartbeat":"10ms"}`, 422, "invalid"},
		{col, `{"address":"h","external":true,"heartbeat":"25h"}`, 422, "invalid"},
		{"PUT /v1/clusters/c%20d/collectors/i", `{"address":"h","node":"n"}`, 422, "invalid"},
		{"PUT /v1/clusters/c/collectors/%2e%2e", `{"address":"h","node":"n"}`, 422, "invalid"},
		{"PUT /v1/clusters/c%20d", `{}`, 422, "invalid"},
		{"PUT /v1/clusters/c", `{"mode":"all","color":"red"}`, 400, "bad-body"},
		{"PUT /v1/clusters/c", `{"key":"` + strings.Repeat("x", maxAdminBody) + `"}`, 413, "too-large"},
		{"POST /v1/leader/transfer", `{"from":"n1"}`, 400, "bad-body"},
		{"POST /v1/internal/bootstrap-check", `{"expect":"three"}`, 400, "bad-body"},
		{"POST /v1/clusters/c/collectors/i/drain?undo=maybe", "", 400, "bad-query"},
		{"PUT /v1/snapshot?force=maybe", "x", 400, "bad-query"},
		{"PUT /v1/snapshot?force&force=false", "x", 400, "bad-query"},
		{"GET /v1/clusters?consistent=maybe", "", 400, "bad-query"},
		{"GET /v1/clusters?index=1&index=2", "", 400, "bad-query"},
		{"GET /v1/clusters?index=%zz", "", 400, "bad-query"},
	} {
		method, path, _ := strings.Cut(tc.call, " ")
		p := mustRefuse(t, tc.call+" "+tc.body[:min(len(tc.body), 80)], send(h, method, path, tc.body, nil), tc.status, tc.code)
		if p.Detail == "" {
			t.Errorf("%s %.80s: no words", tc.call, tc.body)
		}
	}
}

// TestRefusalsOfANetwork pins status and code of every sentinel, on both ends.
func TestRefusalsOfANetwork(t *testing.T) {
	t.Parallel()
	var refuse error
	n := &fakeNetwork{leave: func(context.Context) error { return refuse }}
	c := newTestClient(t, newNetworkAdmin(t, newFakeNode(), n))
	for _, tc := range []struct {
		err    error
		status int
		code   string
		retry  time.Duration
	}{
		{ErrNoLeader, 503, "no-leader", time.Second},
		{ErrNoQuorum, 503, "no-quorum", time.Second},
		{ErrNotInNetwork, 503, "not-in-network", time.Second},
		{ErrConflict, 409, "conflict", 0},
		{ErrInvalid, 422, "invalid", 0},
		{ErrNoPort, 409, "no-port", 0},
		{ErrQuorumRisk, 409, "quorum-risk", 0},
		{ErrWrongNetwork, 409, "wrong-network", 0},
		{ErrBadSnapshot, 422, "bad-snapshot", 0},
		{ErrClientOnly, 501, "client-only", 0},
		{ErrStaticNetwork, 501, "static-network", 0},
		{ErrNotFound, 404, "not-found", 0},
	} {
		refuse = fmt.Errorf("%w: forming: 1 of 3", tc.err)
		err := c.Leave(t.Context())
		p, ok := errors.AsType[*Problem](err)
		if !ok || p.Status != tc.status || p.Code != tc.code || p.RetryAfter != tc.retry || !errors.Is(err, tc.err) ||
			!strings.Contains(p.Detail, "forming: 1 of 3") {
			t.Errorf("%v: got %v %+v", tc.err, err, p)
		}
	}
}

func TestForwardedRequestsAreKnown(t *testing.T) {
	t.Parallel()
	var forwarded bool
	var id string
	n := &fakeNetwork{leave: func(ctx context.Context) error {
		forwarded, id = Forwarded(ctx), RequestID(ctx)
		return nil
	}}
	h := newNetworkAdmin(t, newFakeNode(), n)
	c := newTestClient(t, h)
	if err := c.Leave(t.Context()); err != nil || forwarded || id != "" {
		t.Errorf("a request of a client: forwarded %t, id %q, %v", forwarded, id, err)
	}
	if err := c.Leave(Forward(t.Context(), "req-1")); err != nil || !forwarded || id != "req-1" {
		t.Errorf("a request of a node: forwarded %t, id %q, %v", forwarded, id, err)
	}
	n.leave = nil
	for _, bad := range []string{"", "a b", strings.Repeat("x", 65), "-", "a,b"} {
		mustRefuse(t, "id "+bad, send(h, "POST", "/v1/leave", "", map[string]string{"Relay-Forwarded": bad}), 400, "bad-header")
	}
}

func TestChangesAreNoted(t *testing.T) {
	t.Parallel()
	n := &fakeNetwork{t: t, remove: func(context.Context, string) error { return nil }}
	var log strings.Builder
	f := newFakeNode()
	h := NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Network: n, Logger: newTextLogger(&log)})
	send(h, "DELETE", "/v1/members/n2", "", nil)
	if !strings.Contains(log.String(), `msg="network changed by request"`) || !strings.Contains(log.String(), "name=n2") {
		t.Errorf("log: %s", log.String())
	}
}

// deadlineWriter notes the deadline that the connection of a request gets.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (d *deadlineWriter) SetReadDeadline(t time.Time) error {
	d.deadline = t
	return nil
}

// A body that comes too slowly, or that nobody reads, holds a connection for no
// longer than adminBodyTime.
func TestBodiesHaveADeadline(t *testing.T) {
	t.Parallel()
	late := iotest.ErrReader(&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded})
	h := newNetworkAdmin(t, newFakeNode(), &fakeNetwork{
		load: func(_ context.Context, r io.Reader, _ bool) error {
			_, err := io.ReadAll(r)
			return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
		},
	})
	for call, status := range map[string]int{"PUT /v1/clusters/c": 408, "PUT /v1/snapshot": 408, "GET /v1/status": 200, "PUT /nothing": 404} {
		method, path, _ := strings.Cut(call, " ")
		r := httptest.NewRequest(method, path, late)
		r.Host = "localhost"
		w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(w, r)
		if left := time.Until(w.deadline); w.Code != status || left <= 0 || left > adminBodyTime {
			t.Errorf("%s: %d %s, deadline in %v", call, w.Code, w.Body, left)
		}
	}
}
