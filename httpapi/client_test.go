package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newTestClient connects a client to a node's admin API.
func newTestClient(t *testing.T, h http.Handler) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := NewClient(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestClientReadsWhatTheNodeSays(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.spools = Spools{Spools: []Spool{{Name: "in", Kind: KindInbox, Inbox: &InboxCounts{Collector: "c1", Published: 3}}}}
	f.dead = DeadList{Dead: []DeadFile{{ID: testID, Delivered: []string{"c1"}, At: time.Unix(0, 0).UTC()}}, More: true}
	var index uint64
	table := f.clusters
	f.clusters = func(ctx context.Context, i uint64, w time.Duration) (Clusters, error) {
		index = i
		return table(ctx, i, w)
	}
	c := newTestClient(t, newTestAdmin(f))
	ctx := t.Context()

	status, err := c.Status(ctx)
	check(t, f.status, status, err)
	spools, err := c.Spools(ctx)
	check(t, f.spools, spools, err)
	dead, err := c.Dead(ctx)
	check(t, f.dead, dead, err)
	want, _ := table(ctx, 0, 0)
	clusters, err := c.Clusters(ctx, 6, time.Second)
	check(t, want, clusters, err)
	if index != 6 {
		t.Errorf("the node was asked to wait for index %d, want 6", index)
	}
	one, err := c.Cluster(ctx, "keyed")
	check(t, want.Clusters["keyed"], one, err)
}

func check[T any](t *testing.T, want, got T, err error) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
}

func TestClientChangesDeadFiles(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	var retried, removed string
	f.retry = func(id string) error { retried = id; return nil }
	f.remove = func(id string) error { removed = id; return ErrNotFound }
	c := newTestClient(t, newTestAdmin(f))
	if err := c.RetryDead(t.Context(), testID); err != nil || retried != testID {
		t.Errorf("retried %q, %v", retried, err)
	}
	if err := c.RemoveDead(t.Context(), "a/../b ?"); !errors.Is(err, ErrNotFound) || removed != "a/../b ?" {
		t.Errorf("removed %q, %v, want ErrNotFound", removed, err)
	}
}

func TestClientToldOfAStaticNetwork(t *testing.T) {
	t.Parallel()
	c := newTestClient(t, newTestAdmin(newFakeNode()))
	ctx := t.Context()
	calls := map[string]func() error{
		"members": func() error { _, err := c.Members(ctx); return err },
		"health":  func() error { _, err := c.Health(ctx); return err },
		"set":     func() error { return c.SetCluster(ctx, "c", ClusterSpec{Mode: "all"}) },
		"drain":   func() error { return c.Drain(ctx, "c1") },
		"leave":   func() error { return c.Leave(ctx) },
		"remove":  func() error { return c.RemoveMember(ctx, "n1") },
		"save":    func() error { return c.SaveSnapshot(ctx, io.Discard) },
		"restore": func() error { return c.RestoreSnapshot(ctx, strings.NewReader("x"), false) },
	}
	for name, call := range calls {
		err := call()
		p, ok := errors.AsType[*Problem](err)
		if !errors.Is(err, ErrStaticNetwork) || !ok || p.Status != 501 || !strings.Contains(err.Error(), "static network") {
			t.Errorf("%s: got %v, want the static network in words", name, err)
		}
	}
	if err := c.Drain(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("drain of nobody: got %v, want ErrNotFound", err)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	page := newTestClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	if _, err := page.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "not an answer of bucket-relay") {
		t.Errorf("a page: got %v", err)
	}
	away := newTestClient(t, http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	if p, ok := errors.AsType[*Problem](second(away.Status(t.Context()))); !ok || p.Status != http.StatusFound {
		t.Errorf("a redirect was followed, or not told: %v", p)
	}
	w := newWire(t, func(*wireConn) {})
	gone, err := NewClient(w.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w.close()
	if _, err := gone.Status(t.Context()); !errors.Is(err, ErrNoNode) || !strings.Contains(err.Error(), gone.Addr()) {
		t.Errorf("nobody there: got %v, want ErrNoNode and the address", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := page.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrNoNode) {
		t.Errorf("canceled: got %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestClientAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:10088": "http://127.0.0.1:10088", "http://n1:1/": "http://n1:1", "[::1]:2": "http://[::1]:2",
		"https://n1:1": "", "http://": "", "": "", "http://n1/path": "", "http://u:p@n1:1": "", "http://n1:1?q": "", "unix:///x": "",
	} {
		c, err := NewClient(addr)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: taken as %s", addr, c.Addr())
		case want != "" && (err != nil || c.Addr() != want):
			t.Errorf("%q: got %v, %v", addr, c, err)
		}
	}
}
