//go:build !linux

package spool

import "context"

// watcher is not there: files are found on the schedule.
type watcher struct{}

func (o *Outbox) startWatch(context.Context) error {
	if o.cfg.Watch {
		o.tally.fallback("watch", "watching is for Linux only: files are found on the schedule only")
	}
	return nil
}

func (w *watcher) drain()       {}
func (w *watcher) close() error { return nil }
