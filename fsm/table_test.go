package fsm

import (
	"strings"
	"testing"
)

func TestCheckIdent(t *testing.T) {
	for _, good := range []string{"a", "json_consumer_1", "n1.example:2-b", "0", strings.Repeat("x", 100)} {
		if err := CheckIdent(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "-a", "_a", "a/b", "a b", "a\n", "ä", "a,b", "@a", strings.Repeat("x", 101)} {
		if err := CheckIdent(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestTableFindsCollectors(t *testing.T) {
	cs := []Collector{{ID: "b", Address: "::1", Port: 2}, {ID: "a", Address: "h", Port: 1}}
	SortCollectors(cs)
	if cs[0].ID != "a" {
		t.Errorf("not sorted: %v", cs)
	}
	table := Table{Clusters: map[ClusterName]Cluster{"z": {Name: "z"}, "c": {Name: "c", Collectors: cs}}}
	if names := table.Names(); len(names) != 2 || names[0] != "c" {
		t.Errorf("names %v", names)
	}
	got, ok := table.Collector("b")
	if !ok || got.HostPort() != "[::1]:2" {
		t.Errorf("collector b: %v %v", got, ok)
	}
	if _, ok := table.Collector("none"); ok {
		t.Error("found a collector that is not there")
	}
}
