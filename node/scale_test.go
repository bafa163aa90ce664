package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// voterStub serves what a voter serves to those who follow its table.
type voterStub struct {
	*Node  // of which there are the tables only
	server *httptest.Server
}

func (v voterStub) Status() httpapi.Status {
	return httpapi.Status{NetworkID: "network", Index: v.tables.index(), Ready: true}
}

func newVoterStub(t *testing.T) voterStub {
	v := voterStub{Node: &Node{tables: newAssignments(fsm.Table{})}}
	v.server = httptest.NewServer(httpapi.NewAdmin(httpapi.AdminConfig{Reporter: v, DeadLetters: v}))
	t.Cleanup(v.server.Close)
	return v
}

// largeTable has a collector on every one of 200 nodes. It is another one at each index.
func largeTable(index uint64) fsm.Table {
	t := fsm.Table{Index: index, Clusters: map[fsm.ClusterName]fsm.Cluster{}}
	for i := range 200 {
		name := fsm.ClusterName(fmt.Sprintf("cluster-%d", i%20))
		c := t.Clusters[name]
		c.Name, c.Mode, c.FailoverAfter = name, fsm.ModeAll, time.Duration(index)*time.Second
		c.Collectors = append(c.Collectors, fsm.Collector{
			ID: fsm.CollectorID(fmt.Sprintf("collector-%d", i)), Cluster: name, Node: fmt.Sprintf("node-%d", i),
			Address: fmt.Sprintf("127.1.0.%d", i), Port: 10100, State: fsm.StateActive,
		})
		fsm.SortCollectors(c.Collectors)
		t.Clusters[name] = c
	}
	return t
}

// mustSee waits until all followers have the table of that index, and returns how long
// that took from since.
func mustSee(t *testing.T, followers []*assignments, index uint64, since time.Time) time.Duration {
	t.Helper()
	for i, f := range followers {
		for {
			table, changed := f.get()
			if table.Index >= index {
				break
			}
			select {
			case <-changed:
			case <-time.After(10 * time.Second):
				t.Fatalf("follower %d has the table at %d, not at %d", i, table.Index, index)
			}
		}
	}
	return time.Since(since)
}

// 195 nodes follow the table of five voters by long poll. Each sees a change within two
// seconds; beside other tests the median counts, since all of them share one machine's cores. When the
// voter that a node asks dies at that very moment, the node asks another at once. How a change
// reaches the voters, and that none of this concerns raft, is proved in package consensus.
func TestFollowersSeeAChangeWithinTwoSeconds(t *testing.T) {
	n, full := 195, os.Getenv("BUCKET_RELAY_FULL") == "1"
	if full {
		n = 995
	}
	var voters []voterStub
	var addrs []string
	for range 5 {
		v := newVoterStub(t)
		voters, addrs = append(voters, v), append(addrs, v.server.URL)
	}
	index := uint64(0)
	change := func() time.Time {
		index++
		table := largeTable(index)
		for _, v := range voters {
			v.tables.offer(table)
		}
		return time.Now()
	}
	change()

	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	t.Cleanup(loops.Wait)
	t.Cleanup(cancel)
	followers := make([]*assignments, n)
	for i := range followers {
		followers[i] = newAssignments(fsm.Table{})
		f := follower{
			tables: followers[i], log: slog.New(slog.DiscardHandler), wait: followWait, clients: newClientPool(),
			servers: func() []string { return slices.Clone(addrs) },
			report:  func(string) {}, belongs: func(string) error { return nil }, spread: fmt.Sprintf("node-%d", i),
		}
		loops.Go(func() {
			defer f.clients.close()
			f.follow(ctx, func() bool { return true })
		})
	}
	t.Logf("%d nodes have the first table after %s", n, mustSee(t, followers, index, time.Now()))
	var took []time.Duration
	for range 10 {
		took = append(took, mustSee(t, followers, index, change()))
	}
	slices.Sort(took)
	t.Logf("all have a change after %s, at the slowest %s", took[5], took[9])
	if full && took[9] > 2*time.Second {
		t.Errorf("with the machine to themselves one change took %s to reach everybody, more than 2s", took[9])
	}
	if took[5] > 2*time.Second {
		t.Errorf("a change takes %s to reach everybody, more than 2s", took[5])
	}
	for _, v := range voters[:2] {
		v.server.CloseClientConnections()
		if err := v.server.Listener.Close(); err != nil {
			t.Error(err)
		}
		took := mustSee(t, followers, index, change())
		t.Logf("all have a change %s after one of those who tell it has died", took)
		if took > 5*time.Second {
			t.Errorf("a change took %s to reach everybody", took)
		}
	}
}
