package fsm

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// spread says how the collectors of a benchmark lie over clusters and hosts.
type spread struct{ clusters, hosts int }

// spreads are a usual network and the corners: all in one cluster, each in one
// of its own, all at one address.
var spreads = []spread{{100, 250}, {1, 250}, {10000, 250}, {100, 1}}

func (s spread) String() string { return fmt.Sprintf("clusters=%d/hosts=%d", s.clusters, s.hosts) }

// put is the registration of the i-th collector.
func (s spread) put(i int) CollectorPut {
	host := i % s.hosts
	return CollectorPut{
		ID: CollectorID(fmt.Sprintf("collector-%05d", i)), Cluster: ClusterName(fmt.Sprintf("cluster-%05d", i%s.clusters)),
		Node: fmt.Sprintf("node-%03d", host), Address: fmt.Sprintf("10.0.%d.%d", host/200, host%200+1),
	}
}

// mustFill returns a state with 10,000 collectors, 1,000 nodes and a full table of requests.
func mustFill(tb testing.TB, s spread) (*FSM, uint64) {
	tb.Helper()
	f, index := New(), uint64(0)
	apply := func(b Body) {
		index++
		data, err := Command{ReqID: fmt.Sprintf("fill-%d", index), Time: time.UnixMilli(int64(index)), Body: b}.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		if out := f.Apply(&raft.Log{Index: index, Data: data}).(*Outcome); out.Err != nil {
			tb.Fatal(out.Err)
		}
	}
	apply(NetworkInit{NetworkID: "net"})
	for i := range 1000 {
		apply(NodePut{Node: Node{ID: fmt.Sprintf("node-%03d", i), Name: fmt.Sprintf("n%d", i), HTTP: "10.0.0.1:10088"}})
	}
	for i := range 10000 {
		apply(s.put(i))
	}
	return f, index
}

// bodies are commands that meet what mustFill has filled in, the i-th of its log.
func (s spread) bodies() map[string]func(i int) Body {
	return map[string]func(i int) Body{
		"again": func(i int) Body { return s.put(i % 10000) },
		"drain": func(i int) Body {
			return CollectorState{ID: s.put(i % 10000).ID, State: []State{StateActive, StateDraining}[i/10000%2]}
		},
		"noid": func(i int) Body { p := s.put(i % 10000); p.NewID, p.ID = p.ID, ""; return p },
		"port": func(i int) Body {
			p := s.put(i % 10000)
			for port := range 100 {
				p.SkipPorts = append(p.SkipPorts, DefaultPortStart+(i/10000)%2+2*port)
			}
			return p
		},
	}
}

// entries makes n log entries after an index, which may grow from run to run.
func entries(tb testing.TB, index *uint64, n int, body func(i int) Body) []*raft.Log {
	tb.Helper()
	logs := make([]*raft.Log, 0, n)
	for range n {
		*index++
		data, err := Command{ReqID: fmt.Sprintf("run-%d", *index), Body: body(int(*index))}.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		logs = append(logs, &raft.Log{Index: *index, Data: data})
	}
	return logs
}

func BenchmarkApply(b *testing.B) {
	for _, s := range spreads {
		f, index := mustFill(b, s)
		for name, body := range s.bodies() {
			b.Run(name+"/"+s.String(), func(b *testing.B) {
				logs := entries(b, &index, b.N, body)
				b.ResetTimer()
				for _, l := range logs {
					if out := f.Apply(l).(*Outcome); out.Err != nil {
						b.Fatal(out.Err)
					}
				}
			})
		}
	}
}

// A time would depend on the machine. What a command allocates does not, and
// tells whether it copies or parses all there is: 10,000 collectors are 1 MB.
func TestACommandDoesNotPayForTheSizeOfTheTable(t *testing.T) {
	const most = 32 << 10 // bytes a command
	for _, s := range spreads {
		f, index := mustFill(t, s)
		f.View()
		for name, body := range s.bodies() {
			logs := entries(t, &index, 100, body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for _, l := range logs {
				if out := f.Apply(l).(*Outcome); out.Err != nil {
					t.Fatal(out.Err)
				}
			}
			runtime.ReadMemStats(&after)
			if each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(logs)); each > most {
				t.Errorf("%s at %s: %d bytes a command, want at most %d", name, s, each, most)
			}
		}
	}
}

// BenchmarkView looks after every command, which is the worst case for a view.
// What it costs is the difference to the same command of BenchmarkApply.
func BenchmarkView(b *testing.B) {
	for _, s := range spreads {
		f, index := mustFill(b, s)
		b.Run("drain/"+s.String(), func(b *testing.B) {
			logs := entries(b, &index, b.N, s.bodies()["drain"])
			b.ResetTimer()
			for _, l := range logs {
				f.Apply(l)
				f.View()
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	f, _ := mustFill(b, spreads[0])
	var file bytes.Buffer
	if _, err := f.s.freeze().write(&file); err != nil {
		b.Fatal(err)
	}
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.Snapshot(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(file.Len()))
		for b.Loop() {
			if _, err := f.s.freeze().write(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(file.Len()))
		for b.Loop() {
			if err := New().Restore(io.NopCloser(bytes.NewReader(file.Bytes()))); err != nil {
				b.Fatal(err)
			}
		}
	})
}
