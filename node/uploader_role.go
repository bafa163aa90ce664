package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/robfig/cron/v3"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// uploaderRole sends the files of one outbox: the outbox, the uploader, and
// the connections to collectors.
type uploaderRole struct {
	cfg      Uploader
	outbox   *spool.Outbox
	uploader *uploader
	sender   *httpapi.Sender
}

// openUploaderRole opens the outbox and starts to empty it.
func openUploaderRole(ctx context.Context, c Uploader, nodeID string, table fsm.Table, log *slog.Logger) (*uploaderRole, error) {
	log = log.With("component", "uploader", "outbox", c.Name)
	ob, err := spool.OpenOutbox(ctx, spool.OutboxConfig{
		Dir: c.Spool, Ready: spool.Readiness(c.Ready), Settle: c.Settle, Watch: c.Watch,
		Archive: c.Archive, Logger: log,
	})
	if err != nil {
		return nil, fmt.Errorf("uploader %s: %w", c.Name, err)
	}
	s := httpapi.NewSender(httpapi.SenderConfig{NodeID: nodeID, MaxConn: c.MaxConn, Logger: log})
	u := openUploader(uploaderConfig{
		Name: c.Name, MaxConn: c.MaxConn, Window: c.Window, MaxAge: c.MaxAge, Logger: log,
	}, ob, s, routesOf(c, table))
	log.Info("uploading", "path", c.Spool)
	return &uploaderRole{cfg: c, outbox: ob, uploader: u, sender: s}, nil
}

// routesOf gathers what decides where an outbox's files go.
func routesOf(c Uploader, table fsm.Table) routes {
	return routes{rules: c.Nexthop, filter: c.Filter, table: table}
}

// schedule adds the outbox's rescans to a scheduler that is not started yet.
func (r *uploaderRole) schedule(c *cron.Cron) error {
	s, err := ParseCron(r.cfg.CronTime)
	if err != nil {
		return err
	}
	c.Schedule(s, cron.FuncJob(r.uploader.rescan))
	return nil
}

// Close stops sending, then closes the outbox, whose claims wait for the next start.
func (r *uploaderRole) Close(ctx context.Context) error {
	err := r.uploader.Close(ctx)
	r.sender.Close()
	return errors.Join(err, r.outbox.Close())
}
