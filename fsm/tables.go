package fsm

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// state is what the commands change, in place: nobody else sees it. Views get
// copies, made when one is asked for, of the clusters that have changed since
// the last: a burst of commands copies nothing, and no command pays for the
// size of a cluster or for the number of clusters.
type state struct {
	applied    uint64
	networkID  string
	tableIndex uint64 // raft index of the last change to a cluster or collector
	clusters   map[ClusterName]*Cluster
	nodes      []Node // sorted by id; replaced, never changed: views share it
	beats      map[CollectorID]Beat
	requests   *requests
	index      index

	shown Table                    // as views have it; never changed
	dirty map[ClusterName]struct{} // clusters that differ from shown
}

func newState() *state {
	return &state{
		clusters: map[ClusterName]*Cluster{}, beats: map[CollectorID]Beat{}, requests: newRequests(), index: newIndex(),
		shown: Table{Clusters: map[ClusterName]Cluster{}}, dirty: map[ClusterName]struct{}{},
	}
}

// isShown reports whether shown is the table as it is.
func (s *state) isShown() bool { return s.shown.Index == s.tableIndex && len(s.dirty) == 0 }

// show brings shown up to date.
func (s *state) show() {
	if s.isShown() {
		return
	}
	next := s.shown.Clusters
	if len(s.dirty) > 0 {
		next = maps.Clone(next)
	}
	for name := range s.dirty {
		c, ok := s.clusters[name]
		if !ok {
			delete(next, name)
			continue
		}
		shown := *c
		shown.Collectors = slices.Clone(c.Collectors)
		next[name] = shown
	}
	clear(s.dirty)
	s.shown = Table{Index: s.tableIndex, Clusters: next}
}

// view gives what show brought up to date.
func (s *state) view() View {
	return View{Applied: s.applied, NetworkID: s.networkID, Table: s.shown, Nodes: s.nodes}
}

// touch notes that a cluster was changed by the command at an index.
func (s *state) touch(at uint64, name ClusterName) {
	s.tableIndex = at
	s.dirty[name] = struct{}{}
}

// collector finds a collector in a cluster, or in any for an empty name.
func (s *state) collector(cluster ClusterName, id CollectorID) (Collector, bool) {
	home, ok := s.index.home[id]
	if !ok || cluster != "" && cluster != home {
		return Collector{}, false
	}
	cs := s.clusters[home].Collectors
	at, ok := slices.BinarySearchFunc(cs, id, byID)
	if !ok {
		return Collector{}, false
	}
	return cs[at], true
}

// setCollector puts a collector in its cluster, which is made if need be, and
// takes the one of its id away, wherever that is. The heartbeats stay.
func (s *state) setCollector(at uint64, c Collector) {
	if old, ok := s.collector("", c.ID); ok && old.Cluster != c.Cluster {
		s.takeOut(at, old)
	}
	cl, ok := s.clusters[c.Cluster]
	if !ok {
		cl = &Cluster{Name: c.Cluster, Mode: ModeAll, FailoverAfter: DefaultFailoverAfter}
		s.clusters[c.Cluster] = cl
	}
	i, found := slices.BinarySearchFunc(cl.Collectors, c.ID, byID)
	s.touch(at, c.Cluster)
	if !found {
		cl.Collectors = slices.Insert(cl.Collectors, i, c)
		s.index.add(c)
		return
	}
	old := cl.Collectors[i]
	cl.Collectors[i] = c
	if old.HostPort() != c.HostPort() || old.Node != c.Node {
		s.index.remove(old)
		s.index.add(c)
	}
}

// deleteCollector removes a collector with its heartbeats. Its cluster stays.
func (s *state) deleteCollector(at uint64, c Collector) {
	s.takeOut(at, c)
	delete(s.beats, c.ID)
}

func (s *state) takeOut(at uint64, c Collector) {
	cl := s.clusters[c.Cluster]
	i, _ := slices.BinarySearchFunc(cl.Collectors, c.ID, byID)
	cl.Collectors = slices.Delete(cl.Collectors, i, i+1)
	s.index.remove(c)
	s.touch(at, c.Cluster)
}

func byID(c Collector, id CollectorID) int { return cmp.Compare(c.ID, id) }

// beat notes that an external collector was heard of. Time never goes back.
func (s *state) beat(id CollectorID, at time.Time, every time.Duration) {
	beat := s.beats[id]
	beat.Every = every
	if at.After(beat.Last) {
		beat.Last = at
	}
	s.beats[id] = beat
}
