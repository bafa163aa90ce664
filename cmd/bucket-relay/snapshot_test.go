package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bucket-relay/bucket-relay/node"
)

// goldenSnapshot is one that the tests of package node keep.
func goldenSnapshot(t *testing.T) (path, content string) {
	t.Helper()
	path = filepath.Join("..", "..", "node", "testdata", "network.snap")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(b)
}

const goldenContents = "network net-1 at index 6, 2 clusters, 2 collectors, 1 node"

func TestSnapshotInspect(t *testing.T) {
	path, _ := goldenSnapshot(t)
	runHere(t, "snapshot", "inspect", path).check(t, 0,
		goldenContents,
		``,
		`NODE  HTTP            NODE ID`,
		`n1    10.0.0.1:10088  id-1`,
		``,
		`CLUSTER  MODE  KEY   FAILOVER`,
		`images   key   ^(.)  1m0s`,
		`logs     all         30s`,
		``,
		`COLLECTOR  CLUSTER  ADDRESS         NODE  STATE`,
		`i1         images   10.0.0.1:10100  n1    draining`,
		`l1         logs     10.0.0.9:9000         active, external`)

	got := runHere(t, "snapshot", "inspect", path, "--json")
	var info node.SnapshotInfo
	if err := json.Unmarshal([]byte(got.out), &info); err != nil || info.NetworkID != "net-1" || len(info.Clusters) != 2 {
		t.Errorf("%v:\n%s", err, got.out)
	}
}

func TestSnapshotSave(t *testing.T) {
	_, content := goldenSnapshot(t)
	f := newFakeNode(t, map[string][]string{"GET /v1/snapshot": {content}})
	file := filepath.Join(t.TempDir(), "net.snap")
	got := f.runAt(t, "snapshot", "save", file)
	if got.code != 0 || !strings.HasPrefix(got.out, file+" saved, ") || !strings.HasSuffix(got.out, ": "+goldenContents+"\n") {
		t.Errorf("exit code %d:\n%s%s", got.code, got.out, got.err)
	}
	if saved, err := os.ReadFile(file); err != nil || string(saved) != content {
		t.Errorf("%v, %d bytes, want %d", err, len(saved), len(content))
	}
	if got := f.runAt(t, "snapshot", "save", "-"); got.out != content {
		t.Errorf("standard output has %d bytes, want %d", len(got.out), len(content))
	}
}

// What is cut on its way replaces no good snapshot, and is not passed on either.
func TestSnapshotSaveKeepsTheOldFileWhenTheNewOneIsNotWhole(t *testing.T) {
	_, content := goldenSnapshot(t)
	f := newFakeNode(t, map[string][]string{"GET /v1/snapshot": {content[:len(content)-5]}})
	file := filepath.Join(t.TempDir(), "net.snap")
	if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{file, "-"} {
		got := f.runAt(t, "snapshot", "save", to)
		got.check(t, 1, "")
		got.says(t, "no whole snapshot", "nothing was written", "bad snapshot")
	}
	if kept, err := os.ReadFile(file); err != nil || string(kept) != "old" {
		t.Errorf("%q, %v", kept, err)
	}
}

func TestSnapshotRestore(t *testing.T) {
	path, content := goldenSnapshot(t)
	f := newFakeNode(t, map[string][]string{"PUT /v1/snapshot": {"409 wrong-network", ""}})
	got := f.runAt(t, "snapshot", "restore", path)
	got.check(t, 1, "")
	got.says(t, "(wrong-network)")
	f.runAt(t, "snapshot", "restore", path, "--force").check(t, 0, path+" restored: "+goldenContents)
	if !f.wasAsked("PUT /v1/snapshot "+strings.TrimSpace(content)) || !f.wasAsked("PUT /v1/snapshot?force "+strings.TrimSpace(content)) {
		t.Errorf("asked %.200q", f.asked)
	}
}
