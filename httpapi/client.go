package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	clientDial   = 3 * time.Second
	clientAnswer = 30 * time.Second // beyond what the request itself asks to wait
	// clientExpect is how long a snapshot is held back for the go-ahead of a node,
	// which may have to look for its leader first.
	clientExpect = 10 * time.Second
	// maxClientAnswer bounds what a node may answer; a table of 100,000
	// collectors takes a fifth of it.
	maxClientAnswer = 64 << 20
)

// ErrNoNode is returned when nobody answers at the address of a [Client]: the
// node is not running, or listens elsewhere.
var ErrNoNode = errors.New("no node answers")

// Client speaks the admin API to one node. Every method may be called at any
// time from any goroutine, waits for the answer, and ends with its context.
//
// Errors: a refusal is a *[Problem], whose sentinel errors.Is finds
// (ErrNotFound, ErrStaticNetwork, …), and which tells what was not done; an
// address where nobody answers is ErrNoNode; an answer that is not of this API is
// ErrForeign, or a *Problem of the code "http". Whether a change was made is not
// known after ErrNoNode, ErrNoLeader, ErrNoQuorum, or a context that ended in the
// middle: what a request asks for may be asked for again.
type Client struct {
	base string // scheme and host, no slash at the end
	http *http.Client
}

// NewClient returns a client of the node at addr, which is host:port or
// http://host:port. It connects to nothing yet.
func NewClient(addr string) (*Client, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("address of the node: %w", err)
	}
	if u.Scheme != "http" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("address of the node: %q: want http://host:port", addr)
	}
	return &Client{
		base: "http://" + u.Host,
		http: &http.Client{
			Transport: newTransport(dialConfig{
				dialTimeout: clientDial, stall: clientAnswer, maxIdle: 8, expect: clientExpect,
			}),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Addr returns the address that the client speaks to, as http://host:port.
func (c *Client) Addr() string { return c.base }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status tells who the node is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Spools tells what lies in the node's outboxes and inboxes.
func (c *Client) Spools(ctx context.Context) (Spools, error) {
	return get[Spools](ctx, c, "/v1/spools")
}

// Clusters returns the table as the node knows it, at once when wait is 0, else
// when its index is above index or wait (at most [MaxWait], and a sixteenth more)
// has passed.
//
// A table with an index below the one asked for comes after 2 s: the node is
// behind whoever told that index, or the table was set back, by a recovery or
// another network at this address. Whoever follows a table keeps the newer one
// and asks elsewhere; once it is sure of the set-back it takes what it gets, and
// asks with that index from then on.
//
// ErrBusy when too many wait there already: ask another node, or again later.
func (c *Client) Clusters(ctx context.Context, index uint64, wait time.Duration) (Clusters, error) {
	path := "/v1/clusters"
	if wait > 0 {
		path = fmt.Sprintf("%s?index=%d&wait=%s", path, index, wait)
	}
	var out Clusters
	return out, c.call(ctx, http.MethodGet, path, nil, &out, wait)
}

// Cluster returns one cluster. ErrNotFound when there is none of that name.
func (c *Client) Cluster(ctx context.Context, name string) (Cluster, error) {
	return get[Cluster](ctx, c, "/v1/clusters/"+url.PathEscape(name))
}

// Dead lists the files that were set aside.
func (c *Client) Dead(ctx context.Context) (DeadList, error) {
	return get[DeadList](ctx, c, "/v1/dead")
}

// RetryDead puts a file that was set aside back on its way. When it returns nil
// that is durable. ErrNotFound when there is no such file.
func (c *Client) RetryDead(ctx context.Context, id string) error {
	return c.change(ctx, http.MethodPost, "/v1/dead/"+url.PathEscape(id)+"/retry", nil)
}

// RemoveDead removes a file that was set aside, for good.
func (c *Client) RemoveDead(ctx context.Context, id string) error {
	return c.change(ctx, http.MethodDelete, "/v1/dead/"+url.PathEscape(id), nil)
}

// get asks for one document.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, nil, &out, 0)
	return out, err
}

// change sends in, if it is not nil, and expects no document back.
func (c *Client) change(ctx context.Context, method, path string, in any) error {
	return c.call(ctx, method, path, in, nil, 0)
}

// call sends one request and decodes a 2xx answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, in, out any, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait+clientAnswer)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	resp, err := c.do(ctx, method, path, body, "application/json")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := readAnswer(resp, maxClientAnswer)
	if err != nil {
		return fmt.Errorf("%s %s at %s: read answer: %w", method, path, c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		return parseProblem(resp.StatusCode, resp.Header, answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s at %s: %w: %w", method, path, c.base, ErrForeign, err)
	}
	return nil
}

// do sends one request, with a body of the given type, if any. The caller closes
// the answer's body.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, typ string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	switch {
	case body != nil && typ == typeSnapshot:
		req.Header.Set("Content-Type", typ)
		req.Header.Set("Expect", "100-continue") // a refusal then costs no body
	case body != nil:
		req.Header.Set("Content-Type", typ)
	case method == http.MethodGet && typ != typeSnapshot:
		req.Header.Set("Accept-Encoding", "gzip") // readAnswer undoes it
	}
	markForwarded(req)
	resp, err := c.http.Do(req)
	if err != nil {
		// The url.Error around it would repeat the method and the address.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask the node at %s: %w", c.base, err)
		}
		return nil, fmt.Errorf("%w at %s: %w", ErrNoNode, c.base, err)
	}
	return resp, nil
}
