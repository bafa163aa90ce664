package node

import (
	"fmt"
	"io"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// SnapshotInfo is what a snapshot of a network holds, for people and programs
// that look at one without a network.
type SnapshotInfo struct {
	NetworkID string            `json:"network_id"`
	Index     uint64            `json:"index"`    // raft index of the last command in it
	Clusters  []SnapshotCluster `json:"clusters"` // sorted by name, never null
	Nodes     []SnapshotNode    `json:"nodes"`    // sorted by id, never null
}

// SnapshotCluster is one cluster of a snapshot.
type SnapshotCluster struct {
	Name          string              `json:"name"`
	Mode          string              `json:"mode"`
	Key           string              `json:"key,omitempty"`            // mode key: the regexp
	FailoverAfter string              `json:"failover_after,omitempty"` // as time.Duration prints it
	Collectors    []SnapshotCollector `json:"collectors"`               // sorted by id, never null
}

// SnapshotCollector is one collector of a snapshot.
type SnapshotCollector struct {
	ID       string     `json:"id"`
	Node     string     `json:"node,omitempty"` // id of the node that runs it
	Address  string     `json:"address"`        // host:port
	State    string     `json:"state"`          // active or draining
	External bool       `json:"external,omitempty"`
	LastBeat *time.Time `json:"last_heartbeat,omitempty"` // external ones: when it was heard of last
}

// SnapshotNode is the catalogue entry of a node in a snapshot.
type SnapshotNode struct {
	NodeID string `json:"node_id"`
	Name   string `json:"name"`
	HTTP   string `json:"http"` // host:port of its admin API
}

// InspectSnapshot reads a snapshot to its end, checks it whole, and tells what it
// holds. fsm.ErrBadSnapshot when it is damaged, cut or of a newer format.
func InspectSnapshot(r io.Reader) (SnapshotInfo, error) {
	view, beats, err := fsm.ReadSnapshot(r)
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("read snapshot: %w", err)
	}
	info := SnapshotInfo{NetworkID: view.NetworkID, Index: view.Applied, Clusters: []SnapshotCluster{}, Nodes: []SnapshotNode{}}
	for _, name := range view.Table.Names() {
		info.Clusters = append(info.Clusters, snapshotCluster(view.Table.Clusters[name], beats))
	}
	for _, n := range view.Nodes {
		info.Nodes = append(info.Nodes, SnapshotNode{n.ID, n.Name, n.HTTP})
	}
	return info, nil
}

func snapshotCluster(c fsm.Cluster, beats map[fsm.CollectorID]fsm.Beat) SnapshotCluster {
	out := SnapshotCluster{Name: string(c.Name), Mode: string(c.Mode), Collectors: []SnapshotCollector{}}
	if c.Key != nil {
		out.Key = c.Key.String()
	}
	if c.FailoverAfter > 0 {
		out.FailoverAfter = c.FailoverAfter.String()
	}
	for _, m := range c.Collectors {
		one := SnapshotCollector{
			ID: string(m.ID), Node: m.Node, Address: m.HostPort(), State: string(m.State), External: m.External,
		}
		if beat, ok := beats[m.ID]; ok {
			one.LastBeat = &beat.Last
		}
		out.Collectors = append(out.Collectors, one)
	}
	return out
}
