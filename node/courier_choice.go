package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// CourierSource knows the clusters of the network: a running node, behind an
// [httpapi.Client]. It must be safe for concurrent use.
type CourierSource interface {
	// Clusters returns the table as it is now, when index and wait are 0.
	Clusters(ctx context.Context, index uint64, wait time.Duration) (httpapi.Clusters, error)
	// Addr says who answers, for errors.
	Addr() string
}

// tableFresh is for how long a courier takes the table that it got for true.
const tableFresh = time.Second

// errNoCluster is wrapped when the source does not know the courier's cluster.
var errNoCluster = errors.New("no such cluster")

// courierTable is one cluster as the source has it.
type courierTable struct {
	source CourierSource
	name   string

	// mu is held while the source is asked: of those who need the answer one
	// asks, and the others wait for it.
	mu   sync.Mutex
	last httpapi.Cluster
	at   time.Time // when last was got; zero before the first answer
}

// look returns the cluster, which is at most tableFresh old. When the source
// does not answer any more, deliveries go on with what it said last; only the
// first call fails for that. errNoCluster means that the cluster is not there.
func (t *courierTable) look(ctx context.Context) (httpapi.Cluster, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.at) < tableFresh {
		return t.last, nil
	}
	table, err := t.source.Clusters(ctx, 0, 0)
	if err != nil {
		if t.at.IsZero() {
			return t.last, err
		}
		return t.last, nil
	}
	cluster, ok := table.Clusters[t.name]
	if !ok {
		return t.last, fmt.Errorf("%w: %s; the node at %s knows %s", errNoCluster, t.name, t.source.Addr(), knownClusters(table))
	}
	t.last, t.at = cluster, time.Now()
	return cluster, nil
}

// knownClusters says in words which clusters a table has.
func knownClusters(table httpapi.Clusters) string {
	if len(table.Clusters) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(table.Clusters)), ", ")
}

// owed lists what a file is owed to: for each copy the collectors that may get
// it, the preferred one first; there is at least one. In mode all each collector
// is a list of its own.
func (c *Courier) owed(cluster httpapi.Cluster, name string) ([][]httpapi.ClusterCollector, error) {
	draining := func(m httpapi.ClusterCollector) bool { return m.State == fsm.StateDraining }
	active := slices.DeleteFunc(slices.Clone(cluster.Collectors), draining)
	if len(active) == 0 {
		return nil, fmt.Errorf("cluster %s has no collector that takes new files", c.cfg.Cluster)
	}
	switch modeOf(cluster.Mode) {
	case fsm.ModeAll:
		return slices.Collect(slices.Chunk(active, 1)), nil
	case fsm.ModeOne:
		c.leastBusyFirst(active)
	case fsm.ModeKey:
		if err := preferredFirst(active, cluster.Key, name); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("cluster %s has the mode %q, which this program does not know", c.cfg.Cluster, cluster.Mode)
	}
	return [][]httpapi.ClusterCollector{active}, nil
}

// leastBusyFirst sorts by what this courier knows: who works before who fails,
// then the fewest files in flight, then the order of the table.
func (c *Courier) leastBusyFirst(ms []httpapi.ClusterCollector) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rank := func(m httpapi.ClusterCollector) int {
		p := c.postLocked(fsm.CollectorID(m.ID))
		if !m.Alive || !p.failing.IsZero() {
			return p.inFlight + 1<<20
		}
		return p.inFlight
	}
	slices.SortStableFunc(ms, func(a, b httpapi.ClusterCollector) int { return cmp.Compare(rank(a), rank(b)) })
}

// preferredFirst sorts for a name by rendezvous hash of its key, as an uploader
// prefers them, so that a key leads to the same collector from everywhere.
func preferredFirst(ms []httpapi.ClusterCollector, expression, name string) error {
	var cl fsm.Cluster
	if expression != "" {
		re, err := regexp.Compile(expression)
		if err != nil {
			return fmt.Errorf("the key of the cluster: %w", err)
		}
		cl.Key = re
	}
	key := keyOfName(cl, facts{name: name})
	slices.SortStableFunc(ms, func(a, b httpapi.ClusterCollector) int {
		return cmp.Compare(score(fsm.CollectorID(b.ID), key), score(fsm.CollectorID(a.ID), key))
	})
	return nil
}

// failoverOf returns the cluster's failover_after, and the default for one that
// has none or none that can be read.
func failoverOf(cluster httpapi.Cluster) time.Duration {
	d, err := time.ParseDuration(cluster.FailoverAfter)
	if err != nil || d <= 0 {
		return fsm.DefaultFailoverAfter
	}
	return d
}
