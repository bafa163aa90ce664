package httpapi

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// manyCollectors is a table as a large network has it: ids and addresses differ,
// nodes have UUIDs.
func manyCollectors(n int) fsm.Table {
	t := fsm.Table{Index: 1, Clusters: map[fsm.ClusterName]fsm.Cluster{}}
	for i := range n {
		name := fsm.ClusterName(fmt.Sprintf("cluster-%03d", i/10))
		c := t.Clusters[name]
		c.Name, c.Mode, c.FailoverAfter = name, fsm.ModeAll, fsm.DefaultFailoverAfter
		c.Collectors = append(c.Collectors, fsm.Collector{
			ID: fsm.CollectorID(fmt.Sprintf("consumer_%05d", i)), Cluster: name,
			Node:    fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", uint32(i*2654435761), i%65536, i%4096, i*7%4096, i*i*40503),
			Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), Port: 10100 + i%20, State: fsm.StateActive,
		})
		t.Clusters[name] = c
	}
	return t
}

// BenchmarkTableAnswer tells what one answer of GET /v1/clusters costs.
func BenchmarkTableAnswer(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		table := manyCollectors(n)
		for _, coding := range []string{"", "gzip"} {
			b.Run(fmt.Sprintf("%d%s", n, coding), func(b *testing.B) {
				r := httptest.NewRequest(http.MethodGet, "/v1/clusters", nil)
				r.Header.Set("Accept-Encoding", coding)
				size := 0
				for b.Loop() {
					w := httptest.NewRecorder()
					if err := writeTable(w, r, NewClusters(table, nil)); err != nil {
						b.Fatal(err)
					}
					size = w.Body.Len()
				}
				b.ReportMetric(float64(size), "bytes")
			})
		}
		b.Run(fmt.Sprintf("%dshared", n), func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/v1/clusters", nil)
			r.Header.Set("Accept-Encoding", "gzip")
			var shared sharedTable
			for b.Loop() {
				answer, err := shared.of(NewClusters(table, nil))
				if err != nil {
					b.Fatal(err)
				}
				answer.write(httptest.NewRecorder(), r)
			}
		})
	}
}
