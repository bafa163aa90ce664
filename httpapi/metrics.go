package httpapi

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics is the prometheus collector of a node. At each scrape it asks the
// [Reporter] and turns the answer into numbers, so a gauge is what the spools
// hold now and cannot drift from it. It keeps no state.
//
// Names, all counting files unless the name has a unit:
//
//	relay_build_info{version,node}                     always 1
//	relay_ready                                        1 when /readyz says 200
//	relay_insecure                                     1 when the node listens off loopback without keys
//	relay_uptime_seconds                               since the node started
//	relay_outbox_queued_files{outbox}                  waiting, claimed or not
//	relay_outbox_in_flight_files{outbox}               being sent
//	relay_outbox_dead_files{outbox}                    set aside
//	relay_outbox_oldest_seconds{outbox}                age of the oldest queued file, 0 when none
//	relay_outbox_waiting_files{outbox}                 offered to nobody yet; /v1/spools has the reasons
//	relay_outbox_rejected_files{outbox}                never taken as they are; /v1/spools has the reasons
//	relay_target_queued_files{outbox,collector}        owed to that collector
//	relay_target_in_flight_files{outbox,collector}     being sent to it
//	relay_target_oldest_seconds{outbox,collector}      age of the oldest file owed to it, 0 when none
//	relay_target_ok{outbox,collector}                  1 when its state is ok
//	relay_inbox_receiving_files{inbox,collector}       being received
//	relay_inbox_partial_files{inbox,collector}         partial uploads kept for resuming
//	relay_inbox_published_files_total{inbox,collector}   since the node started
//	relay_inbox_duplicate_files_total{inbox,collector}   answered with an earlier receipt
//	relay_inbox_renamed_files_total{inbox,collector}     published under another name
//	relay_inbox_sync_failures_total{inbox,collector}     each cost files that were not acknowledged
//	relay_inbox_refused_connections_total{inbox,collector}  turned away by the listener's limits
//
// A node in a network of several has these too; see [NetworkReporter]:
//
//	relay_network_members{state}                       nodes in sight: alive, suspect, failed, left
//	relay_network_voters                               nodes that agree on changes
//	relay_network_failure_tolerance                    voters that may still fail; the leader knows it
//	relay_network_is_leader                            1 on the node that leads
//	relay_network_table_index                          grows with every change of the table
//	relay_network_raft_applied_index                   the last log entry that this node applied
//	relay_network_raft_commit_lag                      committed log entries that it has not applied
//	relay_network_blocked_polls                        requests that wait for a change of the table
//
// Outbox and inbox are the names of the spools, collector is an id. The totals
// are counted by the inbox itself and begin at 0 with the process.
type Metrics struct{ reporter Reporter }

// NewMetrics returns the collector that reads from reporter. Register it once.
func NewMetrics(reporter Reporter) *Metrics { return &Metrics{reporter: reporter} }

// metric is one family of numbers.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("relay_"+name, help, labels, nil), prometheus.GaugeValue}
}

func total(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("relay_"+name, help, labels, nil), prometheus.CounterValue}
}

var (
	metricBuild    = gauge("build_info", "Always 1.", "version", "node")
	metricReady    = gauge("ready", "1 when the node does its work.")
	metricInsecure = gauge("insecure", "1 when the node listens off loopback without keys.")
	metricUptime   = gauge("uptime_seconds", "Seconds since the node started.")

	metricQueued   = gauge("outbox_queued_files", "Files waiting in an outbox, claimed or not.", "outbox")
	metricFlight   = gauge("outbox_in_flight_files", "Files of an outbox being sent.", "outbox")
	metricDead     = gauge("outbox_dead_files", "Files of an outbox set aside.", "outbox")
	metricOldest   = gauge("outbox_oldest_seconds", "Age of the oldest queued file of an outbox.", "outbox")
	metricWaiting  = gauge("outbox_waiting_files", "Files of an outbox that nobody is offered yet.", "outbox")
	metricRejected = gauge("outbox_rejected_files", "Entries of an outbox that are never taken as they are.", "outbox")

	metricTargetQueued = gauge("target_queued_files", "Files owed to a collector.", "outbox", "collector")
	metricTargetFlight = gauge("target_in_flight_files", "Files being sent to a collector.", "outbox", "collector")
	metricTargetOldest = gauge("target_oldest_seconds", "Age of the oldest file owed to a collector.", "outbox", "collector")
	metricTargetOK     = gauge("target_ok", "1 when nothing is wrong with a collector.", "outbox", "collector")

	metricReceiving  = gauge("inbox_receiving_files", "Files being received.", "inbox", "collector")
	metricPartial    = gauge("inbox_partial_files", "Partial uploads kept for resuming.", "inbox", "collector")
	metricPublished  = total("inbox_published_files_total", "Files published since the node started.", "inbox", "collector")
	metricDuplicates = total("inbox_duplicate_files_total", "Files answered with an earlier receipt.", "inbox", "collector")
	metricRenamed    = total("inbox_renamed_files_total", "Files published under another name.", "inbox", "collector")
	metricSyncFails  = total("inbox_sync_failures_total", "Failed syncs.", "inbox", "collector")
	metricRefused    = total("inbox_refused_connections_total", "Connections turned away by the limits.", "inbox", "collector")
)

var allMetrics = []metric{
	metricBuild, metricReady, metricInsecure, metricUptime,
	metricQueued, metricFlight, metricDead, metricOldest, metricWaiting, metricRejected,
	metricTargetQueued, metricTargetFlight, metricTargetOldest, metricTargetOK,
	metricReceiving, metricPartial, metricRenamed, metricSyncFails, metricPublished, metricDuplicates, metricRefused,
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range allMetrics {
		ch <- m.desc
	}
	for _, m := range networkMetrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector]. It may run several times at once.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	s := scrape{ch: ch, seen: map[series]bool{}}
	s.status(m.reporter.Status())
	if n, ok := m.reporter.(NetworkReporter); ok {
		s.network(n.NetworkNumbers())
	}
	for _, sp := range m.reporter.Spools().Spools {
		switch sp.Kind {
		case KindOutbox:
			s.outbox(sp)
		case KindInbox:
			s.inbox(sp)
		}
	}
}

// scrape is one run of Collect. A number that comes twice would spoil the whole
// page, so seen lets only the first through.
type scrape struct {
	ch   chan<- prometheus.Metric
	seen map[series]bool
}

// series is one line of the page.
type series struct {
	desc   *prometheus.Desc
	labels string
}

func (s scrape) status(st Status) {
	s.put(metricBuild, 1, st.Version, st.Name)
	s.put(metricReady, flag(st.Ready))
	s.put(metricInsecure, flag(st.Insecure))
	s.put(metricUptime, st.UptimeS)
}

func (s scrape) outbox(sp Spool) {
	s.put(metricQueued, float64(sp.Queued), sp.Name)
	s.put(metricFlight, float64(sp.InFlight), sp.Name)
	s.put(metricDead, float64(sp.Dead), sp.Name)
	s.put(metricOldest, sp.OldestS, sp.Name)
	s.put(metricWaiting, sum(sp.Waiting), sp.Name)
	s.put(metricRejected, sum(sp.Rejected), sp.Name)
	for _, t := range sp.Targets {
		s.put(metricTargetQueued, float64(t.Queued), sp.Name, t.Collector)
		s.put(metricTargetFlight, float64(t.InFlight), sp.Name, t.Collector)
		s.put(metricTargetOldest, t.OldestS, sp.Name, t.Collector)
		s.put(metricTargetOK, flag(t.State == TargetOK), sp.Name, t.Collector)
	}
}

func (s scrape) inbox(sp Spool) {
	c := InboxCounts{}
	if sp.Inbox != nil {
		c = *sp.Inbox
	}
	s.put(metricReceiving, float64(sp.InFlight), sp.Name, c.Collector)
	s.put(metricPartial, float64(sp.Queued), sp.Name, c.Collector)
	s.put(metricPublished, float64(c.Published), sp.Name, c.Collector)
	s.put(metricDuplicates, float64(c.Duplicates), sp.Name, c.Collector)
	s.put(metricRenamed, float64(c.Renamed), sp.Name, c.Collector)
	s.put(metricSyncFails, float64(c.SyncFailures), sp.Name, c.Collector)
	s.put(metricRefused, float64(c.RefusedConns), sp.Name, c.Collector)
}

// put sends one number. Labels are made valid UTF-8, since a spool's name is a
// path unless configured otherwise, and paths are bytes.
func (s scrape) put(m metric, v float64, labels ...string) {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\uFFFD")
	}
	key := series{m.desc, strings.Join(labels, "\x00")}
	if s.seen[key] {
		return
	}
	s.seen[key] = true
	s.ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, labels...)
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func sum(ws []Waiting) float64 {
	n := 0
	for _, w := range ws {
		n += w.Files
	}
	return float64(n)
}
