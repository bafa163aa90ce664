package node

import (
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// sections reads the sections of a configuration file into a Config. Base is
// the directory that relative paths start from.
type sections struct {
	*reader
	base string
	c    *Config
}

// read takes the whole document. Values that are not given stay as they are.
func (s sections) read(doc ast.Node) {
	c := s.c
	s.mapping(doc, "",
		field{"name", s.text(&c.Name)},
		field{"data_dir", s.path(&c.DataDir, s.base)},
		field{"http", s.text(&c.HTTP)},
		field{"raft", s.text(&c.Raft)},
		field{"gossip", s.text(&c.Gossip)},
		field{"advertise", s.text(&c.Advertise)},
		field{"insecure", s.boolean(&c.Insecure)},
		field{"log_format", s.text(&c.Log.Format)},
		field{"log_level", s.logLevel},
		field{"network", s.network},
		field{"uploaders", s.uploaders},
		field{"collectors", s.collectors},
		field{"tests", s.tests},
	)
}

func (s sections) logLevel(n ast.Node, path string) {
	text, ok := s.str(n, path)
	if !ok {
		return
	}
	if err := parseLevel(&s.c.Log.Level, text); err != nil {
		s.problems.add(s.at(n), remedyLevel, "log_level: %v", err)
	}
}

func (s sections) network(n ast.Node, path string) {
	net := &s.c.Network
	s.mapping(n, path,
		field{"join", s.texts(&net.Join)},
		field{"bootstrap_expect", s.whole(&net.BootstrapExpect)},
		field{"servers", s.texts(&net.Servers)},
		field{"heartbeat", s.duration(&net.Heartbeat)},
		field{"static", s.path(&net.Static, s.base)},
		field{"collector_port_start", s.whole(&net.PortStart)},
		field{"raft_multiplier", s.whole(&net.RaftMultiplier)},
		field{"max_voters", s.whole(&net.MaxVoters)},
		field{"dead_after", s.duration(&net.DeadAfter)},
	)
}

func (s sections) uploaders(n ast.Node, path string) {
	s.list(n, path, func(n ast.Node, path string) {
		u := DefaultUploader()
		u.Line = s.at(n).line
		isMapping := s.mapping(n, path,
			field{"name", s.text(&u.Name)},
			field{"spool", s.path(&u.Spool, s.base)},
			field{"cron_time", s.text(&u.CronTime)},
			field{"watch", s.boolean(&u.Watch)},
			field{"max_conn", s.whole(&u.MaxConn)},
			field{"filter", s.regexp(&u.Filter)},
			field{"nexthop", s.nexthop(&u.Nexthop)},
			field{"after", s.after(&u.Archive)},
			field{"ready", s.text(&u.Ready)},
			field{"settle", s.duration(&u.Settle)},
			field{"window", s.whole(&u.Window)},
			field{"max_age", s.duration(&u.MaxAge)},
		)
		if u.Name == "" {
			u.Name = u.Spool
		}
		if isMapping {
			s.c.Uploaders = append(s.c.Uploaders, u)
		}
	})
}

func (s sections) collectors(n ast.Node, path string) {
	s.list(n, path, func(n ast.Node, path string) {
		c := DefaultCollector()
		c.Line = s.at(n).line
		isMapping := s.mapping(n, path,
			field{"id", s.text((*string)(&c.ID))},
			field{"cluster", s.text((*string)(&c.Cluster))},
			field{"address", s.text(&c.Address)},
			field{"port", s.whole(&c.Port)},
			field{"spool", s.path(&c.Spool, s.base)},
			field{"on_conflict", s.text(&c.OnConflict)},
			field{"file_mode", s.fileMode(&c.FileMode)},
			field{"file_group", s.group(&c.FileGroup)},
			field{"max_file_size", s.size(&c.MaxFileBytes)},
		)
		if isMapping {
			s.c.Collectors = append(s.c.Collectors, c)
		}
	})
}

func (s sections) tests(n ast.Node, path string) {
	s.list(n, path, func(n ast.Node, path string) {
		t := RouteTest{Line: s.at(n).line}
		isMapping := s.mapping(n, path,
			field{"name", s.text(&t.Name)},
			field{"size", s.size(&t.Size)},
			field{"outbox", s.text(&t.Outbox)},
			field{"cluster", s.wanted(&t.Want)},
		)
		if isMapping {
			s.c.Tests = append(s.c.Tests, t)
		}
	})
}

// texts takes a list of texts, or one text with commas as the flag has it.
func (s sections) texts(to *[]string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if _, ok := n.(*ast.StringNode); ok {
			if text, ok := s.str(n, path); ok {
				*to = splitList(text)
			}
			return
		}
		*to = nil
		s.list(n, path, func(n ast.Node, path string) {
			text, ok := "", false
			if n.Type() == ast.MappingType {
				text, ok = s.glued(n)
			}
			if !ok {
				text, ok = s.str(n, path)
			}
			if ok {
				*to = append(*to, text)
			}
		})
	}
}

// glued puts together again what the parser takes apart: in a list within
// braces it reads n1:10090 as a mapping, although the colon has no blank behind.
func (s sections) glued(n ast.Node) (string, bool) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		return n.GetToken().Value, n.Type() == ast.StringType || n.Type() == ast.IntegerType
	}
	if m.IsFlowStyle || len(m.Values) != 1 {
		return "", false
	}
	v := m.Values[0]
	tail, ok := s.glued(v.Value)
	behind := s.at(v.Value).col == v.GetToken().Position.Column+1
	return v.Key.GetToken().Value + ":" + tail, ok && behind
}

// clusters takes one cluster name or a list of them.
func (s sections) clusters(to *[]fsm.ClusterName) func(ast.Node, string) {
	one := func(n ast.Node, path string) {
		text, ok := s.str(n, path)
		if !ok {
			return
		}
		if fsm.CheckIdent(text) != nil {
			s.problems.add(s.at(n), remedyIdent, "cluster %s is no legal name", quote(text))
			return
		}
		*to = append(*to, fsm.ClusterName(text))
	}
	return func(n ast.Node, path string) {
		if _, ok := n.(*ast.SequenceNode); ok {
			s.list(n, path, one)
			return
		}
		one(n, path)
	}
}

// wanted takes the clusters that a test wants; null wants none.
func (s sections) wanted(to *[]fsm.ClusterName) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if n != nil && n.Type() != ast.NullType {
			s.clusters(to)(n, path)
		}
	}
}

// nexthop takes a list of rules or one expression.
func (s sections) nexthop(to *Rules) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		switch n.(type) {
		case *ast.SequenceNode:
			*to = s.rules(n, path)
		case *ast.StringNode, *ast.LiteralNode:
			if text, ok := s.str(n, path); ok {
				*to = s.expression(n, text)
			}
		default:
			s.wrongType(n, path, "a list of rules or one expression in quotes")
		}
	}
}

func (s sections) expression(n ast.Node, text string) Rules {
	rules, err := ParseRules(text)
	if err == nil {
		return rules
	}
	remedy := "it sees name, size, ext and outbox and gives a cluster, a list of clusters or nil: " +
		`'ext == ".json" ? "cluster1" : nil'`
	if fsm.CheckIdent(text) == nil {
		remedy = `a cluster's name goes in quotes of its own: '"` + text + `"'`
	}
	s.problems.add(s.at(n), remedy, "nexthop: %v", err)
	return Rules{}
}

func (s sections) rules(n ast.Node, path string) Rules {
	var list []Rule
	complete := true
	s.list(n, path, func(n ast.Node, path string) {
		var r Rule
		s.mapping(n, path,
			field{"match", s.match(&r.Match)},
			field{"cluster", s.clusters(&r.Clusters)},
		)
		for _, key := range []string{"match", "cluster"} {
			if _, ok := n.(*ast.MappingNode); ok && !s.given(join(path, key)) {
				s.problems.add(s.at(n), `write { match: '\.json$', cluster: NAME }; match: '' is every name`,
					"the rule lacks %s", key)
			}
		}
		list = append(list, r)
		complete = complete && r.Match != nil && len(r.Clusters) > 0
	})
	if !complete {
		return Rules{} // each gap has its problem
	}
	if len(list) == 0 {
		s.problems.add(s.at(n), `write at least one: - { match: '', cluster: NAME }`, "nexthop has no rules")
	}
	rules, err := NewRules(list...)
	if err != nil {
		s.problems.add(s.at(n), remedyIdent, "nexthop: %v", err)
	}
	return rules
}

// after takes what becomes of a file once it is delivered.
func (s sections) after(archive *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if m, ok := n.(*ast.MappingNode); ok {
			s.mapping(m, path, field{"archive", s.path(archive, s.base)})
			if !s.given(join(path, "archive")) {
				s.problems.add(s.at(n), remedyAfter, "after does not say what to do")
			}
			return
		}
		text, ok := s.str(n, path)
		if !ok || text == "delete" {
			return
		}
		dir, ok := strings.CutPrefix(text, "archive:")
		if dir = strings.TrimSpace(dir); !ok || dir == "" {
			s.problems.add(s.at(n), remedyAfter, "after: %s is unknown", quote(text))
			return
		}
		*archive = absolute(s.base, dir)
	}
}

// given reports whether the file has a value at a path, be it a wrong one.
func (r *reader) given(path string) bool {
	_, ok := r.where[path]
	return ok
}
