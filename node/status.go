package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// Status implements httpapi.Reporter.
func (n *Node) Status() httpapi.Status {
	_, cols := n.roles()
	id := n.id.get()
	n.mu.Lock()
	st := httpapi.Status{
		Version: n.version, NodeID: id.NodeID, Name: n.cfg.Name, Role: httpapi.RoleStatic,
		Index: n.tables.index(), Ready: n.ready, Reason: n.reason,
		UptimeS: time.Since(n.started).Seconds(), Insecure: n.cfg.Insecure,
	}
	for _, w := range n.cfg.Warnings {
		st.Warnings = append(st.Warnings, w.String())
	}
	member, client, registrars := n.member, n.client, slices.Clone(n.registrars)
	n.mu.Unlock()
	if st.Insecure {
		st.Warnings = append(st.Warnings, "insecure: whoever can reach the listeners can read, send and administer")
	}
	switch {
	case member != nil:
		member.status(&st)
	case client != nil:
		client.status(&st)
	case n.networkAPI() != nil:
		st.Role = "" // not known yet, or no more
	}
	for _, c := range cols {
		if why := c.inbox.Stats().Reason; st.Ready && why != "" {
			st.Ready, st.Reason = false, fmt.Sprintf("collector %s: %s", c.cfg.ID, why)
		}
	}
	for _, r := range registrars {
		if why := r.status(); st.Ready && why != "" {
			st.Ready, st.Reason = false, fmt.Sprintf("collector %s: %s", r.has.ID, why)
		}
	}
	return st
}

// Spools implements httpapi.Reporter.
func (n *Node) Spools() httpapi.Spools {
	ups, cols := n.roles()
	out := httpapi.Spools{Spools: []httpapi.Spool{}}
	for _, r := range ups {
		out.Spools = append(out.Spools, r.report())
	}
	for _, r := range cols {
		out.Spools = append(out.Spools, r.report())
	}
	return out
}

// Clusters implements httpapi.Reporter.
func (n *Node) Clusters(ctx context.Context, index uint64, wait time.Duration) (httpapi.Clusters, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		table, changed := n.tables.get()
		if table.Index > index {
			return httpapi.NewClusters(table, n.alive()), nil
		}
		select {
		case <-ctx.Done():
			return httpapi.NewClusters(table, n.alive()), nil
		case <-timer.C:
			return httpapi.NewClusters(table, n.alive()), nil
		case <-changed:
		}
	}
}

// alive tells of a collector whether its node is in sight; nil where nobody can.
func (n *Node) alive() func(fsm.Collector) bool {
	n.mu.Lock()
	member := n.member
	n.mu.Unlock()
	if member == nil {
		return nil
	}
	return member.alive()
}
