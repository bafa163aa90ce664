package node

import (
	"context"
	"fmt"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// Status implements httpapi.Reporter.
func (n *Node) Status() httpapi.Status {
	_, cols := n.roles()
	n.mu.Lock()
	st := httpapi.Status{
		Version: n.version, NodeID: n.id.NodeID, Name: n.cfg.Name, Role: httpapi.RoleStatic,
		Index: n.cfg.Table.Index, Ready: n.ready, Reason: n.reason,
		UptimeS: time.Since(n.started).Seconds(), Insecure: n.cfg.Insecure,
	}
	for _, w := range n.cfg.Warnings {
		st.Warnings = append(st.Warnings, w.String())
	}
	n.mu.Unlock()
	if st.Insecure {
		st.Warnings = append(st.Warnings, "insecure: whoever can reach the listeners can read, send and administer")
	}
	for _, c := range cols {
		if why := c.inbox.Stats().Reason; st.Ready && why != "" {
			st.Ready, st.Reason = false, fmt.Sprintf("collector %s: %s", c.cfg.ID, why)
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

// Clusters implements httpapi.Reporter. The table of a static network changes
// only when it is reloaded.
func (n *Node) Clusters(ctx context.Context, index uint64, wait time.Duration) (httpapi.Clusters, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		n.mu.Lock()
		table, changed := n.cfg.Table, n.changed
		n.mu.Unlock()
		if table.Index > index {
			return httpapi.NewClusters(table, nil), nil
		}
		select {
		case <-ctx.Done():
			return httpapi.NewClusters(table, nil), nil
		case <-timer.C:
			return httpapi.NewClusters(table, nil), nil
		case <-changed:
		}
	}
}
