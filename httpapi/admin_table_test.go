package httpapi

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// A caller whose table is newer than ours waits for a moment, since we are
// behind as a rule, and is then told what we have.
func TestWaitOfACallerAheadIsShort(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	f.status.Index = 7
	var wait time.Duration
	f.clusters = func(_ context.Context, _ uint64, w time.Duration) (Clusters, error) {
		wait = w
		return Clusters{Index: 7}, nil
	}
	c := newTestClient(t, newTestAdmin(f))
	got, err := c.Clusters(t.Context(), 8, time.Minute)
	if err != nil || got.Index != 7 || wait != maxCatchUp {
		t.Errorf("index 8: told of %d after %v, %v, want 7 after %v", got.Index, wait, err, maxCatchUp)
	}
	if _, err := c.Clusters(t.Context(), 7, time.Minute); err != nil || wait < time.Minute {
		t.Errorf("index 7: waited %v, %v", wait, err)
	}
}

func TestWaitsAreSpread(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 20 {
		_, wait, err := waitQuery(map[string][]string{"wait": {"60s"}})
		if err != nil || wait < time.Minute || wait > time.Minute+time.Minute/16 {
			t.Fatalf("%v, %v", wait, err)
		}
		seen[wait] = true
	}
	if len(seen) < 2 {
		t.Error("all waits are of the same length")
	}
}

// TestWaitingRequestsAreBounded fills all places, and frees one.
func TestWaitingRequestsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, reg := newFakeNode(), prometheus.NewRegistry()
		var waiting atomic.Int64
		f.clusters = func(ctx context.Context, index uint64, wait time.Duration) (Clusters, error) {
			if index < 7 || wait == 0 {
				return Clusters{Index: 7}, nil
			}
			waiting.Add(1)
			defer waiting.Add(-1)
			<-ctx.Done()
			return Clusters{Index: 7}, nil
		}
		h := NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Network: &fakeNetwork{t: t}, Registry: reg})
		NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Network: &fakeNetwork{t: t}, Registry: reg}) // which changes nothing of the first
		poll := func(ctx context.Context, query string) *http.Response {
			r := httptest.NewRequestWithContext(ctx, "GET", "/v1/clusters"+query, nil)
			r.Host = "localhost"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Result()
		}
		ctx, end := context.WithCancel(t.Context())
		one, endOne := context.WithCancel(ctx)
		for i := range maxPolls {
			ctx := ctx
			if i == 0 {
				ctx = one
			}
			go poll(ctx, "?index=7&wait=60s")
		}
		synctest.Wait()
		if got := waiting.Load(); got != maxPolls {
			t.Errorf("%d wait, want %d", got, maxPolls)
		}
		if page := mustRead(t, ask(h, "GET", "/metrics", "localhost", nil)); !strings.Contains(page, "relay_network_blocked_polls 3072\n") {
			t.Errorf("metrics: %s", page)
		}
		if p := mustRefuse(t, "one more", poll(ctx, "?index=7&wait=60s"), 503, "busy"); p.RetryAfter == 0 {
			t.Errorf("one more: %+v, want to be told when to come back", p)
		}
		for _, query := range []string{"", "?index=6&wait=60s"} { // have their answer already
			if resp := poll(ctx, query); resp.StatusCode != 200 {
				t.Errorf("%q: got %d", query, resp.StatusCode)
			}
		}
		endOne()
		synctest.Wait()
		go poll(ctx, "?index=7&wait=60s")
		synctest.Wait()
		if got := waiting.Load(); got != maxPolls {
			t.Errorf("%d wait after one came and one went, want %d", got, maxPolls)
		}
		end()
		synctest.Wait()
		if got := waiting.Load(); got != 0 {
			t.Errorf("%d wait after the end", got)
		}
	})
}

func TestConsistentReadsAreConfirmed(t *testing.T) {
	t.Parallel()
	f, n := newFakeNode(), &fakeNetwork{}
	confirmed := false
	table := f.clusters
	f.clusters = func(ctx context.Context, index uint64, wait time.Duration) (Clusters, error) {
		if !confirmed {
			t.Error("the table was read before it was confirmed")
		}
		return table(ctx, index, wait)
	}
	n.confirm = func(context.Context) error { confirmed = true; return nil }
	c := newTestClient(t, newNetworkAdmin(t, f, n))
	got, err := c.ClustersConsistent(t.Context())
	want, _ := table(t.Context(), 0, 0)
	check(t, want, got, err)
	index, err := c.ConsistentIndex(t.Context())
	check(t, 7, index, err)

	n.confirm = func(context.Context) error { return ErrNoQuorum }
	if _, err := c.ClustersConsistent(t.Context()); !errors.Is(err, ErrNoQuorum) {
		t.Errorf("without a quorum: %v", err)
	}
	if _, err := c.ConsistentIndex(t.Context()); !errors.Is(err, ErrNoLeader) {
		t.Errorf("index without a quorum: %v", err)
	}
	n.confirm = nil // would fail the test
	if _, err := c.Clusters(t.Context(), 0, 0); err != nil {
		t.Error(err)
	}
}

func TestLargeTablesAreCompressed(t *testing.T) {
	t.Parallel()
	f := newFakeNode()
	large := NewClusters(manyCollectors(200), nil)
	f.clusters = func(context.Context, uint64, time.Duration) (Clusters, error) { return large, nil }
	h := newTestAdmin(f)
	plain := mustRead(t, ask(h, "GET", "/v1/clusters", "localhost", nil))
	for accept, packed := range map[string]bool{
		"gzip": true, "br, GZIP ;q=0.5": true, "deflate,gzip": true,
		"": false, "*": false, "gzip;q=0": false, "gzip;q=0.0": false, "gzip;q=x": false, "identity": false, "xgzip": false,
	} {
		for _, path := range []string{"/v1/clusters", "/v1/clusters?index=0&wait=1s"} {
			resp := ask(h, "GET", path, "localhost", map[string]string{"Accept-Encoding": accept})
			if got := resp.Header.Get("Content-Encoding") == "gzip"; got != packed || resp.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q %s: compressed %t, Vary %q", accept, path, got, resp.Header.Get("Vary"))
				continue
			}
			body := io.Reader(resp.Body)
			if packed {
				zr, err := gzip.NewReader(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = zr
			}
			if got, err := io.ReadAll(body); err != nil || string(got) != plain {
				t.Errorf("%q %s: %d bytes, %v, want the %d of the plain table", accept, path, len(got), err, len(plain))
			}
		}
	}
	c := newTestClient(t, h)
	got, err := c.Clusters(t.Context(), 0, time.Second)
	check(t, large, got, err)
	small := ask(newTestAdmin(newFakeNode()), "GET", "/v1/clusters", "localhost", map[string]string{"Accept-Encoding": "gzip"})
	if small.Header.Get("Content-Encoding") != "" {
		t.Error("a small table is compressed")
	}
}

// An answer is encoded once for all who waited, until the table or the hints change.
func TestAnswersToPollsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var shared sharedTable
		of := func(table Clusters) *tableAnswer {
			t.Helper()
			a, err := shared.of(table)
			var back Clusters
			if err != nil || json.Unmarshal(a.plain, &back) != nil || back.Index != table.Index {
				t.Fatalf("%s, %v, want index %d", a.plain, err, table.Index)
			}
			return a
		}
		first := of(Clusters{Index: 1})
		if of(Clusters{Index: 1}) != first {
			t.Error("encoded twice at one time")
		}
		if of(Clusters{Index: 2}) == first {
			t.Error("an older table was passed out")
		}
		second := of(Clusters{Index: 2})
		time.Sleep(shareFor)
		if of(Clusters{Index: 2}) == second {
			t.Error("the hints of a while ago were passed out")
		}
	})
}

func TestHeadOfATableTellsItsIndex(t *testing.T) {
	t.Parallel()
	h := newTestAdmin(newFakeNode())
	for _, path := range []string{"/v1/clusters", "/v1/clusters/keyed", "/clusters"} {
		resp := ask(h, "HEAD", path, "localhost", nil)
		if body := mustRead(t, resp); resp.StatusCode != 200 || body != "" || resp.Header.Get("Relay-Index") != "7" {
			t.Errorf("%s: %d %q, index %q", path, resp.StatusCode, body, resp.Header.Get("Relay-Index"))
		}
	}
}

func TestTheClientBoundsAnswers(t *testing.T) {
	t.Parallel()
	resp := func(body string, coding string) *http.Response {
		return &http.Response{Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{"Content-Encoding": {coding}}}
	}
	bomb := string(compress(make([]byte, 1<<20)))
	for name, tc := range map[string]struct {
		body, coding, want string
	}{
		"fits": {"12345678", "", ""}, "fits packed": {string(compress([]byte("12345678"))), "gzip", ""},
		"large": {"123456789", "", errAnswerSize.Error()}, "bomb": {bomb, "gzip", errAnswerSize.Error()},
		"not gzip": {"twelve bytes", "gzip", "gzip: "}, "other": {"x", "br", `content encoding "br"`},
		"cut": {bomb[:len(bomb)-9], "gzip", ""},
	} {
		got, err := readAnswer(resp(tc.body, tc.coding), 8)
		switch {
		case name == "cut":
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		case tc.want == "" && (err != nil || cmp.Diff("12345678", string(got)) != ""):
			t.Errorf("%s: %q, %v", name, got, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
