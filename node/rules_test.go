package node

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bucket-relay/bucket-relay/fsm"
)

func mustRules(t *testing.T, text string) Rules {
	t.Helper()
	r, err := ParseRules(text)
	if err != nil {
		t.Fatalf("ParseRules(%q): %v", text, err)
	}
	return r
}

func TestFirstMatchingRuleWins(t *testing.T) {
	rules, err := NewRules(
		Rule{Match: regexp.MustCompile(`\.json$`), Clusters: []fsm.ClusterName{"c1", "c2", "c1"}},
		Rule{Match: regexp.MustCompile(`^a`), Clusters: []fsm.ClusterName{"c3"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Decision{
		"a.json": {Clusters: []fsm.ClusterName{"c1", "c2"}, Rule: `rule 1 (match '\.json$')`},
		"a.log":  {Clusters: []fsm.ClusterName{"c3"}, Rule: `rule 2 (match '^a')`},
		"b.log":  {Reason: "no rule matches the name"},
	} {
		if diff := cmp.Diff(want, rules.Route(FileFacts{Name: name})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]fsm.ClusterName{"c1", "c2", "c3"}, rules.Clusters()); diff != "" {
		t.Errorf("Clusters (-want +got):\n%s", diff)
	}
}

func TestZeroRulesLeaveEveryFile(t *testing.T) {
	if d := (Rules{}).Route(FileFacts{Name: "a"}); d.Reason == "" || d.Clusters != nil {
		t.Errorf("Route = %+v, want a reason", d)
	}
}

func TestNewRulesRefusesGapsAndIllegalNames(t *testing.T) {
	all := regexp.MustCompile("")
	for _, r := range []Rule{
		{Clusters: []fsm.ClusterName{"c"}}, {Match: all}, {Match: all, Clusters: []fsm.ClusterName{"a/b"}},
	} {
		if _, err := NewRules(r); err == nil {
			t.Errorf("NewRules(%v) takes it", r)
		}
	}
}

func TestExpressionGivesClusters(t *testing.T) {
	file := FileFacts{Name: "log_2026.tar.GZ", Size: 5000, Outbox: "gateway"}
	for text, want := range map[string]string{
		`name endsWith ".json" ? "cluster1" : "cluster2"`: "cluster2",
		`ext`: "", // ".GZ" is no legal name
		`lower(ext) == ".gz" ? ["a", "b", "a"] : nil`:               "a,b",
		`size > 4096 ? "big" : "small"`:                             "big",
		`outbox == "gateway" && name matches "^log" ? "logs" : nil`: "logs",
		`split(name, "_")[0]`:                                       "log",
		`{".GZ": "zips", ".log": "logs"}[ext]`:                      "zips",
		`concat(["all"], size > 1 ? ["big"] : [])`:                  "all,big",
		`name in ["x", "y"] ? "few" : nil`:                          "",
		`"to-" + trimPrefix(ext, ".")`:                              "to-GZ",
		`ext == ".GZ" ? ["one"] : "two"`:                            "one",
		`nil`:                                                       "",
		`[]`:                                                        "",
		`""`:                                                        "",
		`["a", 1]`:                                                  "",
		`name[100:200]`:                                             "",
		`split(name, "-")[7]`:                                       "", // out of range
		`int(name) > 1 ? "a" : "b"`:                                 "", // not a number
		`size % (size - 5000) > 0 ? "a" : "b"`:                      "", // divided by zero
	} {
		d := mustRules(t, text).Route(file)
		if got := strings.ReplaceAll(nameList(d.Clusters), ", ", ","); got != cmpOr(want, "no cluster") {
			t.Errorf("%s gives %s (%s), want %q", text, got, d.Reason, want)
		}
		if (d.Reason == "") != (len(d.Clusters) > 0) || strings.Contains(d.Reason, "\n") {
			t.Errorf("%s gives %d clusters and the reason %q", text, len(d.Clusters), d.Reason)
		}
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// Each of these runs for long, fills the memory or gives something that is no
// cluster, were it taken.
func TestExpressionsThatAreNotBoundedAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`let a = name + name; let b = a + a; b`:      "let",
		`map(1..1000000, # * 2)[0] > 1 ? "a" : "b"`:  "not available",
		`len(1..1000000) > 1 ? "a" : "b"`:            "not available",
		`repeat(name, 1000000)`:                      "function repeat",
		`replace(replace(name, "", name), "", name)`: "function replace",
		`join(split(name, ""), name)`:                "function join",
		`any(["a"], # == name) ? "a" : "b"`:          "not available",
		`string(now())`:                              "not available",
		`name; "a"`:                                  "not available",
		`nosuch(name)`:                               "unknown name nosuch",
		`cluster1`:                                   "unknown name cluster1",
		`size`:                                       "gives int64",
		`size > 1`:                                   "gives bool",
		`{"a": "b"}`:                                 "gives map",
		`[1, 2]`:                                     "",
		`name +`:                                     "unexpected token",
		`name matches "("`:                           "missing closing",
		`size > "a" ? "x" : "y"`:                     "mismatched types",
		strings.Repeat("(", 5000):                    "longer than",
		strings.Repeat("(", 4000):                    "unexpected",
		strings.Repeat("!", 4000) + "true ? 'a' : 'b'": "",
		strings.Repeat("[", 4000):                      "unexpected",
		"name\n  == \"a\" ? \"x\" : nosuch":            "line 2",
	} {
		r, err := ParseRules(text)
		switch {
		case want == "": // bounded: it may be taken, and then gives a decision
			r.Route(FileFacts{Name: "a"})
		case err == nil:
			t.Errorf("%.60q is taken", text)
		case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n"):
			t.Errorf("%.60q: %v; want %q", text, err, want)
		}
	}
}

func TestRulesServeManyAtOnce(t *testing.T) {
	rules := mustRules(t, `name matches "^f[0-9]+$" ? ["c" + split(name, "f")[1]] : nil`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 200 {
				want := fmt.Sprintf("c%d", i)
				if d := rules.Route(FileFacts{Name: fmt.Sprintf("f%d", i)}); nameList(d.Clusters) != want {
					t.Errorf("got %v, want %s", d, want)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzExpression(f *testing.F) {
	for _, s := range []string{`name endsWith ".json" ? "c1" : "c2"`, `split(name, "_")[size]`, `[ext, outbox]`, `$env`, `name?.x ?? "a"`} {
		f.Add(s, "a_b.json", int64(3))
	}
	f.Fuzz(func(t *testing.T, text, name string, size int64) {
		rules, err := ParseRules(text)
		if err != nil {
			return
		}
		d := rules.Route(FileFacts{Name: name, Size: size})
		if (d.Reason == "") != (len(d.Clusters) > 0) {
			t.Errorf("%q gives %v and the reason %q", text, d.Clusters, d.Reason)
		}
		for _, c := range d.Clusters {
			if err := fsm.CheckIdent(string(c)); err != nil {
				t.Error(err)
			}
		}
	})
}
