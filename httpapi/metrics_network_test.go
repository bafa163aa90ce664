package httpapi

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// networkNode is a node with numbers of its network.
type networkNode struct {
	*fakeNode
	numbers NetworkNumbers
	known   bool
}

func (n *networkNode) NetworkNumbers() (NetworkNumbers, bool) { return n.numbers, n.known }

// networkLines is what a scrape says of the network.
func networkLines(t *testing.T, r Reporter) []string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(NewMetrics(r))
	h := NewAdmin(AdminConfig{Reporter: r, Registry: reg})
	var out []string
	for line := range strings.Lines(mustRead(t, ask(h, "GET", "/metrics", "localhost", nil))) {
		if strings.HasPrefix(line, "relay_network_") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestMetricsOfANetwork(t *testing.T) {
	t.Parallel()
	leader := &networkNode{newFakeNode(), NetworkNumbers{
		Members: map[string]int{"alive": 3, "failed": 1, "odd": 9}, Voters: 3, FailureTolerance: 0, Leader: true,
		TableIndex: 40, Raft: true, Applied: 41, Committed: 43,
	}, true}
	follower := &networkNode{newFakeNode(), NetworkNumbers{
		Members: map[string]int{"alive": 4}, Voters: 3, FailureTolerance: -1, TableIndex: 40, Applied: 1, Committed: 2,
	}, true}
	ahead := &networkNode{newFakeNode(), NetworkNumbers{Raft: true, Applied: 43, Committed: 41}, true} // the two were read at two moments
	for name, tc := range map[string]struct {
		node Reporter
		want []string
	}{
		"leader": {leader, []string{
			`relay_network_members{state="alive"} 3`, `relay_network_members{state="suspect"} 0`,
			`relay_network_members{state="failed"} 1`, `relay_network_members{state="left"} 0`,
			`relay_network_voters 3`, `relay_network_failure_tolerance 0`, `relay_network_is_leader 1`,
			`relay_network_table_index 40`, `relay_network_raft_applied_index 41`, `relay_network_raft_commit_lag 2`,
		}},
		"follower": {follower, []string{
			`relay_network_members{state="alive"} 4`, `relay_network_members{state="suspect"} 0`,
			`relay_network_members{state="failed"} 0`, `relay_network_members{state="left"} 0`,
			`relay_network_voters 3`, `relay_network_is_leader 0`, `relay_network_table_index 40`,
		}},
		"starting": {&networkNode{newFakeNode(), leader.numbers, false}, nil},
		"static":   {newFakeNode(), nil},
	} {
		if diff := cmp.Diff(tc.want, networkLines(t, tc.node), asSets); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if lines := strings.Join(networkLines(t, ahead), "\n"); !strings.Contains(lines, "relay_network_raft_commit_lag 0") {
		t.Errorf("applied above committed:\n%s", lines)
	}
}
