package httpapi

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// ErrBadTable is returned for a table from the wire that makes no sense.
var ErrBadTable = errors.New("bad table")

const (
	// maxKeyExpr bounds the key expression of a cluster, and maxKeyExprs those of
	// all that differ, in bytes: each takes a thousand times as much when compiled.
	maxKeyExpr  = 1000
	maxKeyExprs = 128 << 10
)

// Table turns an answer back into the table that it was made of. What comes
// from the wire is checked as if somebody had typed it: ErrBadTable.
func (c Clusters) Table() (fsm.Table, error) {
	read := tableReader{seen: map[fsm.CollectorID]bool{}, keys: map[string]*regexp.Regexp{}}
	t := fsm.Table{Index: c.Index, Clusters: make(map[fsm.ClusterName]fsm.Cluster, len(c.Clusters))}
	for name, cluster := range c.Clusters {
		out, err := read.cluster(fsm.ClusterName(name), cluster)
		if err != nil {
			return fsm.Table{}, fmt.Errorf("%w: cluster %.100q: %w", ErrBadTable, name, err)
		}
		t.Clusters[out.Name] = out
	}
	return t, nil
}

// tableReader is what the clusters of one table share.
type tableReader struct {
	seen     map[fsm.CollectorID]bool
	keys     map[string]*regexp.Regexp
	keyBytes int
}

func (r *tableReader) cluster(name fsm.ClusterName, c Cluster) (fsm.Cluster, error) {
	out := fsm.Cluster{Name: name, Mode: c.Mode, FailoverAfter: fsm.DefaultFailoverAfter}
	if err := fsm.CheckIdent(string(name)); err != nil {
		return out, err
	}
	if err := r.mode(&out, c); err != nil {
		return out, err
	}
	if c.FailoverAfter != "" {
		d, err := time.ParseDuration(c.FailoverAfter)
		if err != nil || d <= 0 {
			return out, fmt.Errorf("failover_after %.40q", c.FailoverAfter)
		}
		out.FailoverAfter = d
	}
	for _, m := range c.Collectors {
		col, err := m.collector(name)
		if err != nil {
			return out, fmt.Errorf("collector %.100q: %w", m.ID, err)
		}
		if r.seen[col.ID] {
			return out, fmt.Errorf("collector %s is listed twice", col.ID)
		}
		r.seen[col.ID] = true
		out.Collectors = append(out.Collectors, col)
	}
	fsm.SortCollectors(out.Collectors)
	return out, nil
}

func (r *tableReader) mode(out *fsm.Cluster, c Cluster) (err error) {
	switch c.Mode {
	case "":
		out.Mode = fsm.ModeAll
	case fsm.ModeAll, fsm.ModeOne:
	case fsm.ModeKey:
		if c.Key == "" {
			return errors.New("mode key without a key")
		}
	default:
		return fmt.Errorf("mode %.40q", c.Mode)
	}
	if c.Key != "" {
		out.Key, err = r.key(c.Key)
	}
	return err
}

func (r *tableReader) key(expr string) (*regexp.Regexp, error) {
	if re, known := r.keys[expr]; known {
		return re, nil
	}
	if r.keyBytes += len(expr); len(expr) > maxKeyExpr || r.keyBytes > maxKeyExprs {
		return nil, fmt.Errorf("key of %d bytes, all so far %d", len(expr), r.keyBytes)
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	r.keys[expr] = re
	return re, nil
}

func (m ClusterCollector) collector(cluster fsm.ClusterName) (fsm.Collector, error) {
	out := fsm.Collector{
		ID: fsm.CollectorID(m.ID), Cluster: cluster, Node: m.Node, Address: m.Address, Port: m.Port,
		State: m.State, External: m.External,
	}
	if err := fsm.CheckIdent(m.ID); err != nil {
		return out, err
	}
	if m.Node != "" {
		if err := fsm.CheckIdent(m.Node); err != nil {
			return out, err
		}
	}
	if out.State == "" {
		out.State = fsm.StateActive
	}
	switch {
	case !isHost(m.Address):
		return out, fmt.Errorf("address %.100q", m.Address)
	case m.Port < 1 || m.Port > 65535:
		return out, fmt.Errorf("port %d", m.Port)
	case out.State != fsm.StateActive && out.State != fsm.StateDraining:
		return out, fmt.Errorf("state %.40q", m.State)
	}
	return out, nil
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9_:.%-]{1,253}$`)

// isHost reports whether s may be an IP address or a name: whether it is one,
// dialling it will tell. It is less strict than checkHost, since one address that
// an older node let in would else cost the whole table.
func isHost(s string) bool { return hostForm.MatchString(s) }
