package fsm

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// copySink takes a snapshot in memory.
type copySink struct{ bytes.Buffer }

func (*copySink) ID() string    { return "memory" }
func (*copySink) Cancel() error { return nil }
func (*copySink) Close() error  { return nil }

func TestCopiedSnapshotDiffersInItsNetworkOnly(t *testing.T) {
	f := New()
	for i, b := range []Body{NetworkInit{NetworkID: "old"}, ClusterPut{Name: "c1"}} {
		c, err := Command{ReqID: string(rune('a' + i)), Time: time.UnixMilli(1e12).UTC(), Body: b}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f.Apply(&raft.Log{Index: uint64(i) + 1, Type: raft.LogCommand, Data: c})
	}
	snapshot, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var from copySink
	if err := snapshot.Persist(&from); err != nil {
		t.Fatal(err)
	}
	var to bytes.Buffer
	if err := CopySnapshot(&to, bytes.NewReader(from.Bytes()), Target{NetworkID: "new", Index: 9}); err != nil {
		t.Fatal(err)
	}
	v, _, err := ReadSnapshot(bytes.NewReader(to.Bytes()))
	if err != nil || v.NetworkID != "new" || v.Applied != 9 || v.Table.Index != 9 || len(v.Table.Clusters) != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestDamagedSnapshotIsNotCopied(t *testing.T) {
	var to bytes.Buffer
	err := CopySnapshot(&to, bytes.NewReader([]byte("no snapshot")), Target{NetworkID: "new", Index: 9})
	if !errors.Is(err, ErrBadSnapshot) || to.Len() > 0 {
		t.Errorf("%v, and %d bytes were written", err, to.Len())
	}
}

// TestCopiedSnapshotKeepsTheCollectorsThatAreThere pins that nothing is forgiven
// that is owed to a collector which the snapshot does not know, or knew elsewhere.
func TestCopiedSnapshotKeepsTheCollectorsThatAreThere(t *testing.T) {
	was := newReplica(t)
	was.must(own("stays", "n1", 1))
	was.must(own("moved", "n1", 2))
	was.must(own("gone", "n2", 3))
	var from copySink
	snapshot, err := was.Snapshot()
	if err == nil {
		err = snapshot.Persist(&from)
	}
	if err != nil {
		t.Fatal(err)
	}
	is := newReplica(t)
	is.must(own("moved", "n1", 7))
	is.must(own("new", "n3", 3)) // at the address of gone
	is.must(CollectorState{ID: "new", State: StateDraining})
	is.must(ext("theirs", 9))
	var kept []Collector
	for _, cl := range is.View().Table.Clusters {
		kept = append(kept, cl.Collectors...)
	}
	var to bytes.Buffer
	target := Target{NetworkID: "net", Index: 1000, Collectors: kept, Beats: is.Beats()}
	if err := CopySnapshot(&to, bytes.NewReader(from.Bytes()), target); err != nil {
		t.Fatal(err)
	}
	v, beats, err := ReadSnapshot(&to)
	if err != nil {
		t.Fatal(err)
	}
	for id, port := range map[CollectorID]int{"stays": 1, "moved": 7, "new": 3, "theirs": 9} {
		if c, ok := v.Table.Collector(id); !ok || c.Port != port || (c.State == StateDraining) != (id == "new") {
			t.Errorf("%s is %+v, want it at port %d", id, c, port)
		}
	}
	if c, ok := v.Table.Collector("gone"); ok {
		t.Errorf("%+v is at the address of another", c)
	}
	if want := is.Beats()["theirs"]; beats["theirs"] != want {
		t.Errorf("heartbeats %+v, want %+v", beats["theirs"], want)
	}
}
