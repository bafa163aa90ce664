package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

func TestAnUnknownCommandStopsTheReplicaForGood(t *testing.T) {
	for name, data := range map[string][]byte{
		"a kind of the future": sign(200, 1, `{"req_id":"r","time_ms":1,"body":{}}`),
		"damaged":              []byte("garbage"),
		"empty":                nil,
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t)
			r.must(own("i", "n", 1))
			snapshot, before, changed := r.snapshot(), r.View(), r.Changed()
			out := r.Apply(&raft.Log{Index: 2, Data: data}).(*Outcome)
			if !errors.Is(out.Err, ErrUnknownCommand) || !errors.Is(r.Failed(), ErrUnknownCommand) || !strings.Contains(out.Err.Error(), "log entry 2") {
				t.Fatalf("%v, failed %v", out.Err, r.Failed())
			}
			refuses := func() {
				t.Helper()
				if _, err := r.do(own("j", "n", 2)); !errors.Is(err, ErrUnknownCommand) {
					t.Errorf("a command after it: %v", err)
				}
				if _, err := r.Snapshot(); !errors.Is(err, ErrUnknownCommand) {
					t.Errorf("a snapshot after it: %v", err)
				}
			}
			refuses()
			if after := r.View(); !reflect.DeepEqual(before, after) || isClosed(changed) {
				t.Errorf("the state changed to %+v", after)
			}
			if err := r.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
				t.Fatal(err)
			}
			refuses()
		})
	}
}

func TestAHealthyReplicaHasNotFailed(t *testing.T) {
	r := newReplica(t)
	r.mustFail(ErrNotFound, NodeDelete{ID: "none"})
	if err := r.Failed(); err != nil {
		t.Error(err)
	}
}

func TestEntriesThatAreNoCommandsArePassedOver(t *testing.T) {
	r := newReplica(t)
	r.must(own("i", "n", 1))
	index, sum := r.Hash()
	for _, kind := range []raft.LogType{raft.LogNoop, raft.LogBarrier, raft.LogConfiguration} {
		if out := r.Apply(&raft.Log{Index: 2, Type: kind, Data: []byte("x")}).(*Outcome); *out != (Outcome{}) {
			t.Errorf("%v: %+v", kind, out)
		}
	}
	if i, s := r.Hash(); i != index || s != sum || r.Failed() != nil {
		t.Errorf("the state changed: %d %v", i, r.Failed())
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestChanged(t *testing.T) {
	for _, tc := range []struct {
		name   string
		body   Body
		closed bool
	}{
		{"table", own("j", "n", 2), true},
		{"node", NodePut{Node{ID: "m", Name: "m"}}, true},
		{"network", NetworkInit{NetworkID: "net"}, true},
		{"nothing new", own("i", "n", 1), false},
		{"heartbeat", Heartbeat{IDs: []CollectorID{"e"}}, false},
		{"a registration that is a heartbeat", ext("e", 3), false},
		{"error", CollectorDelete{ID: "none"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReplica(t)
			r.must(own("i", "n", 1), ext("e", 3))
			changed := r.Changed()
			_, _ = r.do(tc.body) // the error case is meant
			if isClosed(changed) != tc.closed {
				t.Errorf("closed %v", isClosed(changed))
			}
			if tc.closed && isClosed(r.Changed()) {
				t.Error("the next channel is closed as well")
			}
		})
	}
	t.Run("restore", func(t *testing.T) {
		r := newReplica(t)
		snapshot, changed := r.snapshot(), r.Changed()
		if err := r.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil || !isClosed(changed) {
			t.Errorf("%v, closed %v", err, isClosed(changed))
		}
	})
}

// A view that was taken before is the same after any command, to the last byte,
// and so is one taken of the same index later.
func TestViewsNeverChange(t *testing.T) {
	type kept struct {
		view View
		text string
	}
	r := newReplica(t)
	var views []kept
	keep := func() {
		v := r.View()
		views = append(views, kept{v, viewText(v)})
	}
	keep()
	for _, b := range []Body{
		NetworkInit{NetworkID: "net"}, own("b", "n", 1), own("d", "n", 2), own("a", "m", 3), own("c", "m", 4),
		own("b", "n", 5), CollectorState{ID: "c", State: StateDraining}, ext("e", 6), CollectorDelete{ID: "a"},
		with(own("b", "n", 5), func(b *CollectorPut) { b.Cluster = "x" }), ClusterPut{Name: "c", Mode: ModeKey, Key: "k"},
		NodePut{Node{ID: "n", Name: "n1"}}, NodePut{Node{ID: "m", Name: "m1"}}, NodePut{Node{ID: "m", Name: "m2"}},
		NodeDelete{ID: "m"}, CollectorDelete{ID: "b"}, ClusterDelete{Name: "x"}, own("z", "n", 7), NodeDelete{ID: "n"},
	} {
		r.must(b)
		keep()
	}
	for i, k := range views {
		if got := viewText(k.view); got != k.text {
			t.Errorf("view %d changed from\n%s\nto\n%s", i, k.text, got)
		}
	}
}

func viewText(v View) string {
	text := fmt.Sprint(v.Applied, v.NetworkID, v.Table.Index, v.Nodes)
	for _, name := range v.Table.Names() {
		text += fmt.Sprintf("\n%+v", v.Table.Clusters[name])
	}
	return text
}

func TestAViewAfterNothingCopiesNothing(t *testing.T) {
	r := newReplica(t)
	r.must(own("i", "n", 1))
	r.View()
	if n := testing.AllocsPerRun(100, func() { r.View() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// One command removes the two collectors of a node, or moves one that must
// always be there from cluster to cluster. A reader must see whole steps.
func TestReadersSeeNoHalfChange(t *testing.T) {
	r := newReplica(t)
	mover := func(i int) Body {
		return with(own("mover", "m", 1), func(b *CollectorPut) { b.Cluster = ClusterName(fmt.Sprint("m", i%3)) })
	}
	r.must(mover(0))
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !isClosed(done) {
				checkWhole(t, r.View())
				r.Hash()
				r.Beats()
				_ = r.Failed()
			}
		})
	}
	for i := range 300 {
		r.must(mover(i), own("a", "n", 2), with(own("b", "n", 3), func(b *CollectorPut) { b.Cluster = "d" }))
		r.must(NodeDelete{ID: "n"})
	}
	close(done)
	wg.Wait()
}

func checkWhole(t *testing.T, v View) {
	movers := 0
	for name, c := range v.Table.Clusters {
		for _, m := range c.Collectors {
			if m.Cluster != name {
				t.Errorf("%s lies in %s", m.ID, name)
			}
			if m.ID == "mover" {
				movers++
			}
		}
	}
	_, a := v.Table.Collector("a")
	_, b := v.Table.Collector("b")
	if movers != 1 || b && !a || v.Table.Index > v.Applied {
		t.Errorf("%d movers, a %v, b %v, table %d of %d", movers, a, b, v.Table.Index, v.Applied)
	}
}

func TestAnOutcomeBelongsToTheCaller(t *testing.T) {
	r := newReplica(t)
	entry := r.entry(Command{ReqID: "one", Time: noon, Body: own("i", "n", 1)})
	first := r.Apply(entry).(*Outcome)
	want := *first
	*first = Outcome{Err: errors.New("spoiled")}
	entry.Index = 2
	second := r.Apply(entry).(*Outcome)
	if *second != want {
		t.Errorf("%+v, want %+v", second, want)
	}
	*second = Outcome{}
	if got := restored(t, r.snapshot(), 2).Apply(entry).(*Outcome); *got != want {
		t.Errorf("after a restore: %+v", got)
	}
}

func TestHashCoversEverything(t *testing.T) {
	seen := map[[32]byte]string{}
	note := func(what string, r *replica) {
		index, sum := r.Hash()
		if index != r.index {
			t.Errorf("%s: hash of %d at %d", what, index, r.index)
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s have the same hash", what, other)
		}
		seen[sum] = what
	}
	r := newReplica(t)
	note("nothing", r)
	for _, b := range []Body{
		NetworkInit{NetworkID: "net"}, ClusterPut{Name: "c"}, ext("e", 1), Heartbeat{IDs: []CollectorID{"e"}}, NodePut{Node{ID: "n", Name: "n1"}},
		CollectorState{ID: "e", State: StateDraining},
	} {
		r.must(b)
		note(fmt.Sprintf("%#v", b), r)
	}
	var file bytes.Buffer
	sum, err := r.s.freeze().write(&file)
	if _, h := r.Hash(); err != nil || h != sum || !bytes.HasSuffix(file.Bytes(), sum[:]) {
		t.Error("it is not the digest at the end of a snapshot")
	}
}
