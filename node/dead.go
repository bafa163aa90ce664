package node

import (
	"context"
	"errors"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// maxDeadListed bounds a listing of dead files, per outbox.
const maxDeadListed = 1000

// Dead implements httpapi.DeadLetters: the dead files of all outboxes.
func (n *Node) Dead(ctx context.Context) (httpapi.DeadList, error) {
	list := httpapi.DeadList{Dead: []httpapi.DeadFile{}}
	ups, _ := n.roles()
	for _, r := range ups {
		items, err := r.outbox.Dead(ctx, maxDeadListed)
		if err != nil {
			return list, err
		}
		list.More = list.More || len(items) == maxDeadListed
		for _, it := range items {
			list.Dead = append(list.Dead, httpapi.DeadFile{
				ID: it.ID.String(), Spool: r.cfg.Name, Name: it.Name, Size: it.Size,
				Code: it.Obituary.Code, Reason: it.Obituary.Reason, Collector: it.Obituary.Collector, Cluster: it.Obituary.Cluster,
				Delivered: it.Obituary.Delivered, Owed: it.Obituary.Owed, Attempts: it.Obituary.Attempts, At: it.Obituary.At,
			})
		}
	}
	return list, nil
}

// RetryDead implements httpapi.DeadLetters: the file is sent again, under a new
// id, to those that do not have it.
func (n *Node) RetryDead(ctx context.Context, id string) error {
	return n.onDead(id, func(r *uploaderRole, id spool.ID) error {
		if err := r.outbox.Retry(ctx, id); err != nil {
			return err
		}
		poke(r.uploader.wake)
		return nil
	})
}

// RemoveDead implements httpapi.DeadLetters: the file is gone for good.
func (n *Node) RemoveDead(ctx context.Context, id string) error {
	return n.onDead(id, func(r *uploaderRole, id spool.ID) error { return r.outbox.RemoveDead(ctx, id) })
}

// onDead finds the outbox that an id belongs to.
func (n *Node) onDead(text string, do func(*uploaderRole, spool.ID) error) error {
	id, err := spool.ParseID(text)
	if err != nil {
		return errors.Join(httpapi.ErrNotFound, err)
	}
	ups, _ := n.roles()
	for _, r := range ups {
		if r.outbox.SpoolID() != id.Spool {
			continue
		}
		err := do(r, id)
		if errors.Is(err, spool.ErrNoDead) {
			return errors.Join(httpapi.ErrNotFound, err)
		}
		return err
	}
	return httpapi.ErrNotFound
}
