package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// inboxAdapter lets the collector endpoint speak to an inbox: the two packages
// do not know each other.
type inboxAdapter struct {
	inbox     *spool.Inbox
	collector string
}

// Begin implements httpapi.Inbox.
func (a inboxAdapter) Begin(ctx context.Context, ar httpapi.Arrival) (httpapi.Staging, error) {
	s, err := a.inbox.Begin(ctx, toArrival(ar))
	if err != nil {
		return nil, a.translate(err)
	}
	return stagingAdapter{s, a}, nil
}

// Resume implements httpapi.Inbox.
func (a inboxAdapter) Resume(ctx context.Context, ar httpapi.Arrival, offset int64) (httpapi.Staging, error) {
	s, err := a.inbox.Resume(ctx, toArrival(ar), offset)
	if err != nil {
		return nil, a.translate(err)
	}
	return stagingAdapter{s, a}, nil
}

// Progress implements httpapi.Inbox.
func (a inboxAdapter) Progress(ctx context.Context, key string) (httpapi.Progress, error) {
	p, err := a.inbox.Progress(ctx, key)
	if err != nil {
		return httpapi.Progress{}, a.translate(err)
	}
	out := httpapi.Progress{Offset: p.Offset, Size: p.Size}
	switch {
	case p.Receipt != nil:
		r := a.receipt(*p.Receipt)
		out.Receipt = &r
	case p.Settled:
		r := a.settled(key)
		out.Receipt = &r
	}
	return out, nil
}

// Settle implements httpapi.Inbox. A key that is not of our form has no epochs.
func (a inboxAdapter) Settle(key string, marks []httpapi.Mark) {
	id, err := spool.ParseID(key)
	if err != nil || len(marks) == 0 {
		return
	}
	out := make([]spool.Mark, len(marks))
	for i, m := range marks {
		out[i] = spool.Mark{Epoch: m.Epoch, Seq: m.Seq}
	}
	a.inbox.Settle(id.Spool, out)
}

func toArrival(a httpapi.Arrival) spool.Arrival {
	out := spool.Arrival{Key: a.Key, Name: a.Name, Size: a.Size, MTime: a.MTime, Hops: a.Hops}
	if a.Digest != nil {
		d := spool.Digest(*a.Digest)
		out.Digest = &d
	}
	return out
}

// stagingAdapter is one arrival under way.
type stagingAdapter struct {
	s *spool.Staging
	a inboxAdapter
}

// Write implements httpapi.Staging.
func (s stagingAdapter) Write(p []byte) (int, error) {
	n, err := s.s.Write(p)
	return n, s.a.translate(err)
}

// Publish implements httpapi.Staging.
func (s stagingAdapter) Publish(ctx context.Context) (httpapi.Receipt, error) {
	r, err := s.s.Publish(ctx)
	if err != nil {
		return httpapi.Receipt{}, s.a.translate(err)
	}
	return s.a.receipt(r), nil
}

// Keep implements httpapi.Staging.
func (s stagingAdapter) Keep() error { return s.a.translate(s.s.Keep()) }

// Drop implements httpapi.Staging.
func (s stagingAdapter) Drop() error { return s.a.translate(s.s.Drop()) }

func (a inboxAdapter) receipt(r spool.Receipt) httpapi.Receipt {
	return httpapi.Receipt{
		ID: r.ID, Name: r.Name, PublishedAs: r.PublishedAs, Size: r.Size, SHA256: r.SHA256.String(),
		Collector: a.collector, Durability: httpapi.DurabilityGroup, Duplicate: r.Duplicate,
	}
}

func (a inboxAdapter) settled(id string) httpapi.Receipt {
	return httpapi.Receipt{ID: id, Collector: a.collector, Durability: httpapi.DurabilityGroup, Settled: true, Duplicate: true}
}

// inboxErrors pairs the errors of an inbox with those of its endpoint.
var inboxErrors = []struct{ from, to error }{
	{spool.ErrName, httpapi.ErrBadName},
	{spool.ErrKey, httpapi.ErrBadHeader},
	{spool.ErrTooLarge, httpapi.ErrTooLarge},
	{spool.ErrFull, httpapi.ErrFull},
	{spool.ErrUnderWay, httpapi.ErrUnderWay},
	{spool.ErrDigestConflict, httpapi.ErrDigestConflict},
	{spool.ErrNameTaken, httpapi.ErrNameTaken},
	{spool.ErrDigest, httpapi.ErrDigest},
	{spool.ErrShort, httpapi.ErrShort},
	{spool.ErrInDoubt, httpapi.ErrInDoubt},
	{spool.ErrIO, httpapi.ErrIO},
	{spool.ErrUnknown, httpapi.ErrUnknownUpload},
	{spool.ErrUnavailable, httpapi.ErrUnavailable},
	{spool.ErrClosed, httpapi.ErrUnavailable},
}

// translate keeps the inbox's own words and cause and adds the error that the
// endpoint knows.
func (a inboxAdapter) translate(err error) error {
	if err == nil {
		return nil
	}
	var delivered *spool.DeliveredError
	var settled *spool.SettledError
	var offset *spool.OffsetError
	switch {
	case errors.As(err, &delivered):
		r := a.receipt(delivered.Receipt)
		r.Duplicate = true
		return &httpapi.DeliveredError{Receipt: r}
	case errors.As(err, &settled):
		return &httpapi.DeliveredError{Receipt: a.settled(settled.ID)}
	case errors.As(err, &offset):
		return &httpapi.OffsetError{Have: offset.Have}
	}
	for _, pair := range inboxErrors {
		if errors.Is(err, pair.from) {
			return fmt.Errorf("%w: %w", pair.to, err)
		}
	}
	return err
}
