package fsm

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"time"
)

// apply changes the state by one command. On an error the state is as it was.
// It has no clock, no randomness and no input but the state and the command.
func (s *state) apply(index uint64, c Command) (Result, error) {
	switch b := c.Body.(type) {
	case NetworkInit:
		return s.networkInit(b)
	case ClusterPut:
		return s.clusterPut(index, b)
	case ClusterDelete:
		return s.clusterDelete(index, b)
	case CollectorPut:
		return s.collectorPut(index, c.Time, b)
	case CollectorState:
		return s.collectorState(index, b)
	case CollectorDelete:
		return s.collectorDelete(index, b)
	case Heartbeat:
		return s.heartbeat(c.Time, b)
	case NodePut:
		return s.nodePut(b)
	case NodeDelete:
		return s.nodeDelete(index, b)
	}
	panic(fmt.Sprintf("fsm: a command of kind %d was decoded and cannot be applied", c.Body.kind()))
}

func (s *state) networkInit(b NetworkInit) (Result, error) {
	if err := CheckIdent(b.NetworkID); err != nil {
		return Result{}, fail(ErrInvalid, "network id %v", err)
	}
	if s.networkID != "" {
		return Result{}, nil
	}
	s.networkID = b.NetworkID
	return Result{Changed: true}, nil
}

// maxFailover bounds failover_after: beyond it, it is a mistake.
const maxFailover = 7 * 24 * time.Hour

// maxKeyBytes bounds the key expression of a cluster.
const maxKeyBytes = 1000

func (s *state) clusterPut(index uint64, b ClusterPut) (Result, error) {
	if err := CheckIdent(string(b.Name)); err != nil {
		return Result{}, fail(ErrInvalid, "cluster %v", err)
	}
	next := Cluster{Name: b.Name, Mode: ModeAll, FailoverAfter: DefaultFailoverAfter}
	old, known := s.clusters[b.Name]
	if known {
		next = *old
	}
	if err := next.change(b); err != nil {
		return Result{}, err
	}
	if known && next.Mode == old.Mode && next.FailoverAfter == old.FailoverAfter && keyText(next) == keyText(*old) {
		return Result{}, nil
	}
	s.clusters[b.Name] = &next
	s.touch(index, b.Name)
	return Result{Changed: true}, nil
}

// change applies the fields that are given.
func (c *Cluster) change(b ClusterPut) error {
	switch b.Mode {
	case "":
	case ModeAll, ModeOne, ModeKey:
		if c.Mode = b.Mode; b.Mode != ModeKey {
			c.Key = nil
		}
	default:
		return fail(ErrInvalid, "mode %.40q, want all, one or key", b.Mode)
	}
	if b.Key != "" {
		if len(b.Key) > maxKeyBytes {
			return fail(ErrInvalid, "key of %d bytes, want at most %d", len(b.Key), maxKeyBytes)
		}
		re, err := regexp.Compile(b.Key)
		if err != nil {
			return fail(ErrInvalid, "key %.100q: %s", b.Key, complaint(err))
		}
		c.Key = re
	}
	switch {
	case c.Mode == ModeKey && c.Key == nil:
		return fail(ErrInvalid, "mode key needs a key: a regexp on the name whose first group is the key")
	case c.Mode != ModeKey && c.Key != nil:
		return fail(ErrInvalid, "a key goes with mode key, and this cluster's is %s", c.Mode)
	case b.FailoverAfterMS < 0 || b.FailoverAfterMS > maxFailover.Milliseconds():
		return fail(ErrInvalid, "failover_after of %d ms", b.FailoverAfterMS)
	case b.FailoverAfterMS > 0:
		c.FailoverAfter = time.Duration(b.FailoverAfterMS) * time.Millisecond
	}
	return nil
}

// complaint says what is wrong with a regexp in words that no release of Go
// changes: the replicas need not be built by the same one.
func complaint(err error) string {
	if se := (*syntax.Error)(nil); errors.As(err, &se) {
		return string(se.Code)
	}
	return "not a regular expression"
}

func keyText(c Cluster) string {
	if c.Key == nil {
		return ""
	}
	return c.Key.String()
}

func (s *state) clusterDelete(index uint64, b ClusterDelete) (Result, error) {
	c, ok := s.clusters[b.Name]
	if !ok {
		return Result{}, fail(ErrNotFound, "there is no cluster %.100q", b.Name)
	}
	if n := len(c.Collectors); n > 0 {
		return Result{}, fail(ErrInUse, "cluster %s has %d collectors", b.Name, n)
	}
	delete(s.clusters, b.Name)
	s.touch(index, b.Name)
	return Result{Changed: true}, nil
}

func (s *state) collectorState(index uint64, b CollectorState) (Result, error) {
	if b.State != StateActive && b.State != StateDraining {
		return Result{}, fail(ErrInvalid, "state %.40q, want active or draining", b.State)
	}
	c, ok := s.collector(b.Cluster, b.ID)
	if !ok {
		return Result{}, noCollector(b.Cluster, b.ID)
	}
	if c.State == b.State {
		return Result{Collector: c}, nil
	}
	c.State = b.State
	s.setCollector(index, c)
	return Result{Changed: true, Collector: c}, nil
}

func noCollector(cluster ClusterName, id CollectorID) error {
	if cluster == "" {
		return fail(ErrNotFound, "there is no collector %.100q", id)
	}
	return fail(ErrNotFound, "cluster %.100q has no collector %.100q", cluster, id)
}

func (s *state) collectorDelete(index uint64, b CollectorDelete) (Result, error) {
	c, ok := s.collector(b.Cluster, b.ID)
	if !ok {
		return Result{}, noCollector(b.Cluster, b.ID)
	}
	if b.IfSilentSinceMS != 0 {
		beat, external := s.beats[c.ID]
		if !external || beat.Last.UnixMilli() > b.IfSilentSinceMS {
			return Result{Collector: c}, nil
		}
	}
	s.deleteCollector(index, c)
	return Result{Changed: true, Collector: c}, nil
}

func (s *state) heartbeat(at time.Time, b Heartbeat) (Result, error) {
	for _, id := range b.IDs {
		if beat, ok := s.beats[id]; ok && at.After(beat.Last) {
			beat.Last = at
			s.beats[id] = beat
		}
	}
	return Result{}, nil
}

// maxNodeHTTP bounds a node's address: a host name, a colon and a port fit.
const maxNodeHTTP = 300 // bytes

func (s *state) nodePut(b NodePut) (Result, error) {
	if err := b.Node.check(); err != nil {
		return Result{}, err
	}
	at, found := slices.BinarySearchFunc(s.nodes, b.Node.ID, nodeByID)
	if found && s.nodes[at] == b.Node {
		return Result{}, nil
	}
	next := slices.Clone(s.nodes)
	if found {
		next[at] = b.Node
	} else {
		next = slices.Insert(next, at, b.Node)
	}
	s.nodes = next
	return Result{Changed: true}, nil
}

func (n Node) check() error {
	if err := CheckIdent(n.ID); err != nil {
		return fail(ErrInvalid, "node id %v", err)
	}
	if err := CheckIdent(n.Name); err != nil {
		return fail(ErrInvalid, "node name %v", err)
	}
	if len(n.HTTP) > maxNodeHTTP {
		return fail(ErrInvalid, "address of %d bytes", len(n.HTTP))
	}
	return nil
}

func nodeByID(n Node, id string) int { return cmp.Compare(n.ID, id) }

func (s *state) nodeDelete(index uint64, b NodeDelete) (Result, error) {
	at, found := slices.BinarySearchFunc(s.nodes, b.ID, nodeByID)
	gone := slices.Clone(s.index.nodes[b.ID])
	if !found && len(gone) == 0 {
		return Result{}, fail(ErrNotFound, "there is no node %.100q", b.ID)
	}
	if found {
		s.nodes = slices.Delete(slices.Clone(s.nodes), at, at+1)
	}
	for _, there := range gone {
		c, _ := s.collector(there.cluster, there.id)
		s.deleteCollector(index, c)
	}
	return Result{Changed: true}, nil
}
