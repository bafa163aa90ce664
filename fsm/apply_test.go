package fsm

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheFirstNetworkIDHolds(t *testing.T) {
	r := newReplica(t)
	if res := r.must(NetworkInit{NetworkID: "one"}); !res.Changed {
		t.Error("the first changed nothing")
	}
	for _, id := range []string{"two", "one"} {
		if res := r.must(NetworkInit{NetworkID: id}); res.Changed {
			t.Errorf("%s changed something", id)
		}
	}
	if v := r.View(); v.NetworkID != "one" || v.Applied != 3 || v.Table.Index != 0 {
		t.Errorf("%+v", v)
	}
}

func TestClusterPut(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before []Body
		put    ClusterPut
		want   Cluster
		key    string
		same   bool
	}{
		{"a new one has defaults", nil, ClusterPut{Name: "c"}, Cluster{Mode: ModeAll, FailoverAfter: DefaultFailoverAfter}, "", false},
		{"a new one with all", nil, ClusterPut{Name: "c", Mode: ModeKey, Key: "^(a)", FailoverAfterMS: 5}, Cluster{Mode: ModeKey, FailoverAfter: 5 * time.Millisecond}, "^(a)", false},
		{"empty fields keep what there is", []Body{ClusterPut{Name: "c", Mode: ModeKey, Key: "k", FailoverAfterMS: 5}}, ClusterPut{Name: "c"},
			Cluster{Mode: ModeKey, FailoverAfter: 5 * time.Millisecond}, "k", true},
		{"the same again", []Body{ClusterPut{Name: "c", Mode: ModeKey, Key: "k"}}, ClusterPut{Name: "c", Mode: ModeKey, Key: "k"},
			Cluster{Mode: ModeKey, FailoverAfter: DefaultFailoverAfter}, "k", true},
		{"another key", []Body{ClusterPut{Name: "c", Mode: ModeKey, Key: "k"}}, ClusterPut{Name: "c", Key: "l"},
			Cluster{Mode: ModeKey, FailoverAfter: DefaultFailoverAfter}, "l", false},
		{"another mode drops the key", []Body{ClusterPut{Name: "c", Mode: ModeKey, Key: "k"}}, ClusterPut{Name: "c", Mode: ModeOne},
			Cluster{Mode: ModeOne, FailoverAfter: DefaultFailoverAfter}, "", false},
		{"only the time", []Body{ClusterPut{Name: "c", Mode: ModeOne}}, ClusterPut{Name: "c", FailoverAfterMS: 7 * 24 * 3600 * 1000},
			Cluster{Mode: ModeOne, FailoverAfter: 7 * 24 * time.Hour}, "", false},
		{"collectors stay", []Body{own("i", "n", 1)}, ClusterPut{Name: "c", Mode: ModeOne},
			Cluster{Mode: ModeOne, FailoverAfter: DefaultFailoverAfter, Collectors: []Collector{{ID: "i"}}}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReplica(t)
			r.must(tc.before...)
			res := r.must(tc.put)
			got := r.View().Table.Clusters["c"]
			if got.Name != "c" || got.Mode != tc.want.Mode || got.FailoverAfter != tc.want.FailoverAfter || keyText(got) != tc.key {
				t.Errorf("%+v with key %q", got, keyText(got))
			}
			if len(got.Collectors) != len(tc.want.Collectors) {
				t.Errorf("collectors %v", got.Collectors)
			}
			if res.Changed == tc.same {
				t.Errorf("changed %v", res.Changed)
			}
			if want := r.index; res.Changed && res.Index != want {
				t.Errorf("index %d, want %d", res.Index, want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 101)
	key := ClusterPut{Name: "k", Mode: ModeKey, Key: "k"}
	for _, tc := range []struct {
		name string
		want error
		body Body
	}{
		{"network id", ErrInvalid, NetworkInit{NetworkID: "a b"}},
		{"no network id", ErrInvalid, NetworkInit{}},
		{"cluster name", ErrInvalid, ClusterPut{Name: "../x"}},
		{"cluster name too long", ErrInvalid, ClusterPut{Name: ClusterName(long)}},
		{"mode", ErrInvalid, ClusterPut{Name: "c", Mode: "some"}},
		{"mode key without a key", ErrInvalid, ClusterPut{Name: "c", Mode: ModeKey}},
		{"a key without mode key", ErrInvalid, ClusterPut{Name: "c", Key: "k"}},
		{"a key with mode one", ErrInvalid, ClusterPut{Name: "c", Mode: ModeOne, Key: "k"}},
		{"a key and another mode", ErrInvalid, ClusterPut{Name: "k", Mode: ModeAll, Key: "k"}},
		{"key is no regexp", ErrInvalid, ClusterPut{Name: "c", Mode: ModeKey, Key: "("}},
		{"key too long", ErrInvalid, ClusterPut{Name: "c", Mode: ModeKey, Key: strings.Repeat("k", 1001)}},
		{"failover below 0", ErrInvalid, ClusterPut{Name: "c", FailoverAfterMS: -1}},
		{"failover beyond 7 days", ErrInvalid, ClusterPut{Name: "c", FailoverAfterMS: 7*24*3600*1000 + 1}},
		{"delete an unknown cluster", ErrNotFound, ClusterDelete{Name: "none"}},
		{"delete a cluster in use", ErrInUse, ClusterDelete{Name: "c"}},
		{"state", ErrInvalid, CollectorState{ID: "i", State: "asleep"}},
		{"no state", ErrInvalid, CollectorState{ID: "i"}},
		{"state of an unknown collector", ErrNotFound, CollectorState{ID: "none", State: StateActive}},
		{"state in another cluster", ErrNotFound, CollectorState{Cluster: "k", ID: "i", State: StateDraining}},
		{"delete an unknown collector", ErrNotFound, CollectorDelete{ID: "none"}},
		{"delete in another cluster", ErrNotFound, CollectorDelete{Cluster: "k", ID: "i"}},
		{"node id", ErrInvalid, NodePut{Node: Node{ID: "", Name: "n1"}}},
		{"node name", ErrInvalid, NodePut{Node: Node{ID: "n", Name: "a/b"}}},
		{"node address", ErrInvalid, NodePut{Node: Node{ID: "n", Name: "n1", HTTP: strings.Repeat("x", 301)}}},
		{"delete an unknown node", ErrNotFound, NodeDelete{ID: "none"}},
		{"delete no node", ErrNotFound, NodeDelete{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReplica(t)
			r.must(key, own("i", "n", 1), ext("e", 2))
			r.mustFail(tc.want, tc.body)
		})
	}
}

func TestClusterDelete(t *testing.T) {
	r := newReplica(t)
	r.must(ClusterPut{Name: "c"}, ClusterPut{Name: "d"})
	if res := r.must(ClusterDelete{Name: "c"}); !res.Changed || res.Index != 3 {
		t.Errorf("%+v", res)
	}
	if names := r.View().Table.Names(); !slices.Equal(names, []ClusterName{"d"}) {
		t.Errorf("left: %v", names)
	}
}

func TestCollectorState(t *testing.T) {
	r := newReplica(t)
	r.must(own("i", "n", 1))
	for _, tc := range []struct {
		body    CollectorState
		changed bool
	}{
		{CollectorState{ID: "i", State: StateActive}, false},
		{CollectorState{ID: "i", State: StateDraining}, true},
		{CollectorState{Cluster: "c", ID: "i", State: StateDraining}, false},
		{CollectorState{Cluster: "c", ID: "i", State: StateActive}, true},
	} {
		res := r.must(tc.body)
		if res.Changed != tc.changed || res.Collector != r.mustCollector("i") || res.Collector.State != tc.body.State {
			t.Errorf("%+v: %+v", tc.body, res)
		}
	}
}

func TestCollectorDeleteLeavesTheCluster(t *testing.T) {
	r := newReplica(t)
	r.must(own("i", "n", 1))
	if res := r.must(CollectorDelete{ID: "i"}); !res.Changed || res.Collector.ID != "i" {
		t.Errorf("%+v", res)
	}
	if c, ok := r.View().Table.Clusters["c"]; !ok || len(c.Collectors) != 0 {
		t.Errorf("%+v, %v", c, ok)
	}
	if res := r.must(own("j", "m", 1)); res.Collector.Port != 1 {
		t.Errorf("the address is not free again: %+v", res)
	}
}

func TestTheSilentAreDeleted(t *testing.T) {
	r := newReplica(t)
	r.must(ext("e", 1), own("i", "n", 2))
	last := r.Beats()["e"].Last.UnixMilli()
	for _, tc := range []struct {
		name    string
		body    CollectorDelete
		deleted bool
	}{
		{"heard of since", CollectorDelete{ID: "e", IfSilentSinceMS: last - 1}, false},
		{"not external", CollectorDelete{ID: "i", IfSilentSinceMS: last + 1e9}, false},
		{"silent since that very moment", CollectorDelete{ID: "e", IfSilentSinceMS: last}, true},
	} {
		res := r.must(tc.body)
		_, there := r.View().Table.Collector(tc.body.ID)
		if res.Changed != tc.deleted || there == tc.deleted {
			t.Errorf("%s: %+v, still there %v", tc.name, res, there)
		}
	}
	if beats := r.Beats(); len(beats) != 0 {
		t.Errorf("heartbeats of nobody: %v", beats)
	}
}

func TestHeartbeats(t *testing.T) {
	r := newReplica(t)
	put := ext("e", 1)
	put.EveryMS = 5000
	r.must(put, own("i", "n", 2), ext("f", 3))
	table := r.View().Table
	res, err := r.run(Command{ReqID: "late", Time: noon.Add(time.Hour), Body: Heartbeat{IDs: []CollectorID{"none", "e", "i", "e"}}})
	if err != nil || res.Changed {
		t.Errorf("%+v, %v", res, err)
	}
	want := map[CollectorID]Beat{
		"e": {Last: noon.Add(time.Hour), Every: 5 * time.Second},
		"f": {Last: noon.Add(3 * time.Second), Every: DefaultHeartbeat},
	}
	checkBeats := func() {
		t.Helper()
		if got := r.Beats(); len(got) != len(want) || got["e"] != want["e"] || got["f"] != want["f"] {
			t.Errorf("%v, want %v", got, want)
		}
	}
	checkBeats()
	if _, err := r.run(Command{ReqID: "early", Time: noon, Body: Heartbeat{IDs: []CollectorID{"e"}}}); err != nil {
		t.Error(err)
	}
	checkBeats() // time does not go back
	if got := r.View().Table; got.Index != table.Index {
		t.Errorf("the table went from %d to %d", table.Index, got.Index)
	}
	r.Beats()["e"] = Beat{}
	checkBeats() // what is handed out is a copy
}

func TestNodes(t *testing.T) {
	r := newReplica(t)
	b, a := Node{ID: "b", Name: "n2", HTTP: "h:2"}, Node{ID: "a", Name: "n1", HTTP: "h:1"}
	r.must(NodePut{b}, NodePut{a})
	if res := r.must(NodePut{a}); res.Changed {
		t.Error("the same again changed something")
	}
	before := r.View()
	a.HTTP = "h:3"
	if res := r.must(NodePut{a}); !res.Changed || res.Index != 0 {
		t.Errorf("%+v", res)
	}
	if got := r.View().Nodes; !slices.Equal(got, []Node{a, b}) {
		t.Errorf("%v", got)
	}
	if before.Nodes[0].HTTP != "h:1" {
		t.Error("a view changed")
	}
}

func TestNodeDeleteTakesItsCollectorsAlong(t *testing.T) {
	r := newReplica(t)
	client := ext("client", 4)
	client.Node = "n"
	other := own("j", "n", 2)
	other.Cluster = "d"
	r.must(NodePut{Node{ID: "n", Name: "n1"}}, own("i", "n", 1), other, own("k", "m", 3), client)
	view := r.View()
	if res := r.must(NodeDelete{ID: "n"}); !res.Changed || res.Index != r.index {
		t.Errorf("%+v", res)
	}
	after := r.View()
	if len(after.Nodes) != 0 || len(after.Table.Clusters["d"].Collectors) != 0 || len(after.Table.Clusters["c"].Collectors) != 1 || len(r.Beats()) != 0 {
		t.Errorf("left: %+v %v", after, r.Beats())
	}
	if len(view.Nodes) != 1 || len(view.Table.Clusters["c"].Collectors) != 3 {
		t.Errorf("a view changed: %+v", view)
	}
	if res := r.must(NodeDelete{ID: "m"}); !res.Changed { // not in the catalogue, but has a collector
		t.Errorf("%+v", res)
	}
	r.must(NodePut{Node{ID: "n", Name: "n1"}})
	if res := r.must(NodeDelete{ID: "n"}); !res.Changed || res.Index == r.index { // no collectors: the table is as it was
		t.Errorf("%+v", res)
	}
}

// What people send can be long and is quoted in errors, which are remembered.
func TestWordsOfFailuresAreBounded(t *testing.T) {
	long := strings.Repeat("\u2028\x01", 20000)
	for _, b := range []Body{
		NetworkInit{NetworkID: long}, ClusterPut{Name: ClusterName(long)}, ClusterPut{Name: "c", Mode: Mode(long)},
		ClusterDelete{Name: ClusterName(long)}, CollectorDelete{Cluster: ClusterName(long), ID: CollectorID(long)},
		CollectorState{ID: CollectorID(long), State: StateActive}, NodeDelete{ID: long},
		ClusterPut{Name: "c", Mode: ModeKey, Key: strings.Repeat("(", 1000)},
		CollectorPut{ID: CollectorID(long), Cluster: "c", Address: "h", Node: "n"},
		CollectorPut{ID: "i", Cluster: "c", Address: strings.Repeat("\u2028", 80), Node: "n"},
	} {
		r := newReplica(t)
		_, err := r.do(b)
		if err == nil || len(err.Error()) > maxFailure {
			t.Errorf("%T: %d bytes", b, len(err.Error()))
		}
		restored(t, r.snapshot(), r.index)
	}
}

// The words may not depend on the release of Go that built a replica.
func TestComplaintsAboutKeysAreOfTheExportedConstants(t *testing.T) {
	r := newReplica(t)
	_, err := r.do(ClusterPut{Name: "c", Mode: ModeKey, Key: "a(b"})
	if want := `invalid: key "a(b": missing closing )`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
