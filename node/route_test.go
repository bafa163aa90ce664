package node

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// routed is a configuration with three modes and a filter.
const routed = `
network: { static: modes.yaml }
uploaders:
  - spool: out
    name: gateway
    filter: '^[^_]'
    nexthop:
      - { match: '\.json$', cluster: every }
      - { match: '\.log$', cluster: [single, keyed] }
      - { match: '\.lost$', cluster: nowhere }
      - { match: '\.idle$', cluster: drained }
  - spool: out2
    nexthop: 'size > 10 ? "every" : nil'
tests:
`

func routedConfig(t *testing.T, tests string) Config {
	t.Helper()
	dir := configDir(t)
	mustWrite(t, dir+"/modes.yaml", `clusters:
  every: [ { id: b, address: h, port: 1 }, { id: a, address: h, port: 2 } ]
  single: { mode: one, collectors: [ { id: s1, address: h, port: 3 }, { id: s2, address: h, port: 4, state: draining } ] }
  keyed:
    mode: key
    key: '^([^-]*)-'
    collectors: [ { id: k1, address: h, port: 5 }, { id: k2, address: h, port: 6 }, { id: k3, address: h, port: 7 } ]
  drained: [ { id: d, address: h, port: 8, state: draining } ]
`)
	return mustLoad(t, dir, routed+tests)
}

func TestExplainSaysWhichRuleAndWhoGetsIt(t *testing.T) {
	c := routedConfig(t, "")
	for name, want := range map[string]string{
		"a.json": "a.json in gateway: goes by rule 1 (match '\\.json$')\n  every (all): a, b: a copy to each of them",
		"a.lost": "a.lost in gateway: goes by rule 3 (match '\\.lost$')\n  nowhere: the cluster is unknown: the file waits",
		"a.idle": "a.idle in gateway: goes by rule 4 (match '\\.idle$')\n  drained: no collector takes new files: the file waits",
		"a.txt":  "a.txt in gateway: stays: no rule matches the name",
		"_a.log": "_a.log in gateway: stays: the filter '^[^_]' does not match the name",
		"a.tmp":  "a.tmp in gateway: stays: names that end in .tmp are half-written files",
		".a":     "stays: bad name: begins with a dot",
		"a/b":    "contains a slash",
	} {
		routes := Explain(c, FileFacts{Name: name, Outbox: "gateway"})
		if len(routes) != 1 || !strings.Contains(routes[0].String(), want) {
			t.Errorf("%s: got %v, want %q", name, routes, want)
		}
	}
}

func TestExplainNamesThePreferredCollectorOfAKey(t *testing.T) {
	c := routedConfig(t, "")
	first := func(name string) RouteChoice {
		return Explain(c, FileFacts{Name: name, Outbox: "gateway"})[0].Targets[1]
	}
	a, b := first("device7-1.log"), first("device7-2.log")
	if a.Key != "device7" || a.Mode != fsm.ModeKey || len(a.Collectors) != 3 {
		t.Errorf("choice = %+v", a)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("files with one key go apart (-one +other):\n%s", diff)
	}
}

func TestExplainAsksEveryOutboxUnlessOneIsNamed(t *testing.T) {
	c := routedConfig(t, "")
	if routes := Explain(c, FileFacts{Name: "a.json", Size: 11}); len(routes) != 2 || len(routes[1].Targets) != 1 {
		t.Errorf("got %v", routes)
	}
	if routes := Explain(c, FileFacts{Name: "a.json", Outbox: "nope"}); routes != nil {
		t.Errorf("got %v", routes)
	}
}

func TestRunTestsNamesTheLineOfEachFailure(t *testing.T) {
	c := routedConfig(t, `
  - { name: a.json, outbox: gateway, cluster: every }
  - { name: a.json, outbox: gateway, cluster: single }
  - { name: a.log, outbox: gateway, cluster: [keyed, single] }
  - { name: b, outbox: out2, size: 11, cluster: every }
  - { name: b, outbox: out2, cluster: every }
  - { name: _x, outbox: gateway, cluster: null }
  - { name: a.json, outbox: gateway, cluster: null }
`)
	var got []string
	for _, p := range RunTests(c) {
		got = append(got, strings.TrimPrefix(p.String(), c.File))
	}
	want := []string{
		`:17:5: test failed: "a.json" goes to every (rule 1 (match '\.json$')), want single; mend the rules or the test`,
		`:20:5: test failed: "b" goes to no cluster (the expression gives no cluster), want every; mend the rules or the test`,
		`:22:5: test failed: "a.json" goes to every (rule 1 (match '\.json$')), want no cluster; mend the rules or the test`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RunTests (-want +got):\n%s", diff)
	}
}

func TestReloadableNamesWhatNeedsARestart(t *testing.T) {
	dir := configDir(t)
	const text = "name: a\nuploaders:\n  - { spool: out, nexthop: '\"c1\"', filter: x }\ncollectors:\n  - { id: i, cluster: c, port: 1, spool: in }\n"
	mustWrite(t, dir+"/one.yaml", "clusters: { c: [ { id: i, address: 127.0.0.1, port: 1 } ] }\n")
	running := mustLoad(t, dir, text)
	for change, want := range map[string]string{
		"":                       "",
		"filter: x=>filter: y":   "",
		`"c1"=>name`:             "",
		"name: a\n=>\nname: a\n": "", // another line, the same setting
		"name: a=>name: b":       "name",
		"name: a\n=>http: 127.0.0.1:2\nname: a\ninsecure: true\nlog_level: debug\n": "http, insecure, log_level",
		"name: a\n=>name: a\nnetwork: { heartbeat: 3s }\n":                          "network",
		"name: a\n=>name: a\nnetwork: { join: [n2:1] }\n":                           "network",
		"name: a\n=>name: a\nnetwork: { bootstrap_expect: 3 }\n":                    "network",
		"name: a\n=>name: a\nnetwork: { servers: [http://n2] }\n":                   "network",
		"name: a\n=>name: a\nnetwork: { static: one.yaml }\n":                       "network",
		"name: a\n=>name: a\nnetwork: { collector_port_start: 1 }\n":                "network",
		"name: a\n=>name: a\nnetwork: { raft_multiplier: 2 }\n":                     "network",
		"name: a\n=>name: a\nnetwork: { max_voters: 3 }\n":                          "network",
		"name: a\n=>name: a\nnetwork: { dead_after: 1h }\n":                         "network",
		"filter: x=>filter: x, max_conn: 3":                                         "outbox DIR/out has other settings",
		"spool: out=>spool: out2":                                                   "outbox DIR/out is gone, outbox DIR/out2 is new",
		"port: 1=>port: 2":                                                          "inbox DIR/in has other settings",
		"spool: in =>spool: in2 ":                                                   "inbox DIR/in is gone, inbox DIR/in2 is new",
	} {
		from, to, _ := strings.Cut(change, "=>")
		next := mustLoad(t, dir, strings.Replace(text, from, to, 1))
		got := strings.ReplaceAll(strings.Join(Reloadable(running, next), ", "), dir, "DIR")
		if strings.ReplaceAll(got, `\`, "/") != want {
			t.Errorf("%q: %q, want %q", change, got, want)
		}
	}
}
