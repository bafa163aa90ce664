package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestKindOfNetwork(t *testing.T) {
	dir := configDir(t)
	for text, want := range map[string]NetworkKind{
		"":                                   KindMember,
		"network: { join: [n1:10090] }\n":    KindMember,
		"network: { bootstrap_expect: 1 }\n": KindMember,
		"network: { bootstrap_expect: 3, join: 'n1:10090, n2:10090' }\n":        KindMember,
		"network: { servers: [http://n1:10088, 'http://n2'], heartbeat: 3s }\n": KindClient,
		"network: { static: static.yaml }\n":                                    KindStatic,
	} {
		c := mustLoad(t, dir, text)
		if c.Kind() != want {
			t.Errorf("%q is %s, want %s", text, c.Kind(), want)
		}
		if static := c.Kind() == KindStatic; static != (c.Table.Index == 1) || static != (len(c.Table.Clusters) == 2) {
			t.Errorf("%q has the table %+v", text, c.Table)
		}
	}
}

func TestLoadReadsEveryKeyOfANetwork(t *testing.T) {
	dir := configDir(t)
	c := mustLoad(t, dir, `
name: n1
network:
  join: [n1:10090, n2:10090, "[fd00::1]:10090"]
  bootstrap_expect: 3
  heartbeat: 5s
  collector_port_start: 20000
  raft_multiplier: 3
  max_voters: 7
  dead_after: 24h
collectors:
  - { cluster: c1, spool: in }
  - { cluster: c1, spool: in2, id: x, port: 10100 }
`)
	want := Network{
		Join: []string{"n1:10090", "n2:10090", "[fd00::1]:10090"}, BootstrapExpect: 3, Heartbeat: 5 * time.Second,
		PortStart: 20000, RaftMultiplier: 3, MaxVoters: 7, DeadAfter: 24 * time.Hour,
	}
	if diff := cmp.Diff(want, c.Network); diff != "" {
		t.Errorf("network (-want +got):\n%s", diff)
	}
	if one, two := c.Collectors[0], c.Collectors[1]; one.ID != "" || one.Port != 0 || one.Address != "127.0.0.1" || two.ID != "x" || two.Port != 10100 {
		t.Errorf("collectors = %+v", c.Collectors)
	}
	want = Network{Heartbeat: 10 * time.Second, PortStart: 10100, RaftMultiplier: 1, MaxVoters: 5, DeadAfter: 72 * time.Hour}
	if diff := cmp.Diff(want, mustLoad(t, dir, "name: n1\n").Network); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

// A static network and a client open neither raft nor gossip, so these bother
// nobody there; nor does a member without peers have to say where it is.
func TestNetworksThatAreLegal(t *testing.T) {
	dir := configDir(t)
	for _, text := range []string{
		"network: { static: static.yaml }\nraft: :10088\ngossip: :10100\ncollectors: [ { id: one, cluster: c1, spool: in } ]\n",
		"network: { servers: [http://n1:10088] }\nraft: :10088\ngossip: :10088\n",
		"network: { servers: [http://n1:10088] }\nhttp: :10088\ninsecure: true\n",
		"http: :10088\nraft: :10089\ngossip: :10090\ninsecure: true\n",
		"http: :10088\nraft: :10089\ngossip: :10090\ninsecure: true\nnetwork: { bootstrap_expect: 1, join: ['127.0.0.1:10090'] }\n",
		"http: :10088\nraft: :10089\ngossip: :10090\ninsecure: true\nadvertise: n1\nnetwork: { bootstrap_expect: 3, join: [n2:10090] }\n",
		"raft: 127.0.0.1:0\ngossip: 127.0.0.1:0\nhttp: 127.0.0.1:0\n",
		"name: " + strings.Repeat("n", 64) + "\n",
		"network: { static: static.yaml }\nname: " + strings.Repeat("n", 65) + "\n",
	} {
		if _, err := loadText(t, dir, text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestOwnAddressIsKnown(t *testing.T) {
	for _, tc := range []struct {
		gossip, join string
		want         bool
	}{
		{"127.0.0.1:10090", "127.0.0.1:10090", true},
		{"127.0.0.1:10090", "localhost:10090", true},
		{"127.0.0.1:10090", "127.0.0.2:10090", false},
		{"127.0.0.1:10090", "127.0.0.1:10091", false},
		{"0.0.0.0:10090", "127.0.0.1:10090", true},
		{":10090", "N1:10090", true},
		{":10090", "relay.example.com:10090", true},
		{":10090", "n2:10090", false},
		{":10090", "10.0.0.1:10090", false},
		{"10.0.0.1:10090", "10.0.0.1:10090", true},
		{"10.0.0.1:10090", "127.0.0.1:10090", false},
		{"127.0.0.1:0", "127.0.0.1:10090", false},
	} {
		c := DefaultConfig()
		c.Name, c.Advertise, c.Gossip = "n1", "relay.example.com", tc.gossip
		host, port, err := splitAddress(tc.join)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.isSelf(host, port); got != tc.want {
			t.Errorf("gossip %s: %s is self: %t, want %t", tc.gossip, tc.join, got, tc.want)
		}
	}
}

func TestNetworkWarnings(t *testing.T) {
	dir := configDir(t)
	const listeners = "http: 10.0.0.1:10088\nraft: 10.0.0.1:10089\ngossip: 10.0.0.1:10090\ninsecure: true\n"
	const role = "uploaders: [ { spool: out, nexthop: [ { match: '', cluster: nowhere } ] } ]\n"
	for text, want := range map[string][]string{
		"": nil,
		listeners + "network: { join: [n2:10090], bootstrap_expect: 3 }\n":                          nil,
		"network: { join: ['127.0.0.2:10090'], bootstrap_expect: 3 }\n":                             nil,
		listeners + "network: { join: [n2:10090], bootstrap_expect: 4 }\n":                          {"bootstrap_expect is 4: that many voters survive no more failures than 3"},
		listeners + "network: { join: [n2:10090], bootstrap_expect: 11 }\n":                         {"bootstrap_expect is 11: every change waits"},
		listeners + "network: { bootstrap_expect: 3 }\n":                                            {"join names nobody else"},
		listeners + "network: { bootstrap_expect: 3, join: ['10.0.0.1:10090'] }\n":                  {"join names nobody else"},
		listeners + "network: { join: ['10.0.0.1:10090'] }\n":                                       {"join names nobody else"},
		listeners + "network: { join: [n2:10090] }\nadvertise: localhost\n":                         {"advertise is localhost"},
		listeners + "network: { join: [n2:10090] }\ncollectors: [ { cluster: c, spool: in } ]\n":    {"the collector listens on 127.0.0.1:0"},
		"network: { join: [n2:10090] }\n":                                                           {"http listens on 127.0.0.1:10088", "raft listens", "gossip listens"},
		"network: { servers: [http://n2] }\ncollectors: [ { cluster: c, spool: in } ]\n":            {"the collector listens on 127.0.0.1:0"},
		"network: { servers: ['http://127.0.0.1:1'] }\ncollectors: [ { cluster: c, spool: in } ]\n": nil,
	} {
		c := mustLoad(t, dir, text+role)
		ok := len(c.Warnings) == len(want)
		for i, w := range c.Warnings {
			ok = ok && strings.Contains(w.Message, want[i]) && w.Remedy != ""
		}
		if !ok {
			t.Errorf("%s\nwarnings: %v\nwant: %q", text, c.Warnings, want)
		}
	}
}

func TestMemberExposesRaftAndGossip(t *testing.T) {
	c := mustLoad(t, configDir(t), "raft: 10.0.0.1:1\ngossip: n1:2\ninsecure: true\ncollectors: [ { cluster: c, spool: in, address: n1 } ]\n")
	if diff := cmp.Diff([]string{"10.0.0.1:1", "n1:2", "n1:0"}, c.Exposed()); diff != "" {
		t.Errorf("Exposed (-want +got):\n%s", diff)
	}
}

// Nobody is asked, so it can't be said that a network lacks a cluster.
func TestExplainInANetwork(t *testing.T) {
	dir := configDir(t)
	c := mustLoad(t, dir, "uploaders: [ { spool: out, nexthop: '\"c9\"' } ]\ntests: [ { name: a, cluster: c9 } ]\n")
	want := fmt.Sprintf("a in %s: goes by the expression\n  c9: the network knows who collects for it", filepath.Join(dir, "out"))
	if routes := Explain(c, FileFacts{Name: "a"}); len(routes) != 1 || routes[0].String() != want {
		t.Errorf("got %v, want %s", routes, want)
	}
	if ps := RunTests(c); ps != nil {
		t.Errorf("RunTests: %v", ps)
	}
}
