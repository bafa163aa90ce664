package fsm

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

// full returns a replica that has something of everything.
func full(tb testing.TB) *replica {
	r := newReplica(tb)
	r.must(
		NetworkInit{NetworkID: "4f5a2f4e-33b6-4cf1-b8d0-7a9a9f1c0001"},
		ClusterPut{Name: "keyed", Mode: ModeKey, Key: `^(<[^_]+>)_`, FailoverAfterMS: 1500},
		ClusterPut{Name: "empty", Mode: ModeOne},
		own("i", "n", 0), own("j", "m", 0), ext("e", 7), CollectorState{ID: "j", State: StateDraining},
		with(ext("client", 8), func(b *CollectorPut) { b.Cluster, b.Node, b.EveryMS = "keyed", "k", 1000 }),
		NodePut{Node{ID: "n", Name: "n1", HTTP: "n1.example:10088"}}, NodePut{Node{ID: "m", Name: "n2"}},
		Heartbeat{IDs: []CollectorID{"e"}},
	)
	r.mustFail(ErrInUse, ClusterDelete{Name: "c"})
	r.mustFail(ErrNotFound, ClusterDelete{Name: "none"})
	r.mustFail(ErrTaken, own("i", "m", 1))
	r.mustFail(ErrInvalid, NodePut{})
	r.mustFail(ErrNoPort, with(own("z", "n", 0), func(b *CollectorPut) { b.PortStart, b.SkipPorts = 65535, []int{65535} }))
	return r
}

// checkReplica checks that a replica is what its own snapshot makes of it.
func checkReplica(tb testing.TB, r *replica) {
	tb.Helper()
	snapshot := r.snapshot()
	again := restored(tb, snapshot, r.index)
	if !bytes.Equal(again.snapshot(), snapshot) {
		tb.Fatalf("the snapshot of a restored one differs:\n%q\nwant\n%q", again.snapshot(), snapshot)
	}
	if !reflect.DeepEqual(again.s.index, r.s.index) {
		tb.Fatalf("the index is %+v, want %+v", r.s.index, again.s.index)
	}
	i, a := r.Hash()
	j, b := again.Hash()
	if i != j || a != b {
		tb.Fatalf("hash %x at %d, restored %x at %d", a, i, b, j)
	}
	if got, want := viewText(again.View()), viewText(r.View()); got != want || !maps.Equal(again.Beats(), r.Beats()) {
		tb.Fatalf("restored as\n%s\nwant\n%s", got, want)
	}
}

// The file stands for snapshots that exist. A difference calls for a new format
// with a file of its own, not for -update.
func TestASnapshotHasTheBytesOfItsFormat(t *testing.T) {
	r := full(t)
	file := golden(t, "snapshot-v1.bin", r.snapshot())
	again := restored(t, file, r.index)
	_, want := r.Hash()
	if _, got := again.Hash(); got != want {
		t.Errorf("the file has hash %x, want %x", got, want)
	}
	checkReplica(t, again)
}

func TestReadSnapshot(t *testing.T) {
	r := full(t)
	v, beats, err := ReadSnapshot(bytes.NewReader(r.snapshot()))
	if err != nil || viewText(v) != viewText(r.View()) || !maps.Equal(beats, r.Beats()) || len(beats) != 2 {
		t.Errorf("%+v %v, %v", v, beats, err)
	}
	if want := (Beat{Last: noon.Add(11 * time.Second), Every: DefaultHeartbeat}); beats["e"] != want {
		t.Errorf("%+v", beats["e"])
	}
	if _, _, err := ReadSnapshot(strings.NewReader("")); !errors.Is(err, ErrBadSnapshot) {
		t.Error(err)
	}
}

func TestASnapshotIsOfTheMomentWhenItWasTaken(t *testing.T) {
	r := full(t)
	want := r.snapshot()
	snap, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	r.must(own("i", "n", 9), CollectorDelete{ID: "e"}, NodeDelete{ID: "m"}, ClusterDelete{Name: "empty"}, Heartbeat{IDs: []CollectorID{"client"}})
	var sink memorySink
	if err := snap.Persist(&sink); err != nil || !bytes.Equal(sink.Bytes(), want) {
		t.Errorf("it has changed: %v", err)
	}
}

func TestASnapshotThatCannotBeWrittenIsCancelled(t *testing.T) {
	r := full(t)
	size := len(r.snapshot())
	for _, room := range []int{1, size / 2, size - 1} {
		snap, err := r.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		sink := memorySink{room: room}
		if err := snap.Persist(&sink); !errors.Is(err, errNoRoom) || !sink.cancelled || sink.closed {
			t.Errorf("room for %d: %v, cancelled %v, closed %v", room, err, sink.cancelled, sink.closed)
		}
	}
}

func TestARecordThatCouldNotBeReadIsNotWritten(t *testing.T) {
	f := New().s.freeze()
	f.Nodes = []Node{{ID: "n", Name: "n", HTTP: strings.Repeat("x", maxRecord)}}
	if _, err := f.write(io.Discard); err == nil {
		t.Error("it was")
	}
}
