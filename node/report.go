package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// report is what GET /v1/spools says of an outbox.
func (r *uploaderRole) report() httpapi.Spool {
	st := r.outbox.Stats()
	out := httpapi.Spool{
		Name: r.cfg.Name, Kind: httpapi.KindOutbox, Path: r.cfg.Spool,
		Queued: st.Queued, Dead: st.Dead, OldestS: st.OldestS, Notes: st.Fallbacks,
		Waiting: countsOf(st.Waiting), Rejected: countsOf(st.Rejected), Targets: []httpapi.Target{},
	}
	u := r.uploader
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	sending := u.sendingLocked()
	out.InFlight = sending
	out.Queued += max(0, st.Claimed-sending)
	clusters := map[fsm.CollectorID]fsm.ClusterName{}
	for name, cl := range u.routes.table.Clusters {
		for _, c := range cl.Collectors {
			clusters[c.ID] = name
		}
	}
	oldest := u.oldestLocked(now)
	for _, t := range u.targets {
		if !u.mentionsLocked(t, clusters[t.id]) {
			continue
		}
		tr := t.report(now)
		tr.Cluster, tr.OldestS = string(clusters[t.id]), oldest[t]
		out.Targets = append(out.Targets, tr)
	}
	slices.SortFunc(out.Targets, func(a, b httpapi.Target) int { return cmp.Compare(a.Collector, b.Collector) })
	if n, sample := u.homelessLocked(); n > 0 {
		out.Waiting = append(out.Waiting, httpapi.Waiting{Reason: "collector left its cluster and no other takes its files (claimed)", Files: n, Sample: sample})
	}
	for _, reason := range slices.Sorted(maps.Keys(u.unrouted)) {
		out.Waiting = append(out.Waiting, httpapi.Waiting{Reason: reason + " (claimed)", Files: u.unrouted[reason].Len()})
	}
	return out
}

// sendingLocked counts the items that some request carries.
func (u *uploader) sendingLocked() (n int) {
	for _, t := range u.active {
		for _, d := range t.debts {
			if d.state == debtSending {
				n++
				break
			}
		}
	}
	return n
}

// homelessLocked counts the items with a debt whose collector is gone.
func (u *uploader) homelessLocked() (n int, sample string) {
	for _, t := range u.active {
		for _, d := range t.debts {
			if d.state == debtWaiting && !isAll(d.mode) && !u.servesLocked(d) {
				n, sample = n+1, t.item.Name
				break
			}
		}
	}
	return n, sample
}

// oldestLocked returns for each collector the seconds since the oldest item in
// memory that it is owed was claimed.
func (u *uploader) oldestLocked(now time.Time) map[*target]float64 {
	out := map[*target]float64{}
	for _, t := range u.active {
		for _, d := range t.debts {
			if d.state == debtWaiting || d.state == debtSending || d.state == debtParked {
				out[d.to] = max(out[d.to], now.Sub(t.since).Seconds())
			}
		}
	}
	return out
}

// mentionsLocked reports whether a target belongs in the outbox's report: one
// that its rules can lead to, or that it owes something.
func (u *uploader) mentionsLocked(t *target, cluster fsm.ClusterName) bool {
	named := u.routes.rules.Clusters()
	return len(named) == 0 || slices.Contains(named, cluster) || t.load() > 0
}

// report says how a collector stands, as seen from this outbox.
func (t *target) report(now time.Time) httpapi.Target {
	out := httpapi.Target{
		Collector: string(t.id), Queued: t.load() - t.itemsSending, InFlight: t.itemsSending,
		State: httpapi.TargetOK, AtLeastOnce: t.kind == peerOriginal,
	}
	switch {
	case t.breaker.open():
		out.State, out.Reason = httpapi.TargetBackoff, t.why
		if wait := t.breaker.until.Sub(now); wait > 0 {
			out.Reason += fmt.Sprintf(" (next try in %s)", wait.Round(100*time.Millisecond))
		}
	case t.down:
		out.State, out.Reason = httpapi.TargetBackoff, reasonDown
	case t.gone:
		out.State = httpapi.TargetGone
	case t.drain.on:
		out.State, out.Reason = httpapi.TargetDraining, "takes nothing new"
	}
	return out
}

func countsOf(m map[string]spool.Count) []httpapi.Waiting {
	var out []httpapi.Waiting
	for _, reason := range slices.Sorted(maps.Keys(m)) {
		out = append(out, httpapi.Waiting{Reason: reason, Files: m[reason].N, Sample: m[reason].Sample})
	}
	return out
}

// report is what GET /v1/spools says of an inbox.
func (r *collectorRole) report() httpapi.Spool {
	st := r.inbox.Stats()
	return httpapi.Spool{
		Name: string(r.cfg.ID), Kind: httpapi.KindInbox, Path: r.cfg.Spool,
		Queued: st.Partials, InFlight: st.UnderWay, Dead: st.Dead, State: st.Reason, Targets: []httpapi.Target{},
		Inbox: &httpapi.InboxCounts{
			Collector: string(r.cfg.ID), Cluster: string(r.cfg.Cluster), Address: r.listener.Addr().String(),
			Published: uint64(st.Published), Renamed: uint64(st.Renamed), Duplicates: uint64(st.Duplicates),
			SyncFailures: uint64(st.SyncFailures), RefusedConns: r.listener.Refused(),
		},
	}
}
