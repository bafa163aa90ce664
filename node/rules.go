package node

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// FileFacts is what a rule may know of a file.
type FileFacts struct {
	Name   string
	Size   int64  // bytes
	Outbox string // name of the uploader
}

// Decision is where a file goes, and why.
type Decision struct {
	// Clusters are the targets, without repetition, in the order of the rule; all
	// of them are legal names. Empty means that the file stays where it is. Nobody
	// may change the slice: it is the rule's own.
	Clusters []fsm.ClusterName
	// Rule says in words which rule decided; empty when none did.
	Rule string
	// Reason says in words why the file stays; empty when it goes.
	Reason string
}

// Rule sends the files whose name matches to clusters.
type Rule struct {
	Match    *regexp.Regexp    // over the name, found anywhere in it
	Clusters []fsm.ClusterName // at least one
}

// Rules decide where the files of an outbox go: a list of rules, of which the
// first that matches wins, or one expression. The zero value has no rules and
// leaves every file where it is. Rules never change and may be used by many
// goroutines at once; a reload puts new ones in their place.
type Rules struct {
	list []rule
	expr *expression
}

// rule is a Rule as it is applied: for every file, so nothing is left to do.
type rule struct {
	match    *regexp.Regexp
	clusters []fsm.ClusterName
	words    string
}

// NewRules returns rules of which the first that matches wins.
//
// Errors: a rule without an expression or without clusters, and a cluster name
// that breaks fsm.CheckIdent.
func NewRules(list ...Rule) (Rules, error) {
	var rules Rules
	for i, r := range list {
		if r.Match == nil || len(r.Clusters) == 0 {
			return Rules{}, fmt.Errorf("rule %d: lacks match or cluster", i+1)
		}
		for _, c := range r.Clusters {
			if err := fsm.CheckIdent(string(c)); err != nil {
				return Rules{}, fmt.Errorf("rule %d: cluster %w", i+1, err)
			}
		}
		rules.list = append(rules.list, rule{
			match:    r.Match,
			clusters: unique(r.Clusters),
			words:    fmt.Sprintf("rule %d (match '%s')", i+1, r.Match),
		})
	}
	return rules, nil
}

// ParseRules returns rules that are one expression in the language of
// expr-lang.org, for instance
//
//	name endsWith ".json" ? "cluster1" : "cluster2"
//
// It sees name, size (bytes), ext (from the last dot of the name on, ".json")
// and outbox, and gives a cluster, a list of clusters, or nil, which leaves the
// file where it is. It is compiled and its types are checked here.
//
// Evaluation is bounded: there are no loops, no variables and no functions but
// those listed in exprFunctions, so the time and the memory it takes grow with the length
// of the text (at most 4096 bytes) and of the name, and with nothing else.
func ParseRules(text string) (Rules, error) {
	e, err := compileExpression(text)
	if err != nil {
		return Rules{}, err
	}
	return Rules{expr: e}, nil
}

// Clusters returns every cluster that the rules name, without repetition. What
// an expression may give is not known beforehand and is not among them.
func (r Rules) Clusters() []fsm.ClusterName {
	var names []fsm.ClusterName
	for _, rule := range r.list {
		names = append(names, rule.clusters...)
	}
	return unique(names)
}

// same reports whether two values are the same rules: not only alike, but made
// by the same call.
func (r Rules) same(other Rules) bool {
	if r.expr != other.expr || len(r.list) != len(other.list) {
		return false
	}
	return len(r.list) == 0 || &r.list[0] == &other.list[0]
}

// Route decides where a file goes. It does not block, touches no disk, and
// never fails: an expression that fails is the Reason why the file stays.
func (r Rules) Route(f FileFacts) Decision {
	if r.expr != nil {
		return r.expr.route(f)
	}
	for _, rule := range r.list {
		if rule.match.MatchString(f.Name) {
			return Decision{Clusters: rule.clusters, Rule: rule.words}
		}
	}
	return Decision{Reason: "no rule matches the name"}
}

// route evaluates the expression for one file.
func (e *expression) route(f FileFacts) Decision {
	d := Decision{Rule: "the expression"}
	clusters, err := e.eval(f)
	switch {
	case err != nil:
		d.Reason = "the expression fails: " + err.Error()
	case len(clusters) == 0:
		d.Reason = "the expression gives no cluster"
	}
	d.Clusters = clusters
	return d
}

// clustersOf turns the value of an expression into cluster names.
func clustersOf(value any) ([]fsm.ClusterName, error) {
	var names []fsm.ClusterName
	switch v := value.(type) {
	case nil:
		return nil, nil
	case string:
		names = append(names, fsm.ClusterName(v))
	case []string:
		for _, s := range v {
			names = append(names, fsm.ClusterName(s))
		}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				return nil, errors.New("the list has something that is not a text")
			}
			names = append(names, fsm.ClusterName(s))
		}
	default:
		return nil, fmt.Errorf("the value is a %T, want a text, a list of texts, or nil", value)
	}
	for _, name := range names {
		if err := fsm.CheckIdent(string(name)); err != nil {
			return nil, fmt.Errorf("%s is no legal cluster name", quote(string(name)))
		}
	}
	return unique(names), nil
}

// unique returns the names without repetition, in their order, as a new slice.
func unique(names []fsm.ClusterName) []fsm.ClusterName {
	var out []fsm.ClusterName
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}
