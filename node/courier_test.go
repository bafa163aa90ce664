package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

func TestCourierGoesToEveryCollectorOfAnAllCluster(t *testing.T) {
	a, b, c := newFakeCollector(t, "a", nil), newFakeCollector(t, "b", nil), newFakeCollector(t, "c", full)
	got := sendTo(t, fsm.ModeAll, "", 0, []string{"x", ""}, a, b, c)
	for _, d := range got {
		if d.Arrived() || len(d.Receipts) != 2 || !strings.Contains(failure(d, "c"), "507") {
			t.Errorf("%s: receipts %v, errors %v; want those of a and b, and c full", d.File, d.Receipts, d.Errors)
		}
	}
	ka, _ := a.seen()
	kb, _ := b.seen()
	if len(ka) != 2 || !slices.Equal(ka, kb) || ka[0] == ka[1] {
		t.Errorf("ids %q at a and %q at b; want the same one for each file", ka, kb)
	}
}

func TestCourierGoesToAnotherCollectorWhenOneRefuses(t *testing.T) {
	for _, mode := range []fsm.Mode{fsm.ModeOne, fsm.ModeKey} {
		a, b := newFakeCollector(t, "a", full), newFakeCollector(t, "b", nil)
		start := time.Now()
		d := sendTo(t, mode, "", time.Minute, []string{"x"}, a, b)[0]
		if !d.Arrived() || d.Receipts[0].Collector != "b" {
			t.Fatalf("mode %s: %+v; want a receipt of b", mode, d)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("mode %s: took %s", mode, took)
		}
		if _, h := b.seen(); h.Get("Relay-Possible-Duplicate") != "" {
			t.Errorf("mode %s: marked as a possible duplicate, though a surely does not have it", mode)
		}
	}
}

func TestCourierAsksTheSameCollectorAgainWhenTheOutcomeIsUnknown(t *testing.T) {
	a, b := newFakeCollector(t, "a", cutOnce), newFakeCollector(t, "b", cutOnce)
	d := sendTo(t, fsm.ModeOne, "1h", time.Minute, []string{"x"}, a, b)[0]
	if !d.Arrived() {
		t.Fatalf("%+v; want a receipt", d)
	}
	ka, _ := a.seen()
	kb, _ := b.seen()
	if len(ka) != 2 || ka[0] != ka[1] || len(kb) != 0 {
		t.Errorf("ids %q at a and %q at b; want the same id twice at a, nothing at b", ka, kb)
	}
}

func TestCourierMarksAPossibleDuplicateAfterFailover(t *testing.T) {
	a, b := newFakeCollector(t, "a", cut), newFakeCollector(t, "b", nil)
	d := sendTo(t, fsm.ModeOne, "1ms", time.Minute, []string{"x"}, a, b)[0]
	if !d.Arrived() || d.Receipts[0].Collector != "b" {
		t.Fatalf("%+v; want a receipt of b", d)
	}
	if _, h := b.seen(); h.Get("Relay-Possible-Duplicate") != "?1" {
		t.Errorf("Relay-Possible-Duplicate is %q", h.Get("Relay-Possible-Duplicate"))
	}
}

// Ten files for a collector that is down must not take ten times the timeout.
func TestCourierGivesACollectorUpOnce(t *testing.T) {
	a := newFakeCollector(t, "a", full)
	contents := slices.Repeat([]string{"x"}, 10)
	start := time.Now()
	for _, d := range sendTo(t, fsm.ModeAll, "", 600*time.Millisecond, contents, a) {
		if d.Arrived() || !strings.Contains(failure(d, "a"), "given up after") {
			t.Errorf("%+v; want it given up", d)
		}
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("took %s; want little more than one timeout", took)
	}
}

func TestCourierRefusesWhatIsNotForGood(t *testing.T) {
	tooLarge := func(_ int, w http.ResponseWriter, r *http.Request) bool {
		httpapi.WriteProblem(w, r, httpapi.ErrTooLarge)
		return true
	}
	a, b := newFakeCollector(t, "a", tooLarge), newFakeCollector(t, "b", nil)
	d := sendTo(t, fsm.ModeOne, "", time.Minute, []string{"x"}, a, b)[0]
	if keys, _ := b.seen(); d.Arrived() || !strings.Contains(failure(d, "a"), "too-large") || len(keys) != 0 {
		t.Errorf("%+v, b asked for %q; want it refused by a alone", d, keys)
	}
}

func TestCourierNoticesThatTheFileChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := openParcel(t.Context(), path, &sums{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.file.Close() }()
	if err := p.unchanged(); err != nil {
		t.Errorf("before: %v", err)
	}
	if err := os.WriteFile(path, []byte("y"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.unchanged(); err == nil {
		t.Error("after: want an error")
	}
}

// A key must lead to the same collector from an outbox and from send.
func TestCourierPrefersTheCollectorThatAnUploaderPrefers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var members []string
	for i := range 7 {
		id := fmt.Sprintf("k%d", i)
		members = append(members, fmt.Sprintf("{id: %s, address: 127.0.0.1, port: %d}", id, 10100+i))
	}
	if err := os.Mkdir(filepath.Join(dir, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("static.yaml", "clusters: {c: {mode: key, key: '^([^_]*)_', collectors: ["+strings.Join(members, ", ")+"]}}")
	write("relay.yaml", "network: {static: static.yaml}\nuploaders: [{spool: out, nexthop: [{match: '', cluster: c}]}]")
	cfg, err := Load(filepath.Join(dir, "relay.yaml"), func(string) string { return "" }, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	cluster := httpapi.NewClusters(cfg.Table, nil).Clusters["c"]
	c := mustOpenCourier(t, cluster, 0)
	for i := range 20 {
		name := fmt.Sprintf("customer%d_x.json", i)
		owed, err := c.owed(cluster, name)
		if err != nil || len(owed) != 1 {
			t.Fatalf("%s is owed to %v, %v; want one copy", name, owed, err)
		}
		var got []fsm.CollectorID
		for _, m := range owed[0] {
			got = append(got, fsm.CollectorID(m.ID))
		}
		if want := Explain(cfg, FileFacts{Name: name})[0].Targets[0].Collectors; !slices.Equal(got, want) {
			t.Fatalf("%s goes to %v, an uploader prefers %v", name, got, want)
		}
	}
}

func TestCourierNamesTheClustersThereAre(t *testing.T) {
	_, err := OpenCourier(t.Context(), CourierConfig{Source: sourceOf{}, Cluster: "x"})
	if !errors.Is(err, errNoCluster) || !strings.Contains(err.Error(), "x; the node at here knows c") {
		t.Errorf("%v; want errNoCluster with the address and the names", err)
	}
}

// What the source said once is good enough when it is gone, but not for the
// first question.
func TestCourierGoesOnWithoutItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fadingSource{sourceOf: sourceOf{Mode: fsm.ModeOne}}
		table := &courierTable{source: source, name: "c"}
		if _, err := table.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		source.gone = true
		<-time.After(2 * tableFresh)
		cluster, err := table.look(t.Context())
		if err != nil || cluster.Mode != fsm.ModeOne || source.asked != 2 {
			t.Errorf("%v, %v after %d questions; want the cluster as it was, after 2", cluster, err, source.asked)
		}
		if _, err := OpenCourier(t.Context(), CourierConfig{Source: source, Cluster: "c"}); !errors.Is(err, httpapi.ErrNoNode) {
			t.Errorf("open without a source: %v, want ErrNoNode", err)
		}
	})
}

// An interrupt ends what is under way, and what has not begun does not begin.
func TestCourierEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a := newFakeCollector(t, "a", func(_ int, w http.ResponseWriter, r *http.Request) bool {
		_, _ = io.Copy(io.Discard, r.Body) // a server notices a hang-up only behind the body
		cancel()
		<-r.Context().Done() // no answer, ever
		return true
	})
	paths := writeFiles(t, "x", "y")
	c := mustOpenCourier(t, httpapi.Cluster{Mode: fsm.ModeAll, Collectors: []httpapi.ClusterCollector{a.member()}}, time.Hour)
	var all []Delivery
	if c.Send(ctx, paths, &sums{}, func(d Delivery) { all = append(all, d) }) || len(all) != 2 {
		t.Fatalf("%+v; want two files that did not arrive", all)
	}
	if !errors.Is(all[0].Errors["a"], errInterrupted) || !errors.Is(all[1].Errors[""], errInterrupted) {
		t.Errorf("%v; want both interrupted", all)
	}
	if keys, _ := a.seen(); len(keys) != 1 {
		t.Errorf("offered %q; want one file only", keys)
	}
}
