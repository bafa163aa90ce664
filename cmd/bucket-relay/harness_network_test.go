package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// The part of the harness for networks that agree: nodes with raft and gossip,
// each on a loopback address of its own.

// netPlace is a node's place in a network: where it listens, whom it knows.
type netPlace struct {
	ip           string
	raft, gossip int      // ports
	join         []string // gossip addresses
	expect       int
	servers      []string // URLs; then it is a client and has neither raft nor gossip
	heartbeat    string
	options      []string // more lines of the network section
	insecure     bool     // the address is none of loopback
}

// yaml renders what the configuration says of it.
func (p *netPlace) yaml() string {
	var b strings.Builder
	if p.insecure {
		b.WriteString("insecure: true\n")
	}
	if len(p.servers) == 0 {
		fmt.Fprintf(&b, "raft: %s:%d\ngossip: %s:%d\n", p.ip, p.raft, p.ip, p.gossip)
	}
	b.WriteString("network:\n")
	if len(p.join) > 0 {
		fmt.Fprintf(&b, "  join: [ %s ]\n", strings.Join(p.join, ", "))
	}
	if p.expect > 0 {
		fmt.Fprintf(&b, "  bootstrap_expect: %d\n", p.expect)
	}
	if len(p.servers) > 0 {
		fmt.Fprintf(&b, "  servers: [ %s ]\n", strings.Join(p.servers, ", "))
	}
	if p.heartbeat != "" {
		fmt.Fprintf(&b, "  heartbeat: %s\n", p.heartbeat)
	}
	for _, o := range p.options {
		fmt.Fprintf(&b, "  %s\n", o)
	}
	if strings.HasSuffix(b.String(), "network:\n") {
		return strings.TrimSuffix(b.String(), "network:\n")
	}
	return b.String()
}

func (p *netPlace) gossipAddr() string { return fmt.Sprintf("%s:%d", p.ip, p.gossip) }

var loopbacks = struct {
	sync.Mutex
	next int
}{next: 1}

// loopback returns an address of 127.0.0.0/8 that this test binary gives out once.
func loopback() string {
	loopbacks.Lock()
	defer loopbacks.Unlock()
	loopbacks.next++
	return fmt.Sprintf("127.0.%d.%d", 10+loopbacks.next/250, 1+loopbacks.next%250)
}

// member adds a full node of a network. It joins nobody until told whom.
func (w *world) member(name string, spools ...any) *node {
	w.t.Helper()
	n := w.node(name, spools...)
	n.net = &netPlace{ip: loopback(), raft: freePort(w.t), gossip: freePort(w.t)}
	n.admin = fmt.Sprintf("http://%s:%d", n.net.ip, freePort(w.t))
	return n
}

// client adds a node that follows others over HTTP only.
func (w *world) client(name string, servers []*node, spools ...any) *node {
	w.t.Helper()
	n := w.member(name, spools...)
	n.net.heartbeat = "1s"
	for _, s := range servers {
		n.net.servers = append(n.net.servers, s.admin)
	}
	return n
}

// move gives a stopped node other addresses, all of them.
func (n *node) move() {
	n.net.ip, n.net.raft, n.net.gossip = loopback(), freePort(n.w.t), freePort(n.w.t)
	n.admin = fmt.Sprintf("http://%s:%d", n.net.ip, freePort(n.w.t))
}

// netInbox makes an inbox whose collector the network gives a port, and an id
// too when id is empty.
func (w *world) netInbox(id, cluster string, options ...string) *inbox {
	w.t.Helper()
	dir := id
	if dir == "" {
		dir = fmt.Sprintf("%s-%d", cluster, freePort(w.t))
	}
	return &inbox{t: w.t, id: id, cluster: cluster, dir: w.mkdir("in-" + dir), options: options}
}

// together tells nodes the same flags: form a network of as many as they are.
func together(nodes ...*node) {
	var all []string
	for _, n := range nodes {
		all = append(all, n.net.gossipAddr())
	}
	for _, n := range nodes {
		n.net.join, n.net.expect = all, len(nodes)
	}
}

// joining tells nodes to join one that is there.
func joining(seed *node, nodes ...*node) {
	for _, n := range nodes {
		n.net.join, n.net.expect = []string{seed.net.gossipAddr()}, 0
	}
}

// startAll starts nodes and waits until all are ready.
func startAll(nodes ...*node) {
	for _, n := range nodes {
		n.start()
	}
	for _, n := range nodes {
		n.awaitReady()
	}
}

// nodeStatus is the part of GET /v1/status that the tests look at.
type nodeStatus struct {
	NodeID    string `json:"node_id"`
	Name      string `json:"name"`
	NetworkID string `json:"network_id"`
	Role      string `json:"role"`
	Leader    string `json:"leader"`
	Index     uint64 `json:"index"`
	Ready     bool   `json:"ready"`
	Reason    string `json:"reason"`
}

// status returns what the node says of itself; the zero value when it does not answer.
func (n *node) status() nodeStatus {
	n.w.t.Helper()
	var st nodeStatus
	n.get("/v1/status", &st)
	return st
}

// get decodes an answer of the node and reports whether there was one.
func (n *node) get(path string, into any) bool {
	n.w.t.Helper()
	status, body := n.httpGet(path)
	if status != http.StatusOK {
		return false
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		n.w.t.Fatalf("GET %s of %s: %v in %s", path, n.name, err, body)
	}
	return true
}

// httpGet asks the node.
func (n *node) httpGet(path string) (status int, body string) {
	client := n.http
	if client == nil {
		client = harnessClient
	}
	return httpGetBy(n.w.t.Context(), client, n.admin+path)
}

// netTable is GET /v1/clusters.
type netTable struct {
	Index    uint64 `json:"index"`
	Clusters map[string]struct {
		Mode       string         `json:"mode"`
		Collectors []netCollector `json:"collectors"`
	} `json:"clusters"`
}

type netCollector struct {
	ID      string `json:"id"`
	Node    string `json:"node"`
	Address string `json:"address"`
	Port    int    `json:"port"`
	State   string `json:"state"`
	Alive   bool   `json:"alive"`
}

func (n *node) table() netTable {
	n.w.t.Helper()
	var t netTable
	n.get("/v1/clusters", &t)
	return t
}

// collector finds a collector in the node's table.
func (n *node) collector(id string) (netCollector, bool) {
	for _, cl := range n.table().Clusters {
		for _, c := range cl.Collectors {
			if c.ID == id {
				return c, true
			}
		}
	}
	return netCollector{}, false
}

// awaitCollector waits until the node's table has a collector.
func (n *node) awaitCollector(id string) (c netCollector) {
	n.w.t.Helper()
	waitFor(n.w.t, patienceLimit, n.name+" knows collector "+id, func() (ok bool, saw string) {
		c, ok = n.collector(id)
		return ok, fmt.Sprintf("%+v", n.table())
	})
	return c
}

// leaderAmong returns the one node that leads, nil while none or several do.
func leaderAmong(nodes ...*node) (leader *node) {
	for _, n := range nodes {
		if !n.running() {
			continue
		}
		if n.status().Role == "leader" {
			if leader != nil {
				return nil
			}
			leader = n
		}
	}
	return leader
}

// awaitLeader waits until one of the nodes leads.
func awaitLeader(t testing.TB, nodes ...*node) (leader *node) {
	t.Helper()
	waitFor(t, patienceLimit, "a leader", func() (bool, string) {
		leader = leaderAmong(nodes...)
		var saw []string
		for _, n := range nodes {
			if n.running() {
				saw = append(saw, fmt.Sprintf("%s: %+v", n.name, n.status()))
			}
		}
		return leader != nil, strings.Join(saw, "\n")
	})
	return leader
}

// setCluster writes through a node, once: status 0 means there was no answer.
func (n *node) setCluster(name, mode string) (status int, body string) {
	n.w.t.Helper()
	return n.httpDo(http.MethodPut, "/v1/clusters/"+name, fmt.Sprintf(`{"mode":%q}`, mode))
}

// awaitEqualTables waits until all nodes have the same table.
func awaitEqualTables(t testing.TB, limit time.Duration, nodes ...*node) {
	t.Helper()
	waitFor(t, limit, "equal tables", func() (bool, string) {
		first, all := "", []string{}
		equal := true
		for i, n := range nodes {
			// Alive is each node's own view, and no part of the table.
			table := n.table()
			for _, cl := range table.Clusters {
				for i := range cl.Collectors {
					cl.Collectors[i].Alive = true
				}
			}
			text := fmt.Sprintf("%+v", table)
			if i == 0 {
				first = text
			}
			equal = equal && text == first && table.Index > 0
			all = append(all, n.name+": "+text)
		}
		return equal, strings.Join(all, "\n")
	})
}

// httpDo sends the node one request with a JSON body; status 0 means that there
// was no answer.
func (n *node) httpDo(method, path, body string) (status int, answer string) {
	n.w.t.Helper()
	client := n.http
	if client == nil {
		client = harnessClient
	}
	ctx, cancel := context.WithTimeout(n.w.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.admin+path, strings.NewReader(body))
	if err != nil {
		n.w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}
