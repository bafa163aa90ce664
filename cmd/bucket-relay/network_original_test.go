package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The original's programs against a network of ours, and ours against its
// network server.

// balancer passes each request on to the next of several nodes, whether or not
// it is there: one that is gone is answered with a page of its own.
type balancer struct {
	url  string
	hits atomic.Int64
}

func newBalancer(t testing.TB, nodes ...*node) *balancer {
	t.Helper()
	var behind []*url.URL
	for _, n := range nodes {
		u, err := url.Parse(n.admin)
		if err != nil {
			t.Fatal(err)
		}
		behind = append(behind, u)
	}
	b := &balancer{}
	transport := &http.Transport{DisableKeepAlives: true}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind[int(b.hits.Add(1))%len(behind)])
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			_, _ = fmt.Fprint(w, "<html><body>502 Bad Gateway</body></html>")
		},
	}
	b.url = fmt.Sprintf("http://127.0.0.1:%d", serveHTTP(t, proxy))
	return b
}

// guest is a collector of the original in a network: it asks GET /register for
// its port, listens there, and repeats the same call as its heartbeat.
type guest struct {
	*originalCollector
	server string // URL of what it takes for the network server
	query  url.Values
	ip, id string

	mu      sync.Mutex
	answers map[string]int // what it was told, and how often
	failed  []string
	stop    func()
}

// guestAnswer is all that the original reads of an answer to /register.
type guestAnswer struct {
	ID   string `json:"id"`
	Port int    `json:"port"`
}

// newGuest registers a collector, starts to serve where it is told, and to
// repeat the call every pace.
func newGuest(t testing.TB, server, ip string, query url.Values, pace time.Duration) *guest {
	t.Helper()
	g := &guest{
		originalCollector: &originalCollector{t: t, dir: t.TempDir(), puts: map[string]int{}},
		server:            server, query: query, ip: ip, answers: map[string]int{},
	}
	g.query.Set("address", ip)
	var got guestAnswer
	waitFor(t, patienceLimit, "the original's collector is registered", func() (ok bool, saw string) {
		got, ok, saw = g.register(t.Context())
		return ok, saw
	})
	g.id, g.port = got.ID, got.Port
	serveHTTPAt(t, net.JoinHostPort(ip, strconv.Itoa(got.Port)), g)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.beatLoop(ctx, pace)
	}()
	g.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(g.stop)
	return g
}

func (g *guest) register(ctx context.Context) (got guestAnswer, ok bool, saw string) {
	status, body := httpGet(ctx, g.server+"/register?"+g.query.Encode())
	if status != http.StatusOK {
		return got, false, fmt.Sprintf("%d %s", status, body)
	}
	err := json.Unmarshal([]byte(body), &got)
	return got, err == nil, body
}

// beatLoop repeats the registration until ctx ends.
func (g *guest) beatLoop(ctx context.Context, pace time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		got, ok, saw := g.register(ctx)
		g.mu.Lock()
		if ok {
			g.answers[fmt.Sprintf("%s:%d", got.ID, got.Port)]++
		} else if ctx.Err() == nil {
			g.failed = append(g.failed, saw)
		}
		g.mu.Unlock()
	}
}

// awaitBeats waits until the call was answered n more times.
func (g *guest) awaitBeats(n int) {
	g.t.Helper()
	had := g.beats()
	waitFor(g.t, patienceLimit, "heartbeats of the original's collector", func() (bool, string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return sum(g.answers) >= had+n, fmt.Sprintf("%v, failed %q", g.answers, g.failed)
	})
}

func (g *guest) beats() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return sum(g.answers)
}

func sum(counts map[string]int) (all int) {
	for _, n := range counts {
		all += n
	}
	return all
}

// checkSame fails the test unless every answer said the same id and port.
func (g *guest) checkSame() {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	want := fmt.Sprintf("%s:%d", g.id, g.port)
	if len(g.answers) != 1 || g.answers[want] == 0 {
		g.t.Errorf("answers to the heartbeats %v, want all %s", g.answers, want)
	}
}

// originalTable is how the original's uploader reads GET /clusters.
type originalTable map[string]map[string]struct {
	Address string `json:"address"`
	Port    int    `json:"port"`
}

func originalClusters(t testing.TB, server string) (table originalTable) {
	t.Helper()
	status, body := httpGet(t.Context(), server+"/clusters")
	if status != http.StatusOK {
		return nil
	}
	if err := json.Unmarshal([]byte(body), &table); err != nil {
		t.Fatalf("GET /clusters: %v in %s", err, body)
	}
	return table
}

// awaitGone waits until no node's table has a collector.
func awaitGone(t testing.TB, limit time.Duration, id string, nodes ...*node) {
	t.Helper()
	waitFor(t, limit, "collector "+id+" is gone", func() (bool, string) {
		for _, n := range nodes {
			if _, there := n.collector(id); there || n.table().Index == 0 {
				return false, fmt.Sprintf("%s: %+v", n.name, n.table())
			}
		}
		return true, ""
	})
}

// beatingTrio is a trio whose external collectors owe a heartbeat a second.
func beatingTrio(w *world) (nodes []*node, out *outbox, ins []*inbox) {
	nodes, out, ins = trio(w)
	for _, n := range nodes {
		n.net.heartbeat = "1s"
	}
	return nodes, out, ins
}

func TestCollectorOfTheOriginalLivesInTheNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, _ := beatingTrio(w)
	out.nexthop = "[ { match: '', cluster: theirs } ]"
	startAll(nodes...)
	lb := newBalancer(t, nodes...)
	guests := []*guest{ // one at each node, and one behind the balancer
		newGuest(t, nodes[0].admin, loopback(), url.Values{"cluster": {"theirs"}}, 300*time.Millisecond),
		newGuest(t, nodes[1].admin, loopback(), url.Values{"cluster": {"theirs"}, "id": {"undefined"}, "port": {strconv.Itoa(freePort(t))}}, 300*time.Millisecond),
		newGuest(t, nodes[2].admin, loopback(), url.Values{"cluster": {"theirs"}, "id": {"json_consumer_1"}, "port": {"undefined"}}, 300*time.Millisecond),
		newGuest(t, lb.url, loopback(), url.Values{"cluster": {"theirs"}, "id": {""}, "port": {"undefined"}}, 300*time.Millisecond),
	}
	for _, g := range guests {
		for _, n := range nodes {
			n.awaitCollector(g.id)
		}
	}
	if guests[2].id != "json_consumer_1" || guests[0].port < 10100 {
		t.Errorf("%s at %d, %s at %d", guests[0].id, guests[0].port, guests[2].id, guests[2].port)
	}
	s := newSamples(61)
	newProducer(t, out.dir, s).drop(50)
	for _, g := range guests {
		r := readInbox(t, g.dir, takeSome)
		r.await(patienceLimit, s.made())
		r.check(s.made())
	}
	out.awaitEmpty(patienceLimit)
	for _, g := range guests {
		g.awaitBeats(10) // as long as what has no heartbeat would live
		g.checkSame()
		g.check()
	}
	if table := originalClusters(t, lb.url); len(table["theirs"]) != len(guests) {
		t.Errorf("clusters %+v", table)
	}
}

func TestCollectorOfTheOriginalDisappears(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, out, _ := beatingTrio(w)
	out.nexthop = "[ { match: '', cluster: theirs } ]"
	startAll(nodes...)
	lb := newBalancer(t, nodes...)
	silent := newGuest(t, lb.url, loopback(), url.Values{"cluster": {"theirs"}}, 300*time.Millisecond)
	parting := newGuest(t, lb.url, loopback(), url.Values{"cluster": {"theirs"}, "port": {strconv.Itoa(freePort(t))}}, 300*time.Millisecond)
	staying := newGuest(t, lb.url, loopback(), url.Values{"cluster": {"theirs"}, "id": {"stays"}}, 300*time.Millisecond)
	for _, g := range []*guest{silent, parting, staying} {
		nodes[0].awaitCollector(g.id)
	}
	parting.stop()
	if status, body := httpGet(t.Context(), lb.url+"/remove?id="+url.QueryEscape(parting.id)); status != 200 || strings.TrimSpace(body) != `{"success":1}` {
		t.Errorf("remove: %d %s", status, body)
	}
	awaitGone(t, 2*time.Second, parting.id, nodes...)
	if status, _ := httpGet(t.Context(), lb.url+"/remove?id="+url.QueryEscape(parting.id)); status != 500 {
		t.Errorf("removed again: %d", status)
	}
	if _, there := nodes[0].collector(silent.id); !there {
		t.Error("a collector with heartbeats is gone")
	}
	silent.stop()
	began := time.Now()
	awaitGone(t, patienceLimit, silent.id, nodes...)
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("without heartbeats it stayed for %v", took)
	}
	s := newSamples(62)
	newProducer(t, out.dir, s).drop(10)
	r := readInbox(t, staying.dir, takeSome)
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit) // nothing is owed to those that are gone
	if _, there := nodes[0].collector(staying.id); !there {
		t.Error("a collector with heartbeats is gone")
	}
}

// A node dies behind the balancer: what the original's collector was given stays.
func TestCollectorOfTheOriginalOutlivesANode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, _, _ := beatingTrio(w)
	startAll(nodes...)
	lb := newBalancer(t, nodes...)
	g := newGuest(t, lb.url, loopback(), url.Values{"cluster": {"theirs"}}, 200*time.Millisecond)
	nodes[0].awaitCollector(g.id)
	leader := awaitLeader(t, nodes...)
	leader.kill()
	g.awaitBeats(20)
	g.checkSame()
	for _, n := range nodes {
		if n != leader {
			n.awaitCollector(g.id)
		}
	}
}

// The original's uploader asks for the clusters and sends each file to all of one.
func TestUploaderOfTheOriginalDeliversIntoTheNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, _, ins := trio(w)
	startAll(nodes...)
	lb := newBalancer(t, nodes...)
	var table originalTable
	waitFor(t, patienceLimit, "both collectors behind the balancer", func() (bool, string) {
		table = originalClusters(t, lb.url)
		return len(table["c"]) == 2, fmt.Sprintf("%+v", table)
	})
	s := newSamples(63)
	for i := range 40 {
		name, body := s.next()
		for id, c := range table["c"] {
			if err := originalUploadTo(t.Context(), net.JoinHostPort(c.Address, strconv.Itoa(c.Port)), name, body, i%2 == 0); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	for _, in := range ins {
		r := readInbox(t, in.dir, takeAll)
		r.await(patienceLimit, s.made())
		r.check(s.made())
	}
	// A draining collector is no target, and the original knows no such state.
	if status, body := nodes[1].httpDo("POST", "/v1/clusters/c/collectors/c1/drain", ""); status/100 != 2 {
		t.Fatalf("drain: %d %s", status, body)
	}
	for _, n := range nodes {
		waitFor(t, patienceLimit, "one collector at "+n.name, func() (bool, string) {
			table = originalClusters(t, n.admin)
			_, there := table["c"]["c1"]
			return len(table["c"]) == 1 && !there, fmt.Sprintf("%+v", table)
		})
	}
}

func takeAll(string) verdict { return remove }

// originalNetwork is the original's network server: it gives ids and ports,
// keeps them in memory, and knows three paths.
type originalNetwork struct {
	url string

	mu       sync.Mutex
	clusters map[string]map[string]map[string]any
	asked    map[string]int // by id: how often it was registered
	removed  []string
	others   []string // what is no request of the original
	next     int
}

func newOriginalNetwork(t testing.TB) *originalNetwork {
	t.Helper()
	o := &originalNetwork{clusters: map[string]map[string]map[string]any{}, asked: map[string]int{}}
	o.url = fmt.Sprintf("http://127.0.0.1:%d", serveHTTP(t, o))
	return o
}

func (o *originalNetwork) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var answer any
	switch q := r.URL.Query(); r.URL.Path {
	case "/clusters":
		answer = o.clusters
	case "/register":
		answer = o.register(q)
	case "/remove":
		if !o.remove(q.Get("id")) {
			http.Error(w, "Internal Server Error", http.StatusInternalServerError)
			return
		}
		answer = map[string]int{"success": 1}
	default:
		if r.Method != http.MethodGet {
			o.others = append(o.others, r.Method+" "+r.RequestURI)
		}
		http.Error(w, "Cannot "+r.Method+" "+r.URL.Path, http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// register repeats a port as the text that it got, and counts up for one without.
func (o *originalNetwork) register(q url.Values) any {
	id, cluster := q.Get("id"), q.Get("cluster")
	if id == "" {
		o.next++
		id = fmt.Sprintf("%s_%d", cluster, o.next)
	}
	var port any = q.Get("port")
	if port == "" {
		port = 0
	}
	if o.clusters[cluster] == nil {
		o.clusters[cluster] = map[string]map[string]any{}
	}
	o.clusters[cluster][id] = map[string]any{"address": q.Get("address"), "port": port}
	o.asked[id]++
	return map[string]any{"id": id, "port": port}
}

func (o *originalNetwork) remove(id string) bool {
	for _, members := range o.clusters {
		if _, ok := members[id]; ok {
			delete(members, id)
			o.removed = append(o.removed, id)
			return true
		}
	}
	return false
}

func (o *originalNetwork) saw() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("clusters %v, registered %v, removed %q, others %q", o.clusters, o.asked, o.removed, o.others)
}

// TestClientsOfTheOriginalsNetworkServer has our uploader and our collector in a
// network of the original.
func TestClientsOfTheOriginalsNetworkServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := newOriginalNetwork(t)
	out, in := w.outbox("out", "c"), w.netInbox("ours", "c")
	in.port = freePort(t)
	up, down := w.client("up", nil, out), w.client("down", nil, in)
	for _, n := range []*node{up, down} {
		n.net.servers = []string{server.url}
	}
	startAll(up, down)
	up.awaitCollector("ours")
	relayed(t, out, []*inbox{in}, 30)
	waitFor(t, patienceLimit, "the heartbeat is repeated", func() (bool, string) {
		server.mu.Lock()
		n := server.asked["ours"]
		server.mu.Unlock()
		return n >= 3, server.saw()
	})
	// A collector of the original comes, with the port as a text.
	theirs := newOriginalCollector(t)
	server.mu.Lock()
	server.register(url.Values{"cluster": {"c"}, "id": {"theirs"}, "address": {"127.0.0.1"}, "port": {strconv.Itoa(theirs.port)}})
	server.mu.Unlock()
	up.awaitCollector("theirs")
	s := newSamples(64)
	newProducer(t, out.dir, s).drop(10)
	r := readInbox(t, theirs.dir, takeSome)
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	theirs.check()
	server.mu.Lock()
	if n := server.asked["ours"]; n > 100 {
		t.Errorf("registered %d times, by a heartbeat of a second", n)
	}
	server.mu.Unlock()
	if status, body := down.httpDo("POST", "/v1/leave", ""); status/100 != 2 {
		t.Fatalf("leave: %d %s", status, body)
	}
	if code := down.awaitEnd(patienceLimit).ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, down.tail())
	}
	server.mu.Lock()
	removed, others := slices.Clone(server.removed), slices.Clone(server.others)
	server.mu.Unlock()
	// Before the first answer tells what the server is, a registration may have
	// been tried in our own way.
	others = slices.DeleteFunc(others, func(o string) bool { return o == "PUT /v1/clusters/c/collectors/ours" })
	if !slices.Equal(removed, []string{"ours"}) || len(others) > 0 {
		t.Error(server.saw())
	}
	waitFor(t, patienceLimit, "the uploader knows", func() (bool, string) {
		_, there := up.collector("ours")
		return !there, fmt.Sprintf("%+v, %s\n%s", up.table(), up.status().Reason, server.saw())
	})
	up.stop()
	if !strings.Contains(up.output(), "speaks the original's protocol") {
		t.Error(filepath.Base(up.log), "does not say whom it talks to")
	}
}

// TestClientsBehindABalancer has clients that know one address, behind which
// the nodes take turns. One of them is gone for a while, and the balancer says
// so in a page of its own: that makes it no server of the original.
func TestClientsBehindABalancer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nodes, _, _ := beatingTrio(w)
	startAll(nodes...)
	lb := newBalancer(t, nodes...)
	out, in := w.outbox("far", "far"), w.netInbox("far1", "far")
	up, down := w.client("up", nil, out), w.client("down", nil, in)
	for _, n := range []*node{up, down} {
		n.net.servers = []string{lb.url}
	}
	startAll(up, down)
	nodes[0].awaitCollector("far1")
	relayed(t, out, []*inbox{in}, 20)
	if status, body := nodes[1].setCluster("far", "one"); status/100 != 2 {
		t.Fatalf("set cluster: %d %s", status, body)
	}
	nodes[2].kill()
	relayed(t, out, []*inbox{in}, 20)
	waitFor(t, patienceLimit, "clients with the table of ours", func() (bool, string) {
		a, b := up.table(), nodes[0].table()
		return a.Clusters["far"].Mode == "one" && a.Index == b.Index, fmt.Sprintf("%+v\n%+v", a, b)
	})
	nodes[2].startReady()
	for i := range 20 {
		if status, body := nodes[i%3].setCluster(fmt.Sprintf("x%d", i), "all"); status/100 != 2 {
			t.Fatalf("set cluster: %d %s", status, body)
		}
	}
	waitFor(t, patienceLimit, "clients with the table of ours", func() (bool, string) {
		a, b := up.table(), nodes[0].table()
		return a.Clusters["x19"].Mode == "all" && a.Index == b.Index, fmt.Sprintf("%+v\n%+v", a, b)
	})
	relayed(t, out, []*inbox{in}, 20)
	for _, n := range []*node{up, down} {
		if strings.Contains(n.output(), "speaks the original's protocol") {
			t.Errorf("%s takes the balancer for a server of the original", n.name)
		}
	}
}
