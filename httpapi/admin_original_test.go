package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// TestOriginalWireForm pins what the original's programs read.
func TestOriginalWireForm(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.clusters = func(context.Context, uint64, time.Duration) (Clusters, error) {
		return NewClusters(fsm.Table{Index: 9, Clusters: map[fsm.ClusterName]fsm.Cluster{"C": {Name: "C", Collectors: []fsm.Collector{
			{ID: "a", Cluster: "C", Address: "10.0.0.1", Port: 10100},
			{ID: "b", Cluster: "C", Address: "10.0.0.2", Port: 10100, State: fsm.StateDraining},
		}}}}, nil), nil
	}
	n := &fakeNetwork{
		register:   func(context.Context, OriginalRegistration) (Registered, error) { return Registered{"i", 10100, 9}, nil },
		unregister: func(context.Context, string) error { return nil },
	}
	h := newNetworkAdmin(t, f, n)
	for path, want := range map[string]string{
		"/register?cluster=C&address=A":      `{"id":"i","port":10100}`,
		"/register?cluster=C&address=A&x=yz": `{"id":"i","port":10100}`,
		"/remove?id=i":                       `{"success":1}`,
		"/clusters":                          `{"C":{"a":{"address":"10.0.0.1","port":10100}}}`,
	} {
		resp := ask(h, "GET", path, "localhost", nil)
		if got := mustRead(t, resp); resp.StatusCode != 200 || got != want+"\n" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %q, want %q", path, resp.StatusCode, got, want)
		}
	}
}

func TestOriginalRegistrations(t *testing.T) {
	t.Parallel()
	var got *OriginalRegistration
	h := newNetworkAdmin(t, newFakeNode(), &fakeNetwork{register: func(_ context.Context, o OriginalRegistration) (Registered, error) {
		got = &o
		return Registered{}, nil
	}})
	for query, want := range map[string]OriginalRegistration{
		"cluster=C&address=A":                                     {"C", "", "A", 0},
		"cluster=C&address=10.0.0.1&id=i&port=7":                  {"C", "i", "10.0.0.1", 7},
		"cluster=C&address=A&id=&port=":                           {"C", "", "A", 0},
		"cluster=C&address=undefined&id=undefined&port=undefined": {"C", "", "192.0.2.1", 0},
		"cluster=C":                 {"C", "", "192.0.2.1", 0},
		"cluster=C&address=0.0.0.0": {"C", "", "192.0.2.1", 0},
		"cluster=C&address=%3A%3A":  {"C", "", "192.0.2.1", 0},
	} {
		got = nil
		resp := ask(h, "GET", "/register?"+query, "localhost", nil) // httptest's requests come from 192.0.2.1
		if resp.StatusCode != 200 || got == nil || *got != want {
			t.Errorf("%s: %d, got %+v, want %+v", query, resp.StatusCode, got, want)
		}
	}
	for query, code := range map[string]string{
		"": "bad-query", "address=A": "bad-query", "cluster=undefined&address=A": "bad-query", "cluster=a%2Fb&address=A": "bad-query",
		"cluster=C&address=a+b": "invalid", "cluster=C&address=A&id=a%20b": "bad-query", "cluster=C&address=239.0.0.1": "invalid",
		"cluster=C&address=A&port=0": "bad-query", "cluster=C&address=A&port=65536": "bad-query", "cluster=C&address=A&port=x": "bad-query",
		"cluster=C&cluster=D&address=A": "bad-query", "cluster=%zz&address=A": "bad-query", "cluster=C;address=A": "bad-query",
	} {
		got = nil
		status := 400
		if code == "invalid" {
			status = 422
		}
		mustRefuse(t, query, ask(h, "GET", "/register?"+query, "localhost", nil), status, code)
		if got != nil {
			t.Errorf("%s: was registered as %+v", query, got)
		}
	}
}

// A page can make a browser send any GET: these two change something.
func TestPagesRegisterNothing(t *testing.T) {
	t.Parallel()
	n := &fakeNetwork{} // fails the test when called
	h := newNetworkAdmin(t, newFakeNode(), n)
	paths := []string{"/register?cluster=C&address=A", "/remove?id=i"}
	for _, path := range paths {
		for _, header := range []map[string]string{
			{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "same-origin"},
			{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost"},
		} {
			mustRefuse(t, fmt.Sprint(path, header), ask(h, "GET", path, "localhost", header), 403, "cross-origin")
		}
		mustRefuse(t, path, ask(h, "GET", path, "evil.example", nil), 403, "forbidden-host")
	}
	n.register = func(context.Context, OriginalRegistration) (Registered, error) { return Registered{}, nil }
	n.unregister = func(context.Context, string) error { return nil }
	for _, path := range paths {
		if resp := ask(h, "GET", path, "localhost", map[string]string{"Sec-Fetch-Site": "none"}); resp.StatusCode != 200 {
			t.Errorf("%s typed by a person: %d", path, resp.StatusCode)
		}
	}
}

// These GETs need the right that a change needs.
func TestRegisteringIsAChange(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]bool{
		"GET /register": true, "GET /remove": true, "HEAD /remove": true, "POST /v1/leave": true, "PUT /x": true,
		"GET /clusters": false, "HEAD /v1/clusters": false, "GET /v1/members": false,
	} {
		method, path, _ := strings.Cut(target, " ")
		if got := changes(httptest.NewRequest(method, path, nil)); got != want {
			t.Errorf("%s: a change is %t, want %t", target, got, want)
		}
	}
}

// The original looks only at the status; a node that passes the request on wants
// to know whether there was a leader.
func TestRemovalsThatFailAre500(t *testing.T) {
	t.Parallel()
	n := &fakeNetwork{unregister: func(_ context.Context, id string) error {
		if id == "gone" {
			return fmt.Errorf("%w: no such collector", ErrNotFound)
		}
		return ErrNoLeader
	}}
	h := newNetworkAdmin(t, newFakeNode(), n)
	for query, code := range map[string]string{
		"id=gone": "not-found", "id=i": "no-leader", "": "not-found", "id=undefined": "not-found", "id=a/b": "not-found", "id=a&id=b": "bad-query",
	} {
		mustRefuse(t, query, ask(h, "GET", "/remove?"+query, "localhost", nil), 500, code)
	}
	c := newTestClient(t, h)
	if err := c.Remove(t.Context(), "i"); !errors.Is(err, ErrNoLeader) {
		t.Errorf("the client got %v, want ErrNoLeader", err)
	}
}

// Ours against theirs, and theirs against ours.
func TestClientSpeaksTheOriginals(t *testing.T) {
	t.Parallel()
	var got OriginalRegistration
	var removed string
	h := newNetworkAdmin(t, newFakeNode(), &fakeNetwork{
		register: func(_ context.Context, o OriginalRegistration) (Registered, error) {
			got = o
			return Registered{ID: "i", Port: 10100, Index: 9}, nil
		},
		unregister: func(_ context.Context, id string) error { removed = id; return nil },
	})
	c := newTestClient(t, h)
	for _, want := range []OriginalRegistration{{"C", "i", "10.0.0.1", 7}, {"C", "", "n1.example", 0}} {
		answer, err := c.Register(t.Context(), want)
		check(t, Registered{ID: "i", Port: 10100}, answer, err)
		check(t, want, got, nil)
	}
	if err := c.Remove(t.Context(), "i:1"); err != nil || removed != "i:1" {
		t.Errorf("removed %q, %v", removed, err)
	}
	clusters, err := c.OriginalClusters(t.Context())
	check(t, OriginalClusters{"cluster1": {"c1": {"127.0.0.1", 10100}}, "keyed": {}}, clusters, err)
}

// FuzzRegister: whatever the query is, what reaches the network obeys the rules
// of the table, and goes over the wire again as it is.
func FuzzRegister(f *testing.F) {
	for _, q := range []string{
		"cluster=C&address=10.0.0.1&id=i&port=7", "cluster=C&address=undefined", "cluster=C&address=%3A%3A1&port=00080",
		"cluster=%00&address=", "cluster=C;address=A", "cluster=C&port=+5",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		r := httptest.NewRequest("GET", "/register", nil)
		r.URL.RawQuery = raw
		q, err := query(r)
		if err != nil {
			return
		}
		reg, err := originalRegistration(q, "[fd00::1%x]:1")
		if err != nil {
			return
		}
		wire := Clusters{Clusters: map[string]Cluster{reg.Cluster: {Collectors: []ClusterCollector{
			{ID: "c", Address: reg.Address, Port: max(reg.Port, 1), External: true},
		}}}}
		if _, err := wire.Table(); err != nil || reg.ID != "" && fsm.CheckIdent(reg.ID) != nil || reg.Port < 0 || reg.Port > 65535 {
			t.Errorf("%q: %+v, %v", raw, reg, err)
		}
		if ip, err := netip.ParseAddr(reg.Address); err == nil && (ip.IsUnspecified() || ip.IsMulticast()) {
			t.Errorf("%q: %s cannot be dialled", raw, ip)
		}
		again, err := originalRegistration(registerQuery(reg), "")
		if err != nil || again != reg {
			t.Errorf("%q: %+v came back as %+v, %v", raw, reg, again, err)
		}
	})
}

// The answers of the original's own server: it repeats the port of a query as text.
func TestAnswersOfTheOriginalAreRead(t *testing.T) {
	t.Parallel()
	answer := ""
	c := newTestClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }))
	for body, want := range map[string]Registered{
		`{"id":"json_consumer_1","port":10100}`: {ID: "json_consumer_1", Port: 10100}, `{"id":"i","port":"10100"}`: {ID: "i", Port: 10100},
		`{"id":"i"}`: {}, `{"port":1}`: {}, `{"id":"i","port":"x"}`: {}, `{"id":"i","port":65536}`: {}, `{"id":"i","port":null}`: {},
		`{"id":"a/b","port":1}`: {}, `[]`: {}, `<html>`: {},
	} {
		answer = body
		got, err := c.Register(t.Context(), OriginalRegistration{Cluster: "C", Address: "A"})
		if want.ID == "" && !errors.Is(err, ErrForeign) || want.ID != "" && (err != nil || got != want) {
			t.Errorf("register, %s: %+v, %v", body, got, err)
		}
	}
	answer = `{"C":{"i":{"address":"127.0.0.1","port":"10100"},"j":{"address":"127.0.0.1","port":10101}}}`
	clusters, err := c.OriginalClusters(t.Context())
	check(t, OriginalClusters{"C": {"i": {"127.0.0.1", 10100}, "j": {"127.0.0.1", 10101}}}, clusters, err)
	answer = `{"C":{"i":{"address":"127.0.0.1"}}}`
	clusters, err = c.OriginalClusters(t.Context())
	if _, bad := clusters.Table(); err != nil || !errors.Is(bad, ErrBadTable) {
		t.Errorf("a collector without a port: %v, %v", err, bad)
	}
	answer = `<html>`
	if err := c.Remove(t.Context(), "i"); !errors.Is(err, ErrForeign) {
		t.Errorf("remove, a page: %v", err)
	}
}
