package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// followed runs a follower over servers until the test ends. It returns the
// tables that it fills, and what it reported last.
func followed(t *testing.T, change func(f *follower), servers ...*fakeServer) (*assignments, func() string) {
	t.Helper()
	var urls []string
	for _, s := range servers {
		urls = append(urls, s.url)
	}
	var mu sync.Mutex
	said := "nothing yet"
	f := &follower{
		tables: newAssignments(tableAt(5)), log: slog.New(slog.DiscardHandler), wait: 10 * time.Second, clients: newClientPool(),
		servers: func() []string { return slices.Clone(urls) },
		report: func(reason string) {
			mu.Lock()
			defer mu.Unlock()
			said = reason
		},
		belongs: (&identityKeeper{id: identity{NetworkID: "ours"}}).belongs,
	}
	if change != nil {
		change(f)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.follow(ctx, func() bool { return true }) })
	t.Cleanup(func() { cancel(); wg.Wait(); f.clients.close() })
	return f.tables, func() string {
		mu.Lock()
		defer mu.Unlock()
		return said
	}
}

func awaitIndex(t *testing.T, tables *assignments, want uint64) {
	t.Helper()
	eventually(t, "the table", func() (bool, string) {
		return tables.index() == want, fmt.Sprintf("index %d, want %d", tables.index(), want)
	})
}

func TestFollowerGoesOnToAServerThatHasTheTable(t *testing.T) {
	t.Parallel()
	gone := newFakeServer(t, "ours", 9)
	gone.close()
	proxy, behind, foreign, good := newFakeServer(t, "ours", 9), newFakeServer(t, "ours", 4), newFakeServer(t, "theirs", 99), newFakeServer(t, "ours", 9)
	proxy.answer = page(http.StatusBadGateway)
	tables, said := followed(t, nil, gone, proxy, behind, foreign, good)
	awaitIndex(t, tables, 9)
	eventually(t, "no more complaint", func() (bool, string) { return said() == "", said() })
	if n := foreign.count("GET /v1/clusters"); n > 0 {
		t.Errorf("a server of another network was asked for its table %d times", n)
	}
	// It stays with the one that answers, until that dies.
	asked := behind.count("")
	good.set(func(f *fakeServer) { f.table = tableAt(10) })
	good.close()
	eventually(t, "the others are asked again", func() (bool, string) { return behind.count("") > asked, said() })
	eventually(t, "it says why no table comes", func() (bool, string) {
		return strings.HasPrefix(said(), "the table cannot be followed: "), said()
	})
}

func TestFollowerSaysWhatIsWrongWithTheOnlyServer(t *testing.T) {
	t.Parallel()
	for want, server := range map[string]*fakeServer{
		"older than ours: 4, not 5":        newFakeServer(t, "ours", 4),
		"of another network (theirs) than": newFakeServer(t, "theirs", 9),
	} {
		_, said := followed(t, nil, server)
		eventually(t, want, func() (bool, string) { return strings.Contains(said(), want), said() })
	}
	_, said := followed(t, nil)
	eventually(t, "no server", func() (bool, string) { return said() == "no node in sight has the table", said() })
}

// A server whose table is empty, or as old as ours, is asked once and then
// waited at; one that is behind or answers nonsense is asked with growing pauses.
func TestFollowerDoesNotSpin(t *testing.T) {
	t.Parallel()
	empty, behind, nonsense := newFakeServer(t, "", 0), newFakeServer(t, "ours", 1), newFakeServer(t, "ours", 9)
	nonsense.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("[]"))
		return true
	}
	followed(t, func(f *follower) { f.tables = newAssignments(tableAt(0)) }, empty)
	followed(t, nil, behind)
	followed(t, nil, nonsense)
	over := time.After(time.Second)
	eventually(t, "a second", func() (bool, string) {
		select {
		case <-over:
			return true, ""
		default:
			return false, ""
		}
	})
	for what, n := range map[string]int{
		"empty": empty.count("GET /v1/clusters"), "behind": behind.count("GET /v1/clusters"), "nonsense": nonsense.count("GET /v1/status"),
	} {
		if n < 1 || n > 5 { // pauses of 100, 200, 400, 800 ms
			t.Errorf("the server that is %s was asked %d times in a second", what, n)
		}
	}
	if n := empty.count("GET /v1/clusters"); n != 2 {
		t.Errorf("at an empty table %d questions, want one that is answered and one that waits", n)
	}
}

func TestFollowerTriesTheOriginalsProtocolOnlyWhereItMayBe(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{200: true, 404: true, 405: true, 501: true, 500: false, 502: false, 503: false, 504: false} {
		server := newFakeServer(t, "ours", 9)
		server.answer = page(status)
		tried := make(chan struct{}, 1)
		_, said := followed(t, func(f *follower) {
			f.foreign = func(context.Context, *httpapi.Client) error {
				poke(tried)
				return errors.New("was tried")
			}
		}, server)
		eventually(t, "an answer", func() (bool, string) { return said() != "nothing yet", said() })
		if got := len(tried) > 0; got != want {
			t.Errorf("a page of status %d: tried %v, want %v (%s)", status, got, want, said())
		}
	}
	refusing := newFakeServer(t, "ours", 9) // one of ours, whatever it says
	refusing.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"type":"about:blank","title":"Not found","status":404,"code":"not-found"}`))
		return true
	}
	_, said := followed(t, func(f *follower) {
		f.foreign = func(context.Context, *httpapi.Client) error {
			t.Error("one of ours taken for the original")
			return nil
		}
	}, refusing)
	eventually(t, "an answer", func() (bool, string) { return said() != "nothing yet", said() })
}

func TestFollowersBeginAtDifferentServers(t *testing.T) {
	t.Parallel()
	servers := []string{"http://a:1", "http://b:1", "http://c:1"}
	first := map[string]int{}
	for i := range 60 {
		f := &follower{spread: fmt.Sprint("node-", i)}
		first[f.next(slices.Clone(servers))]++
	}
	for _, s := range servers {
		if first[s] < 5 {
			t.Errorf("of 60 followers %d begin at %s", first[s], s)
		}
	}
	f := &follower{}
	var order []string
	for f.failed = range 4 {
		f.server = f.next(servers)
		order = append(order, f.server)
	}
	if want := append(slices.Clone(servers), servers[0]); !slices.Equal(order, want) {
		t.Errorf("in the order %q, want %q", order, want)
	}
}
