package node

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// fakeNet stands for all collectors. Each remembers what it published, as a
// real one's ledger does; answer decides what goes wrong.
type fakeNet struct {
	mu     sync.Mutex
	has    map[string]map[string]string // collector → id → content
	offers []offered
	answer func(to string, o httpapi.Offer, batch bool) error // nil: accept
	bare   map[string]bool                                    // the original's collectors
	hang   map[string]bool                                    // never answers, until the request is given up
}

type offered struct {
	to, id, name string
	batch, dup   bool
	settled      []httpapi.Mark
}

func (f *fakeNet) Put(ctx context.Context, to httpapi.Peer, o httpapi.Offer) (httpapi.Receipt, error) {
	return f.take(ctx, to, o, false)
}

func (f *fakeNet) PutBatch(ctx context.Context, to httpapi.Peer, os []httpapi.Offer) ([]httpapi.Result, error) {
	out := make([]httpapi.Result, len(os))
	for i, o := range os {
		out[i].Receipt, out[i].Err = f.take(ctx, to, o, true)
	}
	return out, nil
}

func (f *fakeNet) take(ctx context.Context, to httpapi.Peer, o httpapi.Offer, batch bool) (httpapi.Receipt, error) {
	id := strings.TrimSuffix(strings.TrimPrefix(to.Base, "http://"), ":1")
	if f.hang[id] {
		<-ctx.Done()
		return httpapi.Receipt{}, failWith(httpapi.Unknown, httpapi.CodeCanceled)
	}
	body, err := io.ReadAll(io.NewSectionReader(o.Body, 0, o.Size))
	if err != nil {
		return httpapi.Receipt{}, &httpapi.SendError{Outcome: httpapi.Refused, Code: httpapi.CodeSource, Err: err}
	}
	if sha256.Sum256(body) != o.Digest {
		return httpapi.Receipt{}, &httpapi.SendError{Outcome: httpapi.Passing, Status: 422, Code: codeDigestMismatch}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.offers = append(f.offers, offered{id, o.ID, o.Name, batch, o.PossibleDuplicate, o.Settled})
	if f.answer != nil {
		if err := f.answer(id, o, batch); err != nil {
			return httpapi.Receipt{}, err
		}
	}
	if f.has[id] == nil {
		f.has[id] = map[string]string{}
	}
	f.has[id][o.ID] = o.Name + "=" + string(body)
	return httpapi.Receipt{ID: o.ID, Size: o.Size, Original: f.bare[id]}, nil
}

// got returns what a collector has, sorted.
func (f *fakeNet) got(collector string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, c := range f.has[collector] {
		out = append(out, c)
	}
	slices.Sort(out)
	return out
}

func (f *fakeNet) offersTo(collector string) (out []offered) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, o := range f.offers {
		if o.to == collector {
			out = append(out, o)
		}
	}
	return out
}

func (f *fakeNet) set(answer func(to string, o httpapi.Offer, batch bool) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func failWith(o httpapi.Outcome, code string) error {
	return &httpapi.SendError{Outcome: o, Code: code, Detail: "made up by the test"}
}

// bench is one uploader over a real outbox and a fake network. Tests with it
// run in a synctest bubble, so hours of back-off pass at once.
type bench struct {
	t   *testing.T
	dir string
	net *fakeNet
	ob  *spool.Outbox
	up  *uploader
	cfg uploaderConfig
	r   routes

	ready spool.Readiness
}

// cluster makes a cluster of collectors whose address is their id.
func cluster(name string, mode fsm.Mode, ids ...string) fsm.Cluster {
	cl := fsm.Cluster{Name: fsm.ClusterName(name), Mode: mode, FailoverAfter: fsm.DefaultFailoverAfter}
	for _, id := range ids {
		cl.Collectors = append(cl.Collectors, fsm.Collector{
			ID: fsm.CollectorID(id), Cluster: cl.Name, Address: id, Port: 1, State: fsm.StateActive,
		})
	}
	return cl
}

func tableOf(cs ...fsm.Cluster) fsm.Table {
	t := fsm.Table{Index: 1, Clusters: map[fsm.ClusterName]fsm.Cluster{}}
	for _, c := range cs {
		t.Clusters[c.Name] = c
	}
	return t
}

func mustParseRules(t *testing.T, text string) Rules {
	t.Helper()
	r, err := ParseRules(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newBench opens an uploader that routes by the expression over the clusters.
func newBench(t *testing.T, rule string, cs ...fsm.Cluster) *bench {
	t.Helper()
	b := &bench{
		t: t, dir: t.TempDir(), net: &fakeNet{has: map[string]map[string]string{}},
		cfg: uploaderConfig{Name: "out", MaxConn: 8, Window: 4096, Logger: slog.New(slog.DiscardHandler)},
		r:   routes{rules: mustParseRules(t, rule), table: tableOf(cs...)},
	}
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *bench) start() {
	b.t.Helper()
	ob, err := spool.OpenOutbox(context.Background(), spool.OutboxConfig{Dir: b.dir, Ready: b.ready})
	if err != nil {
		b.t.Fatal(err)
	}
	b.ob = ob
	b.up = openUploader(b.cfg, ob, b.net, b.r)
	ob.Rescan()
}

func (b *bench) stop() {
	if b.up == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := b.up.Close(ctx); err != nil {
		b.t.Error(err)
	}
	if err := b.ob.Close(); err != nil {
		b.t.Error(err)
	}
	b.up = nil
}

// drop puts files into the outbox and has it scanned.
func (b *bench) drop(names ...string) {
	b.t.Helper()
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(b.dir, n), []byte("content of "+n), 0o644); err != nil {
			b.t.Fatal(err)
		}
	}
	if b.ob != nil {
		b.ob.Rescan()
	}
}

// pass lets time go by, in the bubble's clock.
func (b *bench) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (b *bench) wantHas(collector string, names ...string) {
	b.t.Helper()
	var want []string
	for _, n := range names {
		want = append(want, n+"=content of "+n)
	}
	slices.Sort(want)
	if got := b.net.got(collector); !slices.Equal(got, want) {
		b.t.Fatalf("collector %s has %d items %.300v, want %d %.300v\n%s", collector, len(got), got, len(want), want, b.state())
	}
}

// wantEmpty checks that nothing is left on the outbox side.
func (b *bench) wantEmpty() {
	b.t.Helper()
	if left := b.left(); len(left) > 0 {
		b.t.Fatalf("left in the outbox: %.500v\n%s", left, b.state())
	}
}

// left lists files in the outbox and its claims.
func (b *bench) left() (out []string) {
	err := filepath.WalkDir(b.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(b.dir, path)
		if !strings.HasPrefix(rel, ".relay") || strings.HasPrefix(rel, ".relay/claimed/") || strings.HasPrefix(rel, ".relay/dead/") {
			out = append(out, rel)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) state() string {
	r := uploaderRole{cfg: Uploader{Name: "out"}, outbox: b.ob, uploader: b.up}
	raw, _ := json.MarshalIndent(r.report(), "", " ")
	return string(raw)
}

func numbered(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s%04d", prefix, i))
	}
	return out
}
