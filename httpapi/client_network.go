package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

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

// Health returns the network's own judgement of itself, as the node words it.
func (c *Client) Health(ctx context.Context) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, "/v1/health")
}

// SetCluster makes or changes a cluster.
func (c *Client) SetCluster(ctx context.Context, name string, spec ClusterSpec) error {
	return c.change(ctx, http.MethodPut, "/v1/clusters/"+url.PathEscape(name), spec)
}

// Drain tells a collector to take nothing new. It looks the collector's cluster
// up in the table first; ErrNotFound when no cluster has that id.
func (c *Client) Drain(ctx context.Context, collector string) error {
	table, err := c.Clusters(ctx, 0, 0)
	if err != nil {
		return err
	}
	for name, cluster := range table.Clusters {
		for _, m := range cluster.Collectors {
			if m.ID == collector {
				path := "/v1/clusters/" + url.PathEscape(name) + "/collectors/" + url.PathEscape(collector) + "/drain"
				return c.change(ctx, http.MethodPost, path, nil)
			}
		}
	}
	return fmt.Errorf("collector %q: %w", collector, ErrNotFound)
}

// Leave makes the node leave its network now and for good.
func (c *Client) Leave(ctx context.Context) error {
	return c.change(ctx, http.MethodPost, "/v1/leave", nil)
}

// SaveSnapshot copies the network's state to w. After an error what w holds is
// worth nothing.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/snapshot", nil, "")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return answerProblem(resp)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("save snapshot: %w", err)
	}
	return nil
}

// RestoreSnapshot replaces the network's state by what r holds.
func (c *Client) RestoreSnapshot(ctx context.Context, r io.Reader) error {
	resp, err := c.do(ctx, http.MethodPut, "/v1/snapshot", r, "application/octet-stream")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		return answerProblem(resp)
	}
	return nil
}

// answerProblem reads a refusal. One that cannot be read still has its status.
func answerProblem(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes))
	return parseProblem(resp.StatusCode, resp.Header, body)
}
