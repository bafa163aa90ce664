package httpapi

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// TestClientSpeaksToTheNetwork calls every method once against the handlers.
func TestClientSpeaksToTheNetwork(t *testing.T) {
	t.Parallel()
	var got string
	note := func(format string, args ...any) error {
		got = fmt.Sprintf(format, args...)
		return nil
	}
	contact := 1.5
	n := &fakeNetwork{
		members: Members{Members: []Member{{NodeID: "id", Name: "n1", Role: RoleVoter, Reason: "why"}}, Refused: []Refusal{{Name: "n9"}}},
		health: func(context.Context) (Health, error) {
			return Health{Leader: "n1", Nodes: []NodeHealth{{Name: "n1", LastContactMS: &contact}}}, nil
		},
		remove: func(_ context.Context, node string) error { return note("remove %s", node) },
		putCluster: func(_ context.Context, name string, spec ClusterSpec) error {
			return note("cluster %s %+v", name, spec)
		},
		delCluster: func(_ context.Context, name string) error { return note("no cluster %s", name) },
		put: func(_ context.Context, cluster, id string, reg Registration) (Registered, error) {
			return Registered{ID: id, Port: 10100, Index: 8}, note("put %s/%s %+v", cluster, id, reg)
		},
		del: func(_ context.Context, cluster, id string) error { return note("no collector %s/%s", cluster, id) },
		drain: func(_ context.Context, cluster, id string, drain bool) error {
			return note("drain %s/%s %t", cluster, id, drain)
		},
		transfer: func(_ context.Context, to string) error { return note("transfer %q", to) },
		probe: func(_ context.Context, q Probe) (ProbeAnswer, error) {
			return ProbeAnswer{OK: true, Expect: 3, Members: q.Members}, note("probe %+v", q)
		},
	}
	c := newTestClient(t, newNetworkAdmin(t, newFakeNode(), n))
	ctx := t.Context()

	members, err := c.Members(ctx)
	check(t, n.members, members, err)
	health, err := c.Health(ctx)
	want, _ := n.health(ctx)
	check(t, want, health, err)
	reg := Registration{Node: "id", Address: "::1", SkipPorts: []int{10100}}
	registered, err := c.PutCollector(ctx, "cluster1", "c:1", reg)
	check(t, Registered{ID: "c:1", Port: 10100, Index: 8}, registered, err)
	check(t, fmt.Sprintf("put cluster1/c:1 %+v", reg), got, nil)
	q := Probe{From: "id2", Name: "n2", Expect: 3, Members: []string{"id", "id2"}, Version: 1}
	answer, err := c.Probe(ctx, q)
	check(t, ProbeAnswer{OK: true, Expect: 3, Members: q.Members}, answer, err)
	check(t, fmt.Sprintf("probe %+v", q), got, nil)

	for _, tc := range []struct {
		want string
		call func() error
	}{
		{"remove a/../b ?", func() error { return c.RemoveMember(ctx, "a/../b ?") }},
		{"cluster c {Mode:one Key: FailoverAfter:1m}", func() error { return c.SetCluster(ctx, "c", ClusterSpec{Mode: "one", FailoverAfter: "1m"}) }},
		{"no cluster gone", func() error { return c.DeleteCluster(ctx, "gone") }},
		{"no collector c/c9", func() error { return c.DeleteCollector(ctx, "c", "c9") }},
		{"no collector cluster1/c1", func() error { return c.DeleteCollector(ctx, "", "c1") }}, // looked up
		{"drain cluster1/c1 true", func() error { return c.Drain(ctx, "c1") }},
		{"drain cluster1/c1 false", func() error { return c.Undrain(ctx, "c1") }},
		{`transfer "n2"`, func() error { return c.TransferLeadership(ctx, "n2") }},
		{`transfer ""`, func() error { return c.TransferLeadership(ctx, "") }},
	} {
		got = ""
		if err := tc.call(); err != nil || got != tc.want {
			t.Errorf("the network got %q, want %q: %v", got, tc.want, err)
		}
	}
	for name, call := range map[string]func() error{
		"drain": func() error { return c.Drain(ctx, "nobody") }, "undrain": func() error { return c.Undrain(ctx, "nobody") },
		"delete": func() error { return c.DeleteCollector(ctx, "", "nobody") },
	} {
		if err := call(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of nobody: %v, want ErrNotFound", name, err)
		}
	}
}
