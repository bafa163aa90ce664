package fsm

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var updateGolden = flag.Bool("update", false, "write golden files anew")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// replica is an FSM with a log that grows by one entry a command.
type replica struct {
	*FSM
	tb    testing.TB
	index uint64
}

func newReplica(tb testing.TB) *replica { return &replica{FSM: New(), tb: tb} }

// entry makes a log entry, without applying it.
func (r *replica) entry(c Command) *raft.Log {
	r.tb.Helper()
	data, err := c.Encode()
	if err != nil {
		r.tb.Fatal(err)
	}
	r.index++
	return &raft.Log{Index: r.index, Data: data}
}

// run applies one command.
func (r *replica) run(c Command) (Result, error) {
	r.tb.Helper()
	entry := r.entry(c)
	out := r.Apply(entry).(*Outcome)
	return out.Result, out.Err
}

// do applies a body under a request id of its own, at noon and a second for each index.
func (r *replica) do(b Body) (Result, error) {
	r.tb.Helper()
	return r.run(Command{ReqID: fmt.Sprintf("req-%d", r.index+1), Time: noon.Add(time.Duration(r.index+1) * time.Second), Actor: "n1", Body: b})
}

func (r *replica) must(bodies ...Body) Result {
	r.tb.Helper()
	var res Result
	for _, b := range bodies {
		var err error
		if res, err = r.do(b); err != nil {
			r.tb.Fatalf("%#v: %v", b, err)
		}
	}
	return res
}

// mustFail applies a body that is to end with an error and to change nothing.
func (r *replica) mustFail(want error, b Body) {
	r.tb.Helper()
	before := r.rest()
	res, err := r.do(b)
	if !errors.Is(err, want) || res.Changed {
		r.tb.Errorf("%#v: %+v, %v, want %v", b, res, err, want)
	}
	if after := r.rest(); !bytes.Equal(before, after) {
		r.tb.Errorf("%#v: ended with %v and changed\n%s\nto\n%s", b, err, before, after)
	}
}

// rest renders the state without what every command changes.
func (r *replica) rest() []byte {
	z := r.s.freeze()
	z.Applied, z.requests = 1<<60, nil
	return mustWrite(r.tb, z)
}

func mustWrite(tb testing.TB, z frozen) []byte {
	tb.Helper()
	var b bytes.Buffer
	if _, err := z.write(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// snapshot takes a snapshot the way raft does.
func (r *replica) snapshot() []byte {
	r.tb.Helper()
	snap, err := r.Snapshot()
	if err != nil {
		r.tb.Fatal(err)
	}
	defer snap.Release()
	var sink memorySink
	if err := snap.Persist(&sink); err != nil || !sink.closed || sink.cancelled {
		r.tb.Fatalf("persist: %v, closed %v, cancelled %v", err, sink.closed, sink.cancelled)
	}
	return sink.Bytes()
}

// restored returns a new replica that starts from a snapshot.
func restored(tb testing.TB, snapshot []byte, index uint64) *replica {
	tb.Helper()
	r := newReplica(tb)
	if err := r.Restore(io.NopCloser(bytes.NewReader(snapshot))); err != nil {
		tb.Fatal(err)
	}
	r.index = index
	return r
}

// collector is the state of one collector, which has to be there.
func (r *replica) mustCollector(id CollectorID) Collector {
	r.tb.Helper()
	c, ok := r.View().Table.Collector(id)
	if !ok {
		r.tb.Fatalf("no collector %s", id)
	}
	return c
}

// memorySink is a raft.SnapshotSink in memory. It fails after room bytes, unless that is 0.
type memorySink struct {
	bytes.Buffer
	room              int
	closed, cancelled bool
}

var errNoRoom = errors.New("no room")

func (s *memorySink) Write(b []byte) (int, error) {
	if s.room > 0 && s.Len()+len(b) > s.room {
		return 0, errNoRoom
	}
	return s.Buffer.Write(b)
}

func (s *memorySink) ID() string    { return "memory" }
func (s *memorySink) Close() error  { s.closed = true; return nil }
func (s *memorySink) Cancel() error { s.cancelled = true; return nil }

// golden compares bytes with a file of testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%q\nwant\n%q", name, got, want)
	}
	return want
}

// own is a registration by a node, ext one by somebody outside.
func own(id CollectorID, node string, port int) CollectorPut {
	return CollectorPut{ID: id, Cluster: "c", Node: node, Address: "10.0.0.1", Port: port}
}

func ext(id CollectorID, port int) CollectorPut {
	return CollectorPut{ID: id, Cluster: "c", Address: "10.0.0.9", Port: port, External: true}
}
