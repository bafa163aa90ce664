package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// partialType is the body of a PATCH that goes on with an upload.
const partialType = "application/partial-upload"

// delivery is one file on its way from a request into the inbox.
type delivery struct {
	arrival  Arrival
	offset   int64 // where the body begins
	complete bool  // the body ends the file
	started  time.Time
}

// put takes a whole file, or with "Upload-Complete: ?0" the beginning of one.
func (c *Collector) put(ctx context.Context, w http.ResponseWriter, r *http.Request, body *pacedBody) error {
	d, err := c.readDelivery(r)
	if err != nil {
		return err
	}
	if r.Header.Get("Content-Range") != "" {
		return fmt.Errorf("%w: Content-Range is not for PUT (RFC 9110, 14.5)", ErrBadHeader)
	}
	if d.offset > 0 {
		return fmt.Errorf("%w: %s is not for PUT", ErrBadHeader, headerOffset)
	}
	if err := c.askedForOffset(ctx, d); err != nil {
		return err
	}
	d.offset = 0
	st, err := c.cfg.Inbox.Begin(ctx, d.arrival)
	return c.finish(ctx, w, d, st, err, body)
}

// askedForOffset answers a PUT that says "Upload-Offset: 0": where a part of the
// file is kept, that is the wrong offset. Without the header a PUT begins anew.
func (c *Collector) askedForOffset(ctx context.Context, d *delivery) error {
	if d.offset != 0 || d.arrival.Key == "" {
		return nil
	}
	p, err := c.cfg.Inbox.Progress(ctx, d.arrival.Key)
	if err != nil || p.Receipt != nil || p.Offset == 0 {
		return nil // Begin knows what to answer
	}
	return &OffsetError{Have: p.Offset}
}

// patch takes the rest of a file, or a further piece of it.
func (c *Collector) patch(ctx context.Context, w http.ResponseWriter, r *http.Request, body *pacedBody) error {
	d, err := c.readDelivery(r)
	switch {
	case err != nil:
		return err
	case r.Header.Get("Content-Type") != partialType:
		return fmt.Errorf("%w: Content-Type is not %s", ErrBadHeader, partialType)
	case d.arrival.Key == "":
		return fmt.Errorf("%w: PATCH needs %s", ErrBadHeader, headerKey)
	case d.offset < 0 || r.Header.Get(headerComplete) == "":
		return fmt.Errorf("%w: PATCH needs %s and %s", ErrBadHeader, headerOffset, headerComplete)
	}
	st, err := c.cfg.Inbox.Resume(ctx, d.arrival, d.offset)
	return c.finish(ctx, w, d, st, err, body)
}

// readDelivery reads all that path and headers say, and refuses what can be
// refused without asking the inbox.
func (c *Collector) readDelivery(r *http.Request) (*delivery, error) {
	name, err := requestName(r)
	if err != nil {
		return nil, err
	}
	if err := plainBody(r.Header); err != nil {
		return nil, err
	}
	meta, err := parseMeta(r.Header)
	if err != nil {
		return nil, err
	}
	up, err := parseUpload(r.Header)
	if err != nil {
		return nil, err
	}
	d := &delivery{offset: up.offset, complete: up.complete == nil || *up.complete, started: time.Now()}
	size, err := wholeSize(up, d.complete, r.ContentLength)
	if err != nil {
		return nil, err
	}
	if limit := c.cfg.MaxFileBytes; limit > 0 && size > limit {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrTooLarge, size, limit)
	}
	if !d.complete && meta.Key == "" {
		return nil, fmt.Errorf("%w: %s: ?0 needs %s", ErrBadHeader, headerComplete, headerKey)
	}
	d.arrival = arrival(name, meta, size)
	return d, c.check(meta)
}

// requestName reads the name from the path. A query is no part of a name, and
// to drop it would store the file under another one: a "?" is to be escaped.
func requestName(r *http.Request) (string, error) {
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		return "", fmt.Errorf("%w: has a query", ErrBadName)
	}
	return unescapeName(r.URL.EscapedPath())
}

// plainBody refuses encodings: a file is what arrives, byte for byte.
func plainBody(h http.Header) error {
	for _, v := range h["Content-Encoding"] {
		if v != "" && v != "identity" {
			return fmt.Errorf("%w: Content-Encoding", ErrEncodedBody)
		}
	}
	return nil
}

// wholeSize finds the size of the whole file, or -1, from what three headers
// say of it, which must not contradict each other. contentLength is -1 for a
// chunked body.
func wholeSize(up upload, complete bool, contentLength int64) (int64, error) {
	if contentLength < 0 {
		return up.length, nil
	}
	if contentLength > maxCount {
		return 0, fmt.Errorf("%w: %d bytes", ErrTooLarge, contentLength)
	}
	end := max(up.offset, 0) + contentLength
	if up.length >= 0 && (end > up.length || complete && end != up.length) {
		return 0, fmt.Errorf("%w: %s contradicts the length of the body", ErrBadHeader, headerLength)
	}
	if complete {
		return end, nil
	}
	return up.length, nil
}

// finish runs a delivery from the inbox's decision to the answer.
func (c *Collector) finish(ctx context.Context, w http.ResponseWriter, d *delivery, st Staging, err error, body *pacedBody) error {
	var receipt Receipt
	if err == nil {
		receipt, err = c.receive(ctx, d, st, body)
	}
	if done, ok := errors.AsType[*DeliveredError](err); ok {
		receipt, err = done.Receipt, nil
		receipt.Duplicate = true
	}
	if err != nil {
		return err
	}
	c.beforeAnswer(w, body)
	if !d.complete && !receipt.Duplicate {
		return c.answerKept(ctx, w, d.arrival.Key)
	}
	receipt = c.sign(receipt, d.arrival)
	c.logDelivery(ctx, receipt, d.started)
	writeReceipt(w, receipt)
	return nil
}

// receive reads the body and ends st in the one way that fits.
func (c *Collector) receive(ctx context.Context, d *delivery, st Staging, body *pacedBody) (Receipt, error) {
	s := &stagedFile{Staging: st}
	defer s.dropUnlessEnded(c)
	if _, err := fill(s, body, d.offset, c.cfg.MaxFileBytes); err != nil {
		if d.arrival.Key != "" && isCut(err) {
			return Receipt{}, errors.Join(err, s.keep())
		}
		return Receipt{}, err
	}
	if !d.complete {
		return Receipt{}, s.keep()
	}
	return s.publish(ctx)
}

// answerKept tells how much of an upload the inbox holds, which is its word and
// not a sum of ours: it may have found a small piece not worth keeping.
func (c *Collector) answerKept(ctx context.Context, w http.ResponseWriter, key string) error {
	p, err := c.cfg.Inbox.Progress(ctx, key)
	if errors.Is(err, ErrUnknownUpload) {
		p, err = Progress{Size: -1}, nil
	}
	if err != nil {
		return err
	}
	writeProgress(w, p)
	return nil
}

// head tells how far an upload has come.
func (c *Collector) head(ctx context.Context, w http.ResponseWriter, r *http.Request, body *pacedBody) error {
	if _, err := requestName(r); err != nil {
		return err
	}
	meta, err := parseMeta(r.Header)
	if err != nil {
		return err
	}
	if meta.Key == "" {
		return fmt.Errorf("%w: HEAD needs %s", ErrBadHeader, headerKey)
	}
	if err := c.check(meta); err != nil {
		return err
	}
	p, err := c.cfg.Inbox.Progress(ctx, meta.Key)
	if err != nil {
		return err
	}
	c.beforeAnswer(w, body)
	writeProgress(w, p)
	return nil
}

// writeProgress answers 200 for what is published, and 204 otherwise.
func writeProgress(w http.ResponseWriter, p Progress) {
	h, done := w.Header(), p.Receipt != nil
	settled := done && p.Receipt.Settled
	if done {
		p.Offset, p.Size = p.Receipt.Size, p.Receipt.Size
	}
	h.Set(headerComplete, formatBool(done))
	if !settled { // of a settled one the size is forgotten
		h.Set(headerOffset, formatCount(p.Offset))
		if p.Size >= 0 {
			h.Set(headerLength, formatCount(p.Size))
		}
	}
	if done {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeReceipt(w http.ResponseWriter, r Receipt) {
	body, _ := json.Marshal(r) // strings and numbers always marshal
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(r.status())
	_, _ = w.Write(append(body, '\n')) // the peer may be gone: nobody to tell
}

func (c *Collector) logDelivery(ctx context.Context, r Receipt, started time.Time) {
	c.cfg.Logger.DebugContext(ctx, "file delivered", "item", r.ID, "name", r.Name, "published_as", r.PublishedAs,
		"bytes", r.Size, "duplicate", r.Duplicate, "duration", time.Since(started))
}
