package node

import (
	"fmt"
	"slices"
)

// Reloadable names what differs between the configuration a node runs with and
// a new one but cannot change while it runs, in words and in the order of the
// file; it is empty when a reload can take everything over. Rules, filters, the
// content of the static file and tests can change; everything else needs a
// restart.
func Reloadable(running, next Config) []string {
	var fixed []string
	note := func(key string, differs bool) {
		if differs {
			fixed = append(fixed, key)
		}
	}
	note("name", running.Name != next.Name)
	note("data_dir", running.DataDir != next.DataDir)
	note("http", running.HTTP != next.HTTP)
	note("raft", running.Raft != next.Raft)
	note("gossip", running.Gossip != next.Gossip)
	note("advertise", running.Advertise != next.Advertise)
	note("insecure", running.Insecure != next.Insecure)
	note("log_format", running.Log.Format != next.Log.Format)
	note("log_level", running.Log.Level != next.Log.Level)
	note("network", networkDiffers(running.Network, next.Network))
	fixed = append(fixed, uploadersDiffer(running.Uploaders, next.Uploaders)...)
	return append(fixed, collectorsDiffer(running.Collectors, next.Collectors)...)
}

func networkDiffers(a, b Network) bool {
	return !slices.Equal(a.Join, b.Join) || !slices.Equal(a.Servers, b.Servers) ||
		a.BootstrapExpect != b.BootstrapExpect || a.Heartbeat != b.Heartbeat || a.Static != b.Static ||
		a.PortStart != b.PortStart || a.RaftMultiplier != b.RaftMultiplier || a.MaxVoters != b.MaxVoters || a.DeadAfter != b.DeadAfter
}

// uploadersDiffer compares by the outbox, so that the order may change.
func uploadersDiffer(running, next []Uploader) []string {
	var fixed []string
	for _, u := range running {
		i := slices.IndexFunc(next, func(n Uploader) bool { return n.Spool == u.Spool })
		switch {
		case i < 0:
			fixed = append(fixed, fmt.Sprintf("outbox %s is gone", u.Spool))
		case fixedUploader(u) != fixedUploader(next[i]):
			fixed = append(fixed, fmt.Sprintf("outbox %s has other settings", u.Spool))
		}
	}
	for _, n := range next {
		if !slices.ContainsFunc(running, func(u Uploader) bool { return u.Spool == n.Spool }) {
			fixed = append(fixed, fmt.Sprintf("outbox %s is new", n.Spool))
		}
	}
	return fixed
}

// uploaderKey is what of an uploader cannot change while it runs.
type uploaderKey struct {
	name, cron, archive, ready string
	watch                      bool
	maxConn, window            int
	settle, maxAge             int64
}

func fixedUploader(u Uploader) uploaderKey {
	return uploaderKey{
		name: u.Name, cron: u.CronTime, archive: u.Archive, ready: u.Ready, watch: u.Watch,
		maxConn: u.MaxConn, window: u.Window, settle: int64(u.Settle), maxAge: int64(u.MaxAge),
	}
}

// collectorsDiffer compares by the inbox.
func collectorsDiffer(running, next []Collector) []string {
	var fixed []string
	for _, c := range running {
		i := slices.IndexFunc(next, func(n Collector) bool { return n.Spool == c.Spool })
		if i < 0 {
			fixed = append(fixed, fmt.Sprintf("inbox %s is gone", c.Spool))
			continue
		}
		c.Line = next[i].Line
		if c != next[i] {
			fixed = append(fixed, fmt.Sprintf("inbox %s has other settings", c.Spool))
		}
	}
	for _, n := range next {
		if !slices.ContainsFunc(running, func(c Collector) bool { return c.Spool == n.Spool }) {
			fixed = append(fixed, fmt.Sprintf("inbox %s is new", n.Spool))
		}
	}
	return fixed
}
