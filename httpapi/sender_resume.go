package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// rehashRate, in bytes per second, is how fast a collector at least reads again
// what it has of a file before it asks for the rest.
const rehashRate = 64 << 20

// maxOffsets bounds how often one attempt lets itself be told another offset.
const maxOffsets = 3

// errNoUpload says that the collector has nothing to go on from.
var errNoUpload = errors.New("nothing to resume")

// resume asks how much of the file the collector has and sends the rest. Where
// there is nothing, or the peer knows no such question, it sends all.
func (s *Sender) resume(ctx context.Context, peer Peer, o Offer) (Receipt, error) {
	up, err := s.progress(ctx, peer, o)
	switch {
	case errors.Is(err, errNoUpload):
		return s.put(ctx, peer, o, o.Size > expectAbove)
	case err != nil:
		return Receipt{}, err
	case *up.complete:
		return s.fetchReceipt(ctx, peer, o)
	}
	return s.goOn(ctx, peer, o, up.offset)
}

// offerFromStart sends the whole file to a peer of which it is not known whether
// it is one of ours. To ask with HEAD could do harm: the original's collector
// takes any method for a file. A PUT that says that it begins at byte 0 is an
// ordinary one there; ours answers with the offset to go on from if it has a part.
func (s *Sender) offerFromStart(ctx context.Context, peer Peer, o Offer) (Receipt, error) {
	r, err := s.putWith(ctx, peer, o, true, func(h http.Header) { h.Set(headerOffset, formatCount(0)) })
	if moved, ok := errors.AsType[*OffsetError](err); ok {
		return s.goOn(ctx, peer, o, moved.Have)
	}
	return r, err
}

// goOn sends the file from an offset on, and all of it where that fails.
func (s *Sender) goOn(ctx context.Context, peer Peer, o Offer, offset int64) (Receipt, error) {
	for range maxOffsets {
		r, err := s.patch(ctx, peer, o, offset)
		moved, ok := errors.AsType[*OffsetError](err)
		if errors.Is(err, errNoUpload) || ok && moved.Have > o.Size {
			break
		}
		if !ok {
			return r, err
		}
		offset = moved.Have
	}
	return s.put(ctx, peer, o, o.Size > expectAbove)
}

// fetchReceipt asks for the receipt of a file that the collector says it has. A
// failure leaves that open.
func (s *Sender) fetchReceipt(ctx context.Context, peer Peer, o Offer) (Receipt, error) {
	r, err := s.put(ctx, peer, o, true)
	if e, ok := errors.AsType[*SendError](err); ok && (e.Outcome == Refused || e.Outcome == Passing) {
		e.Outcome = Unknown
	}
	return r, err
}

// progress asks where an upload stands. It returns errNoUpload when the peer
// does not know it, or knows nothing of resuming and answers something else or
// not at all; other errors are *SendError.
func (s *Sender) progress(ctx context.Context, peer Peer, o Offer) (upload, error) {
	req, err := newRequest(http.MethodHead, peer, o.Name)
	if err != nil {
		return upload{}, err
	}
	Meta{Key: o.ID}.set(req.Header)
	t, err := s.roundTrip(ctx, s.keep, exchange{req: req, wait: s.cfg.FirstByte})
	if err != nil {
		return upload{}, headFailed(err)
	}
	defer t.end()
	status := t.resp.StatusCode
	if status/100 == 2 {
		up, err := parseUpload(t.resp.Header)
		if err != nil || up.complete == nil || !*up.complete && (up.offset < 0 || up.offset > o.Size) {
			return upload{}, errNoUpload
		}
		return up, nil
	}
	p := parseProblem(status, t.resp.Header, nil)
	switch status {
	case http.StatusConflict:
		// The answer to a HEAD has no body: the code is known from the status.
		p.Code = "under-way"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
	default:
		return upload{}, errNoUpload
	}
	return upload{}, refusedBy(p, false)
}

// headFailed judges a HEAD without an answer. It carried nothing of the file,
// so nothing is in doubt. A peer that was there and did not answer may be one
// that knows no HEAD: errNoUpload.
func headFailed(err error) error {
	e, ok := errors.AsType[*SendError](err)
	if !ok {
		return err
	}
	e.Outcome = Refused
	if e.Code == CodeNoAnswer || e.Code == CodeCut {
		return errNoUpload
	}
	return e
}

// patch sends the file from offset on. Beside *SendError it returns errNoUpload
// and *OffsetError, after which nothing was accepted.
func (s *Sender) patch(ctx context.Context, peer Peer, o Offer, offset int64) (Receipt, error) {
	req, err := newRequest(http.MethodPatch, peer, o.Name)
	if err != nil {
		return Receipt{}, err
	}
	s.meta(o).set(req.Header)
	h := req.Header
	h.Set("Content-Type", partialType)
	h.Set(headerOffset, formatCount(offset))
	h.Set(headerComplete, formatBool(true))
	h.Set(headerLength, formatCount(o.Size))
	rest := o.Size - offset
	if rest > 0 {
		// The peer answered to HEAD, so it knows the expectation: wait until it
		// has looked at what it has.
		h.Set("Expect", "100-continue")
	}
	rehash := time.Duration(float64(offset) / rehashRate * float64(time.Second))
	t, err := s.roundTrip(ctx, s.patient, exchange{
		req: req, size: rest, body: offerBody(o, offset),
		wait: s.answerTime(o.Size), goAhead: s.cfg.FirstByte + rehash,
	})
	if err != nil {
		return Receipt{}, err
	}
	r, err := t.receipt(o)
	return r, patchFailed(err, t.resp.Header)
}

// patchFailed finds the answers that say how to go on.
func patchFailed(err error, h http.Header) error {
	e, ok := errors.AsType[*SendError](err)
	if !ok {
		return err
	}
	if e.Status == http.StatusNotFound {
		return errNoUpload
	}
	if e.Code != codeOffset {
		return err
	}
	up, perr := parseUpload(h)
	if perr != nil || up.offset < 0 {
		return errNoUpload
	}
	return &OffsetError{Have: up.offset}
}
