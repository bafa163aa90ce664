package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is a temporary directory with outboxes, inboxes, nodes and the static
// table that the uploading nodes share.
type world struct {
	t        testing.TB
	dir      string
	clusters []*cluster // the table
	nodes    []*node
}

// newWorld makes an empty world, which ends with the test.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		for _, n := range w.nodes {
			if n.process != nil {
				t.Log(n.tail())
			}
		}
	})
	return w
}

// mkdir makes a directory in the world.
func (w *world) mkdir(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		w.t.Fatal(err)
	}
	return dir
}

// cluster is one entry of the static table. Changes count for the nodes that
// are started after them.
type cluster struct {
	name    string
	options []string // lines like "mode: one"
	members []*member
}

// member is one collector of the table. port is what uploaders are told; a
// test may put a proxy or a fake collector there.
type member struct {
	id      string
	address string
	port    int
}

// cluster returns the cluster of that name, which it adds to the table.
func (w *world) cluster(name string, options ...string) *cluster {
	i := slices.IndexFunc(w.clusters, func(c *cluster) bool { return c.name == name })
	if i < 0 {
		w.clusters = append(w.clusters, &cluster{name: name})
		i = len(w.clusters) - 1
	}
	c := w.clusters[i]
	c.options = append(c.options, options...)
	return c
}

// add puts a collector in the table, whether or not something listens there.
func (c *cluster) add(id string, port int) *member {
	m := &member{id: id, address: "127.0.0.1", port: port}
	c.members = append(c.members, m)
	return m
}

// outbox is one uploader of a configuration.
type outbox struct {
	t       testing.TB
	name    string
	dir     string
	nexthop string   // YAML; at first all files go to one cluster
	options []string // further lines like "ready: done-file"
}

// outbox makes an outbox whose files go to a cluster.
func (w *world) outbox(name, cluster string, options ...string) *outbox {
	w.t.Helper()
	w.cluster(cluster)
	return &outbox{
		t: w.t, name: name, dir: w.mkdir("out-" + name), options: options,
		nexthop: fmt.Sprintf("[ { match: '', cluster: %s } ]", cluster),
	}
}

// inbox is one collector of a configuration. It listens on port; the table
// says listed.port, which is the same until a test changes it.
type inbox struct {
	t       testing.TB
	id      string
	cluster string
	dir     string
	port    int
	listed  *member
	options []string // further lines like "on_conflict: reject"
}

// inbox makes an inbox with a free port and puts it in the table.
func (w *world) inbox(id, cluster string, options ...string) *inbox {
	w.t.Helper()
	in := &inbox{t: w.t, id: id, cluster: cluster, dir: w.mkdir("in-" + id), port: freePort(w.t), options: options}
	in.listed = w.cluster(cluster).add(id, in.port)
	return in
}

// node is one configuration file and the process that runs it, if any.
type node struct {
	*process // the last one started
	w        *world
	name     string
	admin    string // http://host:port of its API
	outboxes []*outbox
	inboxes  []*inbox
	bin      string       // relayBinary unless set
	net      *netPlace    // its place in a network that agrees; nil in a static one
	wrap     []string     // put before the command line, such as ip netns exec
	http     *http.Client // reaches the node; nil is harnessClient
}

// node adds a node with any number of *outbox and *inbox.
func (w *world) node(name string, spools ...any) *node {
	w.t.Helper()
	n := &node{w: w, name: name, admin: fmt.Sprintf("http://127.0.0.1:%d", freePort(w.t))}
	for _, s := range spools {
		switch s := s.(type) {
		case *outbox:
			n.outboxes = append(n.outboxes, s)
		case *inbox:
			n.inboxes = append(n.inboxes, s)
		default:
			w.t.Fatalf("node %s: %T is neither an outbox nor an inbox", name, s)
		}
	}
	w.nodes = append(w.nodes, n)
	return n
}

// start writes the configuration and starts the process, without waiting.
// env is added to its environment.
func (n *node) start(env ...string) {
	n.w.t.Helper()
	if n.process != nil && n.running() {
		n.w.t.Fatalf("node %s runs already", n.name)
	}
	bin := n.bin
	if bin == "" {
		bin = relayBinary(n.w.t)
	}
	config := n.writeConfig()
	line := append(slices.Clone(n.wrap), bin, "start", "--config", config)
	n.process = startProcess(n.w.t, filepath.Join(n.w.dir, n.name+".log"), line[0], env, line[1:]...)
}

// restart starts the node again after its process ended, with the
// configuration that is there.
func (n *node) restart(env ...string) {
	n.w.t.Helper()
	if n.running() {
		n.w.t.Fatalf("node %s still runs", n.name)
	}
	old := n.process
	n.process = startProcess(n.w.t, old.log, old.cmd.Path, env, old.cmd.Args[1:]...)
}

// startReady starts the node and waits until it is ready.
func (n *node) startReady(env ...string) {
	n.w.t.Helper()
	n.start(env...)
	n.awaitReady()
}

// awaitReady waits until /readyz answers 200.
func (n *node) awaitReady() {
	n.w.t.Helper()
	waitFor(n.w.t, patienceLimit, "node "+n.name+" ready", func() (bool, string) {
		if !n.running() {
			n.w.t.Fatalf("node %s ended: %v\n%s", n.name, n.state, n.tail())
		}
		status, body := n.httpGet("/readyz")
		return status == http.StatusOK, fmt.Sprintf("%d %s", status, body)
	})
}

// writeConfig writes the node's file, and its static file if it has one: the
// whole table for a node that sends, else just its own collectors.
func (n *node) writeConfig() string {
	n.w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\ndata_dir: %q\nhttp: %s\nlog_level: info\n", n.name,
		n.dataDir(), strings.TrimPrefix(n.admin, "http://"))
	if n.net != nil {
		b.WriteString(n.net.yaml())
	} else {
		static := filepath.Join(n.w.dir, n.name+"-static.yaml")
		table := n.w.table()
		if len(n.outboxes) == 0 {
			table = n.ownTable()
		}
		n.w.writeFile(static, table)
		fmt.Fprintf(&b, "network: { static: %q }\n", static)
	}
	if len(n.outboxes) > 0 {
		b.WriteString("uploaders:\n")
	}
	for _, o := range n.outboxes {
		fmt.Fprintf(&b, "  - spool: %q\n    name: %s\n    nexthop: %s\n", o.dir, o.name, o.nexthop)
		b.WriteString(indent(o.options))
	}
	if len(n.inboxes) > 0 {
		b.WriteString("collectors:\n")
	}
	for _, in := range n.inboxes {
		fmt.Fprintf(&b, "  - spool: %q\n    cluster: %s\n    address: %s\n", in.dir, in.cluster, n.address())
		if in.id != "" {
			fmt.Fprintf(&b, "    id: %s\n", in.id)
		}
		if in.port != 0 {
			fmt.Fprintf(&b, "    port: %d\n", in.port)
		}
		b.WriteString(indent(in.options))
	}
	path := filepath.Join(n.w.dir, n.name+".yaml")
	n.w.writeFile(path, b.String())
	return path
}

func (n *node) dataDir() string { return filepath.Join(n.w.dir, "data-"+n.name) }

// address is where the node's collectors listen.
func (n *node) address() string {
	if n.net != nil {
		return n.net.ip
	}
	return "127.0.0.1"
}

// ownTable renders a static file of the node's own collectors.
func (n *node) ownTable() string {
	own := &world{}
	for _, in := range n.inboxes {
		own.cluster(in.cluster).add(in.id, in.port)
	}
	return own.table()
}

// table renders the static file.
func (w *world) table() string {
	var b strings.Builder
	b.WriteString("clusters:\n")
	for _, c := range w.clusters {
		fmt.Fprintf(&b, "  %s:\n%s    collectors:\n", c.name, indent(c.options))
		for _, m := range c.members {
			fmt.Fprintf(&b, "      - { id: %s, address: %s, port: %d }\n", m.id, m.address, m.port)
		}
	}
	return b.String()
}

// indent renders options as lines of a mapping.
func indent(options []string) string {
	var b strings.Builder
	for _, o := range options {
		fmt.Fprintf(&b, "    %s\n", o)
	}
	return b.String()
}

func (w *world) writeFile(path, content string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// spools returns the answer of the node's GET /v1/spools, which is only read
// as far as into points.
func (n *node) spools(into any) {
	n.w.t.Helper()
	status, body := httpGet(n.w.t.Context(), n.admin+"/v1/spools")
	if status != http.StatusOK {
		n.w.t.Fatalf("GET /v1/spools of %s: %d %s", n.name, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		n.w.t.Fatalf("GET /v1/spools of %s: %v in %s", n.name, err, body)
	}
}

// claimed lists the files below .relay/claimed/, relative to it.
func (o *outbox) claimed() []string { return listFiles(o.t, filepath.Join(o.dir, ".relay", "claimed")) }

// touchClaims changes the mtime of every claimed file, as a writer does that had
// it open: what was offered of it no longer counts.
func (o *outbox) touchClaims() {
	o.t.Helper()
	later := time.Now().Add(time.Second)
	for _, name := range o.claimed() {
		err := os.Chtimes(filepath.Join(o.dir, ".relay", "claimed", name), later, later)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // else it got another name just now
			o.t.Fatal(err)
		}
	}
}

// dead lists the files below .relay/dead/, reasons included.
func (o *outbox) dead() []string { return listFiles(o.t, filepath.Join(o.dir, ".relay", "dead")) }

// waiting lists the files in the outbox itself.
func (o *outbox) waiting() []string {
	return slices.DeleteFunc(listFiles(o.t, o.dir), func(name string) bool {
		return strings.HasPrefix(name, ".relay"+string(filepath.Separator))
	})
}

// awaitEmpty waits until the outbox holds neither files nor claims: everything
// that was in it is over.
func (o *outbox) awaitEmpty(limit time.Duration) {
	o.t.Helper()
	waitFor(o.t, limit, "outbox "+o.name+" empty", func() (bool, string) {
		waiting, claimed := o.waiting(), o.claimed()
		return len(waiting)+len(claimed) == 0, fmt.Sprintf("%d waiting %q, %d claimed %q",
			len(waiting), waiting[:min(3, len(waiting))], len(claimed), claimed[:min(3, len(claimed))])
	})
}

// awaitClaimed waits until exactly n files are claimed.
func (o *outbox) awaitClaimed(n int) {
	o.t.Helper()
	waitFor(o.t, patienceLimit, fmt.Sprintf("%d files claimed in %s", n, o.name), func() (bool, string) {
		claimed := o.claimed()
		return len(claimed) == n, fmt.Sprintf("%d claimed, %d waiting", len(claimed), len(o.waiting()))
	})
}

// checkStage waits until no stage file is left: an orphan would stay for ever.
func (in *inbox) checkStage() {
	in.t.Helper()
	waitFor(in.t, patienceLimit, "stage of "+in.id+" empty", func() (bool, string) {
		left := listFiles(in.t, filepath.Join(in.dir, ".relay", "stage"))
		return len(left) == 0, fmt.Sprintf("%d stage files: %q", len(left), left[:min(3, len(left))])
	})
}

// listFiles lists all that is no directory below dir, relative to it. A
// directory that is not there has none; what vanishes meanwhile is left out.
func listFiles(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatalf("list %s: %v", dir, err)
	}
	return out
}
