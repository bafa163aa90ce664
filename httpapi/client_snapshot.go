package httpapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// SaveSnapshot copies the network's state to w, and notices when it is cut. After
// an error what w holds is worth nothing. It takes as long as ctx lets it.
func (c *Client) SaveSnapshot(ctx context.Context, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, pathSnapshot, nil, typeSnapshot)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return answerProblem(resp)
	}
	if err := copyBounded(w, resp.Body, maxSnapshot); err != nil {
		return fmt.Errorf("save snapshot from %s: %w", c.base, err)
	}
	return nil
}

// copyBounded copies all of r, which is errAnswerSize beyond limit bytes.
func copyBounded(w io.Writer, r io.Reader, limit int64) error {
	n, err := io.Copy(w, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = errAnswerSize
	}
	return err
}

// RestoreSnapshot replaces the network's state by what r holds, at most 256 MiB.
// ErrWrongNetwork when the snapshot is of another network, unless force is set;
// ErrBadSnapshot when it is damaged. It takes as long as ctx lets it.
func (c *Client) RestoreSnapshot(ctx context.Context, r io.Reader, force bool) error {
	path := pathSnapshot
	if force {
		path += "?force"
	}
	resp, err := c.do(ctx, http.MethodPut, path, r, typeSnapshot)
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
