package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// collectorRole receives files for one cluster: an inbox and the endpoint in
// front of it.
type collectorRole struct {
	cfg      Collector
	inbox    *spool.Inbox
	server   *http.Server
	listener *httpapi.Listener
	wg       sync.WaitGroup
}

// openCollector opens the inbox, which recovers what a crash left, and then
// listens: nothing is accepted before recovery is through. fail is told when
// the listener ends by itself.
func openCollector(ctx context.Context, c Collector, nodeID string, log *slog.Logger, fail func(error)) (*collectorRole, error) {
	log = log.With("component", "collector", "collector", c.ID, "cluster", c.Cluster)
	in, err := spool.OpenInbox(ctx, spool.InboxConfig{
		Dir: c.Spool, Collector: string(c.ID), OnConflict: spool.Conflict(c.OnConflict),
		FileMode: c.FileMode, Group: c.FileGroup, MaxFileBytes: c.MaxFileBytes, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("collector %s: %w", c.ID, err)
	}
	limits := httpapi.DefaultLimits()
	ln, err := httpapi.Listen(ctx, net.JoinHostPort(c.Address, strconv.Itoa(c.Port)), limits)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("collector %s: %w", c.ID, err), in.Close())
	}
	h := httpapi.NewCollector(httpapi.CollectorConfig{
		ID: string(c.ID), Cluster: string(c.Cluster), NodeID: nodeID,
		Inbox: inboxAdapter{in, string(c.ID)}, MaxFileBytes: c.MaxFileBytes, Logger: log,
	})
	r := &collectorRole{
		cfg: c, inbox: in, listener: ln,
		server: httpapi.NewServer(h, limits, log),
	}
	r.wg.Go(func() {
		if err := r.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			fail(fmt.Errorf("collector %s stopped listening: %w", c.ID, err))
		}
	})
	log.Info("collecting", "address", ln.Addr().String(), "inbox", c.Spool)
	return r, nil
}

// Close stops listening, lets the requests under way end until ctx ends, cuts
// the others, and closes the inbox. What was not acknowledged will come again.
func (r *collectorRole) Close(ctx context.Context) error {
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = r.server.Close()
	}
	r.wg.Wait()
	return errors.Join(err, r.inbox.Close())
}
