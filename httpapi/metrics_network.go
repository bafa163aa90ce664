package httpapi

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// NetworkReporter is a [Reporter] of a node that may be in a network of several.
// The metrics ask for it; a Reporter without it has no relay_network_ numbers.
type NetworkReporter interface {
	// NetworkNumbers returns at once. It is false when there is nothing to tell:
	// in a static network, and while the node starts or stops.
	NetworkNumbers() (NetworkNumbers, bool)
}

// NetworkNumbers are what the metrics tell of a network.
type NetworkNumbers struct {
	Members map[string]int // nodes by state: alive, suspect, failed, left
	Voters  int
	// FailureTolerance is how many voters may still fail; below 0 where that is
	// not known, which is everywhere but at the leader.
	FailureTolerance int
	Leader           bool   // this node leads
	TableIndex       uint64 // of the table as this node knows it
	// Raft is set where raft goes; Applied and Committed mean nothing elsewhere.
	Raft      bool
	Applied   uint64 // index of the last log entry applied
	Committed uint64 // index of the last one known to be committed
}

var (
	metricMembers   = gauge("network_members", "Nodes in sight of gossip.", "state")
	metricVoters    = gauge("network_voters", "Nodes that agree on changes.")
	metricTolerance = gauge("network_failure_tolerance", "Voters that may still fail.")
	metricLeader    = gauge("network_is_leader", "1 on the node that leads.")
	metricTable     = gauge("network_table_index", "Grows with every change of the table.")
	metricApplied   = gauge("network_raft_applied_index", "The last log entry applied.")
	metricCommitLag = gauge("network_raft_commit_lag", "Committed log entries not applied yet.")
)

var networkMetrics = []metric{
	metricMembers, metricVoters, metricTolerance, metricLeader, metricTable, metricApplied, metricCommitLag,
}

// memberStates always have a line, so that an alert on failed nodes has one.
var memberStates = []string{"alive", "suspect", "failed", "left"}

func (s scrape) network(n NetworkNumbers, known bool) {
	if !known {
		return
	}
	for _, state := range memberStates {
		s.put(metricMembers, float64(n.Members[state]), state)
	}
	s.put(metricVoters, float64(n.Voters))
	if n.FailureTolerance >= 0 {
		s.put(metricTolerance, float64(n.FailureTolerance))
	}
	s.put(metricLeader, flag(n.Leader))
	s.put(metricTable, float64(n.TableIndex))
	if !n.Raft {
		return
	}
	lag := uint64(0)
	if n.Committed > n.Applied {
		lag = n.Committed - n.Applied
	}
	s.put(metricApplied, float64(n.Applied))
	s.put(metricCommitLag, float64(lag))
}

// registerPolls shows how many requests wait for a change of the table. An API
// that is made twice on one registry shows those of the first.
func registerPolls(registry *prometheus.Registry, polls *atomic.Int64) {
	_ = registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "relay_network_blocked_polls", Help: "Requests that wait for a change of the table.",
	}, func() float64 { return float64(polls.Load()) }))
}
