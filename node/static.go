package node

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// LoadStatic reads a static network: a file that lists every cluster and its
// collectors, either as a list, for a cluster of mode all, or as a mapping:
//
//	clusters:
//	  cluster1: [ { id: json_consumer_1, address: 127.0.0.1, port: 10100 } ]
//	  cluster2:
//	    mode: key
//	    key: '^([^_]*)_'
//	    failover_after: 30s
//	    collectors: [ { id: log_consumer_1, address: 10.0.0.7, port: 10101, state: draining } ]
//
// The table has Index 1. Problems carry path as their file; with any, the
// table is of no use. A cluster without collectors is legal.
func LoadStatic(path string) (fsm.Table, Problems) {
	data, err := os.ReadFile(path)
	if err != nil {
		var ps Problems
		ps.add(position{file: path}, "create the file, or mend network.static", "cannot be read: %v", cause(err))
		return fsm.Table{}, ps
	}
	return parseStatic(path, data)
}

const remedyStatic = "write clusters: and below it NAME: [ { id: ID, address: HOST, port: 10100 } ]"

// static reads a static file.
type static struct {
	*reader
	table fsm.Table
	ids   map[fsm.CollectorID]int // line of each
	addrs map[string]int          // line of each host:port
}

func parseStatic(path string, data []byte) (fsm.Table, Problems) {
	s := static{
		reader: &reader{file: path, where: map[string]position{}},
		table:  fsm.Table{Index: 1, Clusters: map[fsm.ClusterName]fsm.Cluster{}},
		ids:    map[fsm.CollectorID]int{},
		addrs:  map[string]int{},
	}
	doc := s.document(data)
	if doc == nil && len(s.problems) == 0 {
		s.problems.add(position{file: path, line: 1, col: 1}, remedyStatic, "the file is empty")
	}
	s.mapping(doc, "", field{"clusters", s.clusters})
	if m, ok := doc.(*ast.MappingNode); ok && !s.given("clusters") {
		s.problems.add(s.at(m), remedyStatic, "lacks clusters")
	}
	return s.table, s.problems.sorted(path)
}

func (s static) clusters(n ast.Node, path string) {
	s.entries(n, path, func(name string, key, value ast.Node) {
		if fsm.CheckIdent(name) != nil {
			s.problems.add(s.at(key), remedyIdent, "cluster %s is no legal name", quote(name))
			return
		}
		s.table.Clusters[fsm.ClusterName(name)] = s.cluster(fsm.ClusterName(name), value)
	})
}

// cluster reads a cluster in either form.
func (s static) cluster(name fsm.ClusterName, n ast.Node) fsm.Cluster {
	c := fsm.Cluster{Name: name, Mode: fsm.ModeAll, FailoverAfter: fsm.DefaultFailoverAfter}
	const path = "cluster"
	collectors := func(n ast.Node, path string) {
		s.list(n, path, func(n ast.Node, path string) {
			if col, ok := s.collector(name, n, path); ok {
				c.Collectors = append(c.Collectors, col)
			}
		})
	}
	switch n.(type) {
	case *ast.MappingNode:
		s.options(&c, n, collectors)
	case *ast.SequenceNode, *ast.NullNode:
		collectors(n, path)
	default:
		s.wrongType(n, path, "a list of collectors, or a mapping with mode and collectors")
	}
	fsm.SortCollectors(c.Collectors)
	return c
}

// options reads the mapping form.
func (s static) options(c *fsm.Cluster, n ast.Node, collectors func(ast.Node, string)) {
	s.mapping(n, "cluster",
		field{"mode", s.mode(&c.Mode)},
		field{"key", s.regexp(&c.Key)},
		field{"failover_after", s.failover(&c.FailoverAfter)},
		field{"collectors", collectors},
	)
	if _, ok := entry(n, "collectors"); !ok {
		s.problems.add(s.at(n), "write collectors: [], if it has none", "cluster %s lacks collectors", c.Name)
	}
	_, keyed := entry(n, "key")
	switch {
	case c.Mode == fsm.ModeKey && !keyed:
		s.problems.add(s.at(n), `write key: '^([^_]*)_'; its first group is the key`, "cluster %s has mode key but no key", c.Name)
	case c.Mode != fsm.ModeKey && keyed:
		s.problems.add(s.at(n), "write mode: key, or leave the key out", "cluster %s has a key but mode %s", c.Name, c.Mode)
	}
}

// entry finds a key of a mapping.
func entry(n ast.Node, key string) (ast.Node, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return nil, false
	}
	for _, v := range m.Values {
		if t := v.Key.GetToken(); t != nil && t.Value == key {
			return v.Value, true
		}
	}
	return nil, false
}

func (s static) mode(to *fsm.Mode) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		text, ok := s.str(n, path)
		if !ok {
			return
		}
		switch m := fsm.Mode(text); m {
		case fsm.ModeAll, fsm.ModeOne, fsm.ModeKey:
			*to = m
		default:
			s.problems.add(s.at(n), "write all, one or key", "mode %s is unknown", quote(text))
		}
	}
}

func (s static) failover(to *time.Duration) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		s.duration(to)(n, path)
		if *to <= 0 {
			s.problems.add(s.at(n), "write a time span such as 30s", "failover_after is %s", *to)
		}
	}
}

// collector reads one collector, and refuses what another one has already.
func (s static) collector(cluster fsm.ClusterName, n ast.Node, path string) (fsm.Collector, bool) {
	before := len(s.problems)
	c := fsm.Collector{Cluster: cluster, State: fsm.StateActive}
	s.mapping(n, path,
		field{"id", s.text((*string)(&c.ID))},
		field{"address", s.text(&c.Address)},
		field{"port", s.whole(&c.Port)},
		field{"state", s.text((*string)(&c.State))},
	)
	if len(s.problems) > before {
		return c, false
	}
	at := s.at(n)
	s.checkCollector(c, at)
	if len(s.problems) > before {
		return c, false
	}
	if line, ok := s.ids[c.ID]; ok {
		s.problems.add(at, "give each collector an id of its own", "id %s is taken by the collector of line %d", quote(string(c.ID)), line)
	}
	if line, ok := s.addrs[c.HostPort()]; ok {
		s.problems.add(at, "give each collector a port of its own", "%s is taken by the collector of line %d", c.HostPort(), line)
	}
	s.ids[c.ID], s.addrs[c.HostPort()] = at.line, at.line
	return c, len(s.problems) == before
}

func (s static) checkCollector(c fsm.Collector, at position) {
	const all = "write { id: ID, address: HOST, port: 10100 }"
	switch {
	case c.ID == "":
		s.problems.add(at, all, "the collector lacks id")
	case fsm.CheckIdent(string(c.ID)) != nil:
		s.problems.add(at, remedyIdent, "id %s is no legal name", quote(string(c.ID)))
	}
	switch {
	case c.Address == "":
		s.problems.add(at, all, "the collector lacks address")
	case !isHost(c.Address):
		s.problems.add(at, "write an IP address or a DNS name, without a port", "address %s is neither an IP address nor a name", quote(c.Address))
	case isEveryInterface(c.Address):
		s.problems.add(at, "write the address that uploaders reach it by", "address %s cannot be called", c.Address)
	}
	switch {
	case c.Port == 0:
		s.problems.add(at, all, "the collector lacks port")
	case c.Port < 1 || c.Port > 65535:
		s.problems.add(at, "write a number from 1 to 65535", "port %d is out of range", c.Port)
	}
	if c.State != fsm.StateActive && c.State != fsm.StateDraining {
		s.problems.add(at, "write active or draining", "state %s is unknown", quote(string(c.State)))
	}
}

// cause is a file error without the path, which the problem has already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
