package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// sameTable compares tables; expressions are the same when their texts are.
var sameTable = cmp.Comparer(func(a, b *regexp.Regexp) bool {
	return a == b || a != nil && b != nil && a.String() == b.String()
})

func TestTableThereAndBack(t *testing.T) {
	t.Parallel()
	want := fsm.Table{Index: 1<<64 - 1, Clusters: map[fsm.ClusterName]fsm.Cluster{
		"a": {Name: "a", Mode: fsm.ModeAll, FailoverAfter: fsm.DefaultFailoverAfter},
		"k": {Name: "k", Mode: fsm.ModeKey, Key: regexp.MustCompile(`^(\d+)-`), FailoverAfter: 90 * time.Second, Collectors: []fsm.Collector{
			{ID: "c1", Cluster: "k", Node: "id1", Address: "::1", Port: 1, State: fsm.StateDraining},
			{ID: "c2", Cluster: "k", Address: "n2.example", Port: 65535, State: fsm.StateActive, External: true},
		}},
		"o": {Name: "o", Mode: fsm.ModeOne, FailoverAfter: time.Millisecond},
	}}
	raw, err := json.Marshal(NewClusters(want, nil))
	if err != nil {
		t.Fatal(err)
	}
	var wire Clusters
	if err := json.Unmarshal(raw, &wire); err != nil {
		t.Fatal(err)
	}
	got, err := wire.Table()
	if diff := cmp.Diff(want, got, sameTable); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	large := manyCollectors(1000)
	got, err = NewClusters(large, nil).Table()
	if diff := cmp.Diff(large, got, sameTable); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestTableOfTheOriginal(t *testing.T) {
	t.Parallel()
	var wire OriginalClusters
	if err := json.Unmarshal([]byte(`{"C":{"i":{"address":"127.0.0.1","port":10100}},"empty":{}}`), &wire); err != nil {
		t.Fatal(err)
	}
	got, err := wire.Table()
	want := fsm.Table{Clusters: map[fsm.ClusterName]fsm.Cluster{
		"C": {Name: "C", Mode: fsm.ModeAll, FailoverAfter: fsm.DefaultFailoverAfter, Collectors: []fsm.Collector{
			{ID: "i", Cluster: "C", Address: "127.0.0.1", Port: 10100, State: fsm.StateActive, External: true},
		}},
		"empty": {Name: "empty", Mode: fsm.ModeAll, FailoverAfter: fsm.DefaultFailoverAfter},
	}}
	if diff := cmp.Diff(want, got, sameTable); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestTablesThatMakeNoSense(t *testing.T) {
	t.Parallel()
	const good = `{"id":"i","address":"h","port":1}`
	keys := map[string]Cluster{}
	for i := range maxKeyExprs/maxKeyExpr + 1 {
		keys[fmt.Sprint("c", i)] = Cluster{Mode: fsm.ModeKey, Key: fmt.Sprintf("%0*d", maxKeyExpr, i)}
	}
	many, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	for name, clusters := range map[string]string{
		"name":            `{"a/b":{}}`,
		"no name":         `{"":{}}`,
		"mode":            `{"c":{"mode":"some"}}`,
		"mode key":        `{"c":{"mode":"key"}}`,
		"key":             `{"c":{"mode":"key","key":"("}}`,
		"long key":        `{"c":{"mode":"key","key":"` + strings.Repeat("x", maxKeyExpr+1) + `"}}`,
		"many keys":       string(many),
		"failover":        `{"c":{"failover_after":"soon"}}`,
		"no failover":     `{"c":{"failover_after":"0s"}}`,
		"id":              `{"c":{"collectors":[{"id":"","address":"h","port":1}]}}`,
		"node":            `{"c":{"collectors":[{"id":"i","node":"a b","address":"h","port":1}]}}`,
		"no address":      `{"c":{"collectors":[{"id":"i","port":1}]}}`,
		"address":         `{"c":{"collectors":[{"id":"i","address":"a/../b","port":1}]}}`,
		"long address":    `{"c":{"collectors":[{"id":"i","address":"` + strings.Repeat("x", 254) + `","port":1}]}}`,
		"port 0":          `{"c":{"collectors":[{"id":"i","address":"h","port":0}]}}`,
		"port above":      `{"c":{"collectors":[{"id":"i","address":"h","port":65536}]}}`,
		"state":           `{"c":{"collectors":[{"id":"i","address":"h","port":1,"state":"gone"}]}}`,
		"twice":           `{"c":{"collectors":[` + good + `,` + good + `]}}`,
		"in two clusters": `{"c":{"collectors":[` + good + `]},"d":{"collectors":[` + good + `]}}`,
	} {
		var wire Clusters
		if err := json.Unmarshal([]byte(`{"index":1,"clusters":`+clusters+`}`), &wire); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := wire.Table(); !errors.Is(err, ErrBadTable) || got.Clusters != nil {
			t.Errorf("%s: got %v, %v, want ErrBadTable and nothing", name, got, err)
		}
	}
	same := map[string]Cluster{}
	for i := range maxKeyExprs/maxKeyExpr + 1 {
		same[fmt.Sprint("c", i)] = Cluster{Mode: fsm.ModeKey, Key: strings.Repeat("x", maxKeyExpr)}
	}
	if _, err := (Clusters{Clusters: same}).Table(); err != nil {
		t.Errorf("one key in many clusters: %v", err)
	}
}

// FuzzTable: whatever a server answers, a table comes out whose every part obeys
// the rules, and which goes over the wire again as it is; or an error.
func FuzzTable(f *testing.F) {
	f.Add([]byte(`{"index":7,"clusters":{"c":{"mode":"key","key":"^(a)","failover_after":"1m","collectors":[` +
		`{"id":"i","node":"n","address":"::1","port":1,"state":"draining","alive":true,"external":true},{"id":"h","address":"x","port":2}]}}}`))
	f.Add([]byte(`{"clusters":{"c":null,"d":{"collectors":null}}}`))
	f.Add([]byte(`{"clusters":{"c":{"failover_after":"9223372036854775807ns"}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var wire Clusters
		if json.Unmarshal(raw, &wire) != nil {
			return
		}
		table, err := wire.Table()
		if err != nil {
			return
		}
		for _, name := range table.Names() {
			c := table.Clusters[name]
			if c.Name != name || fsm.CheckIdent(string(name)) != nil || c.FailoverAfter <= 0 || c.Mode == fsm.ModeKey && c.Key == nil {
				t.Errorf("cluster %q: %+v", name, c)
			}
			if !slices.IsSortedFunc(c.Collectors, func(a, b fsm.Collector) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
				t.Errorf("cluster %q is not sorted", name)
			}
			for _, m := range c.Collectors {
				if m.Cluster != name || fsm.CheckIdent(string(m.ID)) != nil || m.Port < 1 || m.Port > 65535 || m.Address == "" || m.State == "" {
					t.Errorf("collector %+v", m)
				}
			}
		}
		back, err := NewClusters(table, nil).Table()
		if diff := cmp.Diff(table, back, sameTable); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

func TestHosts(t *testing.T) {
	t.Parallel()
	hosts := map[string]bool{
		"127.0.0.1": true, "::1": true, "2001:db8::1": true, "localhost": true, "n1": true, "n1.example.": true, "a_b.c-d": true,
		"xn--bcher-kva.example": true, "1a": true, strings.Repeat("a.", 126) + "a": true,
		"": false, ".": false, "0.0.0.0": false, "::": false, "224.0.0.1": false, "ff02::1": false, "fe80::1%eth0": false,
		"1.2.3": false, "1.2.3.4.5": false, "256.1.1.1": false, "-a": false, "a-": false, "a..b": false, "a b": false, "a:1": false,
		"[::1]": false, "a/b": false, "ä": false, "a\n": false, strings.Repeat("x", 64): false, strings.Repeat("a.", 127) + "a": false,
	}
	for _, host := range slices.Sorted(maps.Keys(hosts)) {
		err := checkHost(host)
		if (err == nil) != hosts[host] || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, want valid %t", host, err, hosts[host])
		}
		if err == nil && !isHost(host) {
			t.Errorf("%q may be registered, and no table may have it", host)
		}
	}
}
