package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// savedSnapshot is what a network of these commands saves. The tests of the
// commands read it from testdata/network.snap.
func savedSnapshot(t *testing.T) []byte {
	t.Helper()
	machine := fsm.New()
	for i, body := range []fsm.Body{
		fsm.NetworkInit{NetworkID: "net-1"},
		fsm.NodePut{Node: fsm.Node{ID: "id-1", Name: "n1", HTTP: "10.0.0.1:10088"}},
		fsm.ClusterPut{Name: "images", Mode: fsm.ModeKey, Key: "^(.)", FailoverAfterMS: 60_000},
		fsm.CollectorPut{ID: "i1", Cluster: "images", Node: "id-1", Address: "10.0.0.1"},
		fsm.CollectorPut{ID: "l1", Cluster: "logs", Address: "10.0.0.9", Port: 9000, External: true, EveryMS: 10_000},
		fsm.CollectorState{ID: "i1", State: fsm.StateDraining},
	} {
		at := time.UnixMilli(1_700_000_000_000 + int64(i)*1000).UTC()
		data, err := fsm.Command{ReqID: "r" + string(rune('0'+i)), Time: at, Actor: "n1", Body: body}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		out, ok := machine.Apply(&raft.Log{Index: uint64(i + 1), Term: 1, Type: raft.LogCommand, Data: data}).(*fsm.Outcome)
		if !ok || out.Err != nil {
			t.Fatalf("command %d: %+v", i, out)
		}
	}
	snap, err := machine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	var sink bufferSink
	if err := snap.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	return sink.Bytes()
}

// bufferSink is a raft.SnapshotSink in memory.
type bufferSink struct{ bytes.Buffer }

func (*bufferSink) Close() error  { return nil }
func (*bufferSink) Cancel() error { return nil }
func (*bufferSink) ID() string    { return "test" }

func TestInspectSnapshotTellsWhatItHolds(t *testing.T) {
	snap := savedSnapshot(t)
	golden := filepath.Join("testdata", "network.snap")
	if *updateGolden {
		if err := os.WriteFile(golden, snap, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(golden); err != nil || !bytes.Equal(kept, snap) {
		t.Errorf("%s is no longer what is saved (%v): run with -update", golden, err)
	}
	got, err := InspectSnapshot(bytes.NewReader(snap))
	if err != nil {
		t.Fatal(err)
	}
	beat := time.UnixMilli(1_700_000_004_000).UTC()
	want := SnapshotInfo{
		NetworkID: "net-1", Index: 6,
		Clusters: []SnapshotCluster{
			{Name: "images", Mode: "key", Key: "^(.)", FailoverAfter: "1m0s", Collectors: []SnapshotCollector{
				{ID: "i1", Node: "id-1", Address: "10.0.0.1:10100", State: "draining"},
			}},
			{Name: "logs", Mode: "all", FailoverAfter: "30s", Collectors: []SnapshotCollector{
				{ID: "l1", Address: "10.0.0.9:9000", State: "active", External: true, LastBeat: &beat},
			}},
		},
		Nodes: []SnapshotNode{{NodeID: "id-1", Name: "n1", HTTP: "10.0.0.1:10088"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestInspectSnapshotRefusesWhatIsNotWhole(t *testing.T) {
	snap := savedSnapshot(t)
	flipped := bytes.Clone(snap)
	flipped[len(flipped)/2] ^= 1
	for name, b := range map[string][]byte{
		"empty": nil, "cut": snap[:len(snap)-1], "no trailer": snap[:len(snap)-32], "one bit": flipped, "something else": []byte("hello"),
	} {
		if _, err := InspectSnapshot(bytes.NewReader(b)); !errors.Is(err, fsm.ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
