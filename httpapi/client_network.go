package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// The methods of this file are about the network that nodes agree on. A node of
// a static network answers each of them with ErrStaticNetwork.

// ClusterSpec is what PUT /v1/clusters/{name} sets. Empty fields keep what
// there is, or the default for a new cluster.
type ClusterSpec struct {
	Mode          fsm.Mode `json:"mode,omitempty"`
	Key           string   `json:"key,omitempty"`            // mode key: a regexp over the name
	FailoverAfter string   `json:"failover_after,omitempty"` // as time.ParseDuration reads it
}

// Members tells who is in the network, as gossip sees it.
func (c *Client) Members(ctx context.Context) (Members, error) {
	return get[Members](ctx, c, "/v1/members")
}

// RemoveMember removes a node from the network for good.
func (c *Client) RemoveMember(ctx context.Context, node string) error {
	return c.change(ctx, http.MethodDelete, "/v1/members/"+url.PathEscape(node), nil)
}

// Health returns the network's own judgement of itself.
func (c *Client) Health(ctx context.Context) (Health, error) {
	return get[Health](ctx, c, "/v1/health")
}

// SetCluster makes or changes a cluster.
func (c *Client) SetCluster(ctx context.Context, name string, spec ClusterSpec) error {
	return c.change(ctx, http.MethodPut, "/v1/clusters/"+url.PathEscape(name), spec)
}

// DeleteCluster removes a cluster that has no collectors.
func (c *Client) DeleteCluster(ctx context.Context, name string) error {
	return c.change(ctx, http.MethodDelete, "/v1/clusters/"+url.PathEscape(name), nil)
}

// PutCollector registers a collector. It returns its port, and the index of the
// first table that has it so.
func (c *Client) PutCollector(ctx context.Context, cluster, id string, reg Registration) (Registered, error) {
	var out Registered
	return out, c.call(ctx, http.MethodPut, collectorPath(cluster, id), reg, &out, 0)
}

// DeleteCollector takes a collector out of the table. With an empty cluster it
// looks it up first.
func (c *Client) DeleteCollector(ctx context.Context, cluster, id string) error {
	path, err := c.pathOf(ctx, cluster, id)
	if err != nil {
		return err
	}
	return c.change(ctx, http.MethodDelete, path, nil)
}

// Drain tells a collector to take nothing new. It looks the collector's cluster
// up in the table first; ErrNotFound when no cluster has that id.
func (c *Client) Drain(ctx context.Context, collector string) error {
	return c.DrainIn(ctx, "", collector, true)
}

// Undrain lets a collector take files again.
func (c *Client) Undrain(ctx context.Context, collector string) error {
	return c.DrainIn(ctx, "", collector, false)
}

// DrainIn tells a collector of a cluster to take nothing new, or to take files
// again. With an empty cluster it looks it up first.
func (c *Client) DrainIn(ctx context.Context, cluster, collector string, drain bool) error {
	path, err := c.pathOf(ctx, cluster, collector)
	if err != nil {
		return err
	}
	if path += "/drain"; !drain {
		path += "?undo"
	}
	return c.change(ctx, http.MethodPost, path, nil)
}

func collectorPath(cluster, id string) string {
	return "/v1/clusters/" + url.PathEscape(cluster) + "/collectors/" + url.PathEscape(id)
}

// pathOf finds the cluster of a collector where it is not given.
func (c *Client) pathOf(ctx context.Context, cluster, id string) (string, error) {
	if cluster != "" {
		return collectorPath(cluster, id), nil
	}
	table, err := c.Clusters(ctx, 0, 0)
	if err != nil {
		return "", err
	}
	for name, cluster := range table.Clusters {
		for _, m := range cluster.Collectors {
			if m.ID == id {
				return collectorPath(name, id), nil
			}
		}
	}
	return "", fmt.Errorf("collector %q: %w", id, ErrNotFound)
}

// ClustersConsistent returns a table that has every change acknowledged before
// the call. ErrNoLeader or ErrNoQuorum when nobody can say so now.
func (c *Client) ClustersConsistent(ctx context.Context) (Clusters, error) {
	return get[Clusters](ctx, c, "/v1/clusters?consistent")
}

// ConsistentIndex returns the index of the table that has every change
// acknowledged so far.
func (c *Client) ConsistentIndex(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, clientAnswer)
	defer cancel()
	resp, err := c.do(ctx, http.MethodHead, "/v1/clusters?consistent", nil, "")
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, headProblem(resp)
	}
	index, err := strconv.ParseUint(resp.Header.Get(headerIndex), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("HEAD /v1/clusters at %s: %w", c.base, ErrForeign)
	}
	return index, nil
}

// headProblem is the refusal of a HEAD, which has no body to say why.
func headProblem(resp *http.Response) error {
	if resp.StatusCode == http.StatusServiceUnavailable {
		return fmt.Errorf("%w: %s", ErrNoLeader, resp.Status)
	}
	return parseProblem(resp.StatusCode, resp.Header, nil)
}

// TransferLeadership hands the leadership to a node, by name or id; to the best
// one for an empty name.
func (c *Client) TransferLeadership(ctx context.Context, to string) error {
	return c.change(ctx, http.MethodPost, "/v1/leader/transfer", Transfer{To: to})
}

// Probe asks a node whether it would form a network.
func (c *Client) Probe(ctx context.Context, q Probe) (ProbeAnswer, error) {
	var out ProbeAnswer
	return out, c.call(ctx, http.MethodPost, "/v1/internal/bootstrap-check", q, &out, 0)
}

// Register registers a collector as the original does, at a server of either kind.
// It returns no index: the original has none.
func (c *Client) Register(ctx context.Context, o OriginalRegistration) (Registered, error) {
	got, err := get[originalRegistered](ctx, c, pathRegister+"?"+registerQuery(o).Encode())
	if err == nil && (fsm.CheckIdent(got.ID) != nil || got.Port == 0) {
		err = fmt.Errorf("register at %s: %w: id %.100q, port %d", c.base, ErrForeign, got.ID, got.Port)
	}
	return Registered{ID: got.ID, Port: int(got.Port)}, err
}

// registerQuery is the way back of originalRegistration.
func registerQuery(o OriginalRegistration) url.Values {
	q := url.Values{"cluster": {o.Cluster}, "address": {o.Address}}
	if o.ID != "" {
		q.Set("id", o.ID)
	}
	if o.Port != 0 {
		q.Set("port", strconv.Itoa(o.Port))
	}
	return q
}

// Remove takes a collector out of the table as the original does. ErrNotFound,
// from a node of ours, when there is none.
func (c *Client) Remove(ctx context.Context, id string) error {
	_, err := get[json.RawMessage](ctx, c, pathRemove+"?"+url.Values{"id": {id}}.Encode())
	return err
}

// OriginalClusters returns the table as the original has it, from a server of
// either kind.
func (c *Client) OriginalClusters(ctx context.Context) (OriginalClusters, error) {
	return get[OriginalClusters](ctx, c, pathClusters)
}

// Leave makes the node leave its network now and for good.
func (c *Client) Leave(ctx context.Context) error {
	return c.change(ctx, http.MethodPost, "/v1/leave", nil)
}
