package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// Route is what becomes of one file in one outbox, by the configuration alone:
// no file is looked at and nobody is asked whether a collector is alive.
type Route struct {
	Name   string `json:"name"`   // of the file
	Outbox string `json:"outbox"` // name of the uploader
	// Rule says which rule decided; empty when none did.
	Rule string `json:"rule,omitempty"`
	// Reason says why the file stays where it is; empty when it goes.
	Reason  string        `json:"reason,omitempty"`
	Targets []RouteChoice `json:"targets"` // one for each cluster, in the order of the rule
}

// RouteChoice is a cluster that a file goes to and who there is to get it.
type RouteChoice struct {
	Cluster fsm.ClusterName `json:"cluster"`
	Mode    fsm.Mode        `json:"mode,omitempty"` // empty when the cluster is unknown
	Key     string          `json:"key,omitempty"`  // mode key: what the name is hashed by
	// Collectors that take new files, sorted by id; in mode key the one that is
	// preferred comes first.
	Collectors []fsm.CollectorID `json:"collectors"`
	// Note says in words what that means.
	Note string `json:"note"`
}

// Explain says what becomes of a file, in the outbox that f names by name or
// path, or, where it names none, in each outbox in the order of the
// configuration. An unknown outbox gives nothing.
func Explain(c Config, f FileFacts) []Route {
	var routes []Route
	for _, u := range c.Uploaders {
		if f.Outbox == "" || f.Outbox == u.Name || f.Outbox == u.Spool {
			routes = append(routes, explain(c.Table, u, FileFacts{Name: f.Name, Size: f.Size, Outbox: u.Name}))
		}
	}
	return routes
}

func explain(t fsm.Table, u Uploader, f FileFacts) Route {
	r := Route{Name: f.Name, Outbox: u.Name, Reason: notTaken(u, f.Name)}
	if r.Reason != "" {
		return r
	}
	d := u.Nexthop.Route(f)
	r.Rule, r.Reason = d.Rule, d.Reason
	for _, name := range d.Clusters {
		r.Targets = append(r.Targets, choice(t, name, f))
	}
	return r
}

// notTaken says why an outbox leaves a name alone before any rule is asked.
func notTaken(u Uploader, name string) string {
	if err := spool.CheckName(name); err != nil {
		return err.Error()
	}
	for _, suffix := range []string{".tmp", ".part", ".partial", "~"} {
		if strings.HasSuffix(name, suffix) {
			return "names that end in " + suffix + " are half-written files"
		}
	}
	if u.Filter != nil && !u.Filter.MatchString(name) {
		return fmt.Sprintf("the filter '%s' does not match the name", u.Filter)
	}
	return ""
}

// choice says who of a cluster gets a file.
func choice(t fsm.Table, name fsm.ClusterName, f FileFacts) RouteChoice {
	c := RouteChoice{Cluster: name}
	cl, ok := t.Clusters[name]
	if !ok {
		c.Note = "the cluster is unknown: the file waits"
		if t.Index == 0 { // the table of a network, which is not asked
			c.Note = "the network knows who collects for it"
		}
		return c
	}
	c.Mode = modeOf(cl.Mode)
	for _, col := range cl.Collectors {
		if col.State != fsm.StateDraining {
			c.Collectors = append(c.Collectors, col.ID)
		}
	}
	if len(c.Collectors) == 0 {
		c.Note = "no collector takes new files: the file waits"
		return c
	}
	switch c.Mode {
	case fsm.ModeAll:
		c.Note = "a copy to each of them"
	case fsm.ModeOne:
		c.Note = "to one of them, the least busy"
	case fsm.ModeKey:
		c.Key = keyOfName(cl, facts{name: f.Name, size: f.Size})
		slices.SortStableFunc(c.Collectors, func(a, b fsm.CollectorID) int {
			return cmp.Compare(score(b, c.Key), score(a, c.Key))
		})
		c.Note = fmt.Sprintf("to the first of them that is there, by key %s", quote(c.Key))
	}
	return c
}

// String gives the route in words, one line for the rule and one for each
// cluster.
func (r Route) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s", r.Name, r.Outbox)
	switch {
	case r.Reason != "" && r.Rule != "":
		fmt.Fprintf(&b, ": stays, by %s: %s", r.Rule, r.Reason)
	case r.Reason != "":
		fmt.Fprintf(&b, ": stays: %s", r.Reason)
	default:
		fmt.Fprintf(&b, ": goes by %s", r.Rule)
	}
	for _, t := range r.Targets {
		fmt.Fprintf(&b, "\n  %s", t)
	}
	return b.String()
}

// String gives the cluster and its collectors in one line.
func (t RouteChoice) String() string {
	if len(t.Collectors) == 0 {
		return fmt.Sprintf("%s: %s", t.Cluster, t.Note)
	}
	ids := make([]string, len(t.Collectors))
	for i, id := range t.Collectors {
		ids[i] = string(id)
	}
	return fmt.Sprintf("%s (%s): %s: %s", t.Cluster, t.Mode, strings.Join(ids, ", "), t.Note)
}

// RunTests checks the expectations that a configuration has about its own
// rules and returns a problem for each that does not hold, nil when all do. The
// configuration must be valid.
func RunTests(c Config) Problems {
	var ps Problems
	for i, test := range c.Tests {
		u := c.outbox(test.Outbox)
		if u < 0 {
			continue // Validate has said so
		}
		r := Explain(c, FileFacts{Name: test.Name, Size: test.Size, Outbox: c.Uploaders[u].Name})[0]
		var got []fsm.ClusterName
		for _, t := range r.Targets {
			got = append(got, t.Cluster)
		}
		if slices.Equal(sortedNames(got), sortedNames(test.Want)) {
			continue
		}
		why := cmp.Or(r.Rule, "no rule")
		if r.Reason != "" {
			why = r.Reason
		}
		ps.add(c.at(fmt.Sprintf("tests[%d]", i)), "mend the rules or the test",
			"test failed: %s goes to %s (%s), want %s", quote(test.Name), nameList(got), why, nameList(test.Want))
	}
	return ps
}

func sortedNames(names []fsm.ClusterName) []fsm.ClusterName {
	return slices.Sorted(slices.Values(unique(names)))
}

// nameList gives the names in words.
func nameList(names []fsm.ClusterName) string {
	if len(names) == 0 {
		return "no cluster"
	}
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}
