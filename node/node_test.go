package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// relayConfig writes the configuration of a node that relays to itself, and
// loads it.
func relayConfig(t *testing.T, dir, rules string) Config {
	t.Helper()
	for _, d := range []string{"out", "in"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "relay.yaml")
	port := freePort(t)
	text := fmt.Sprintf(`
name: n1
data_dir: %[1]s/data
http: 127.0.0.1:0
network: { static: static.yaml }
uploaders:
  - { spool: %[1]s/out, name: out, nexthop: %[2]s }
collectors:
  - { cluster: c, id: c1, spool: %[1]s/in }
`, dir, rules)
	static := fmt.Sprintf("clusters: { c: [ { id: c1, address: 127.0.0.1, port: %d } ] }\n", port)
	mustWrite(t, file, text)
	mustWrite(t, filepath.Join(dir, "static.yaml"), static)
	return mustLoadFile(t, file)
}

func mustLoadFile(t *testing.T, file string) Config {
	t.Helper()
	cfg, err := Load(file, func(string) string { return "" }, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port
}

func mustOpen(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), cfg, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// eventually waits until the condition holds, and tells the last state if not.
func eventually(t *testing.T, what string, holds func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		ok, state := holds()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not after 20 s; %s", what, state)
		}
	}
}

func arrives(t *testing.T, n *Node, path, content string) {
	t.Helper()
	eventually(t, path, func() (bool, string) {
		got, err := os.ReadFile(path)
		if err == nil && string(got) != content {
			t.Fatalf("%s has %q, want %q", path, got, content)
		}
		return err == nil, fmt.Sprintf("%+v", n.Spools())
	})
}

func TestNodeRelaysToItself(t *testing.T) {
	dir := t.TempDir()
	n := mustOpen(t, relayConfig(t, dir, "[ { match: '', cluster: c } ]"))
	name := "a b'\"ü.json"
	mustWrite(t, filepath.Join(dir, "x"), "hello")
	if err := os.Rename(filepath.Join(dir, "x"), filepath.Join(dir, "out", name)); err != nil {
		t.Fatal(err)
	}
	arrives(t, n, filepath.Join(dir, "in", name), "hello")
	if st := n.Status(); !st.Ready || st.Role != httpapi.RoleStatic || st.NodeID == "" || st.Version != "test" {
		t.Errorf("status %+v", st)
	}
}

func TestNodeAnswersItsAPI(t *testing.T) {
	n := mustOpen(t, relayConfig(t, t.TempDir(), "[ { match: '', cluster: c } ]"))
	for path, want := range map[string]string{
		"/healthz":     "",
		"/readyz":      "",
		"/v1/status":   `"role":"static"`,
		"/v1/spools":   `"kind":"inbox"`,
		"/v1/clusters": `"id":"c1"`,
		"/v1/dead":     `"dead":[]`,
		"/metrics":     "relay_",
	} {
		resp, err := http.Get("http://" + n.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %d %s %v", path, resp.StatusCode, body, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestReloadTakesNewRulesAndWakesWaiters(t *testing.T) {
	dir := t.TempDir()
	cfg := relayConfig(t, dir, "[ { match: '^never$', cluster: c } ]")
	n := mustOpen(t, cfg)
	mustWrite(t, filepath.Join(dir, "out", "f"), "waits")
	eventually(t, "the reason", func() (bool, string) {
		s := fmt.Sprintf("%+v", n.Spools())
		return strings.Contains(s, "no rule matches"), s
	})
	waited := make(chan uint64, 1)
	go func() {
		c, err := n.Clusters(context.Background(), n.Table().Index, time.Minute)
		if err != nil {
			t.Error(err)
		}
		waited <- c.Index
	}()
	next := relayConfigAgain(t, dir, "[ { match: '', cluster: c } ]")
	next.Name = "renamed"
	if fixed := n.Reload(next); len(fixed) != 1 || fixed[0] != "name" {
		t.Errorf("needs a restart for %q, want name", fixed)
	}
	arrives(t, n, filepath.Join(dir, "in", "f"), "waits")
	if index := <-waited; index != cfg.Table.Index+1 {
		t.Errorf("waiter was told index %d", index)
	}
}

// relayConfigAgain changes the rules of a configuration and keeps its ports.
func relayConfigAgain(t *testing.T, dir, rules string) Config {
	t.Helper()
	static, err := os.ReadFile(filepath.Join(dir, "static.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	relayConfig(t, dir, rules)
	mustWrite(t, filepath.Join(dir, "static.yaml"), string(static))
	return mustLoadFile(t, filepath.Join(dir, "relay.yaml"))
}

func TestOpenThatFailsUndoesAll(t *testing.T) {
	dir := t.TempDir()
	cfg := relayConfig(t, dir, "[ { match: '', cluster: c } ]")
	n := mustOpen(t, cfg)
	if _, err := Open(t.Context(), cfg, "test", nil); !errors.Is(err, errDataDirLocked) {
		t.Fatalf("second node on one data_dir: %v", err)
	}
	other := cfg
	other.DataDir = filepath.Join(dir, "other")
	if _, err := Open(t.Context(), other, "test", nil); err == nil {
		t.Fatal("second node on one inbox opened")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	// What failed left nothing locked.
	again, err := Open(t.Context(), other, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityLastsAndGenerationGrows(t *testing.T) {
	dir := t.TempDir()
	first, err := openIdentity(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	second, err := openIdentity(dir, "b")
	if err != nil {
		t.Fatal(err)
	}
	if first.NodeID != second.NodeID || second.Generation != first.Generation+1 || second.Name != "b" {
		t.Errorf("%+v then %+v", first, second)
	}
	for _, damaged := range []string{"", "{", `{"node_id":""}`} {
		mustWrite(t, filepath.Join(dir, identityFile), damaged)
		if _, err := openIdentity(dir, "a"); !errors.Is(err, errDamaged) {
			t.Errorf("node.json %q: %v", damaged, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, identityFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	wiped, err := openIdentity(dir, "a")
	if err != nil || wiped.NodeID == first.NodeID || wiped.Generation != 1 {
		t.Errorf("after a wipe: %+v %v", wiped, err)
	}
}
