package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// publishWindow is how many parts of a batch wait to be published together;
// maxStagedParts is how many files all batches of a collector have open.
const (
	publishWindow  = 256
	maxStagedParts = 1024
)

// batch takes many files in one request and answers a line for each. Parts are
// staged one after the other as they arrive, and then published side by side,
// so that they share one group commit. Once the batch has begun, the answer is
// 200, whatever becomes of its parts: a bad part costs only itself, and a cut
// costs only the parts that were not whole.
func (c *Collector) batch(ctx context.Context, w http.ResponseWriter, r *http.Request, body *pacedBody) error {
	boundary, err := batchBoundary(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	if err := plainBody(r.Header); err != nil {
		return err
	}
	meta, err := parseMeta(r.Header)
	if err != nil {
		return err
	}
	if r.ContentLength > maxBatchBytes {
		return fmt.Errorf("%w: batch of more than %d bytes", ErrTooLarge, maxBatchBytes)
	}
	if err := c.check(meta); err != nil {
		return err
	}
	run := &batchRun{c: c, ctx: ctx, peer: r.RemoteAddr}
	defer run.abandon()
	run.readParts(newBatchReader(io.LimitReader(body, maxBatchBytes), boundary))
	run.release()
	run.wg.Wait()
	c.beforeAnswer(w, body)
	w.Header().Set("Content-Type", answersType)
	_, _ = w.Write(encodeAnswers(run.answers())) // the peer may be gone: nobody to tell
	return nil
}

// batchRun is a batch being received. One goroutine reads the parts; those that
// publish touch only their own part, and wg is waited for before anyone looks.
type batchRun struct {
	c       *Collector
	ctx     context.Context // the request's, which batchRun does not outlive
	peer    string
	parts   []*batchPart
	waiting []*batchPart // staged, not yet being published
	wg      sync.WaitGroup
}

type batchPart struct {
	arrival Arrival
	staged  *stagedFile
	answer  BatchAnswer
	started time.Time
}

// readParts reads the batch to its end, or to where it breaks. The part in
// which it breaks is answered, so that the sender knows why the rest is not.
func (b *batchRun) readParts(br *batchReader) {
	for {
		h, err := br.next()
		if errors.Is(err, io.EOF) {
			return
		}
		part := &batchPart{started: time.Now()}
		bad, only := errors.AsType[*partError](err)
		switch {
		case only:
			b.refuse(part, bad)
		case err != nil:
			b.refuse(part, fmt.Errorf("batch broke off: %w", err))
		case len(b.parts) == MaxBatchParts:
			err = fmt.Errorf("%w: more than %d parts", ErrTooLarge, MaxBatchParts)
			b.refuse(part, err)
		default:
			b.stage(part, h, br)
		}
		b.parts = append(b.parts, part)
		if err != nil && !only || br.skip() != nil {
			return
		}
		if len(b.waiting) == publishWindow {
			b.release()
		}
	}
}

// stage writes one part to the inbox and leaves it waiting there, or answers it.
func (b *batchRun) stage(part *batchPart, h http.Header, body io.Reader) {
	var err error
	if part.arrival, err = b.c.readPart(h); err != nil {
		b.refuse(part, err)
		return
	}
	b.takeSlot()
	part.staged = &stagedFile{freed: b.c.freeSlot}
	whole := false
	defer func() {
		if !whole {
			part.staged.dropUnlessEnded(b.c)
		}
	}()
	if part.staged.Staging, err = b.c.cfg.Inbox.Begin(b.ctx, part.arrival); err != nil {
		b.conclude(part, Receipt{}, err)
		return
	}
	n, err := fill(part.staged, body, 0, b.c.maxPart())
	if want := part.arrival.Size; err == nil && want >= 0 && n != want {
		err = fmt.Errorf("%w: %d bytes of %d", ErrShort, n, want)
	}
	if err != nil {
		b.refuse(part, err)
		return
	}
	whole = true
	b.waiting = append(b.waiting, part)
}

// takeSlot waits until another file may be open. It waits with none of its own
// held back, so that batches cannot wait for each other.
func (b *batchRun) takeSlot() {
	select {
	case b.c.slots <- struct{}{}:
		return
	default:
	}
	b.release()
	b.wg.Wait()
	b.c.slots <- struct{}{}
}

func (c *Collector) freeSlot() { <-c.slots }

// readPart reads what the headers of a part say of its file.
func (c *Collector) readPart(h http.Header) (Arrival, error) {
	var name string
	size := int64(-1)
	if len(h["Content-Location"]) != 1 {
		return Arrival{}, fmt.Errorf("%w: a part needs one Content-Location", ErrBadHeader)
	}
	name, err := unescapeName(h.Get("Content-Location"))
	if err != nil {
		return Arrival{}, err
	}
	var p headerParser
	p.read(h, "Content-Length", func(s string) (err error) { size, err = parseCount(s); return })
	if p.err != nil {
		return Arrival{}, p.err
	}
	if err := errors.Join(plainBody(h), plainTransfer(h)); err != nil {
		return Arrival{}, err
	}
	if max := c.maxPart(); size > max {
		return Arrival{}, fmt.Errorf("%w: part of %d bytes, more than %d", ErrTooLarge, size, max)
	}
	meta, err := parseMeta(h)
	if err != nil {
		return Arrival{}, err
	}
	return arrival(name, meta, size), c.check(meta)
}

// plainTransfer refuses the encodings of mail: base64 would become the file.
func plainTransfer(h http.Header) error {
	switch h.Get("Content-Transfer-Encoding") {
	case "", "binary", "8bit", "7bit":
		return nil
	}
	return fmt.Errorf("%w: Content-Transfer-Encoding", ErrEncodedBody)
}

func (c *Collector) maxPart() int64 {
	if c.cfg.MaxFileBytes > 0 {
		return min(c.cfg.MaxFileBytes, MaxBatchPartBytes)
	}
	return MaxBatchPartBytes
}

// release publishes the parts that wait, each in a goroutine that batch waits
// for: Publish blocks until the group is through.
func (b *batchRun) release() {
	b.wg.Wait() // for the window before: no more than one is being published
	for _, part := range b.waiting {
		b.wg.Go(func() { b.publish(part) })
	}
	b.waiting = nil
}

func (b *batchRun) publish(part *batchPart) {
	defer func() {
		// In the goroutine of a request net/http would catch this; here it would
		// end the process.
		if v := recover(); v != nil {
			b.c.cfg.Logger.Error("panic while publishing", "item", part.arrival.Key,
				"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			b.refuse(part, fmt.Errorf("panic: %v", v))
		}
	}()
	receipt, err := part.staged.publish(b.ctx)
	b.conclude(part, receipt, err)
}

// conclude answers a part with a receipt, or with what was in its way.
func (b *batchRun) conclude(part *batchPart, receipt Receipt, err error) {
	if done, ok := errors.AsType[*DeliveredError](err); ok {
		receipt, err = done.Receipt, nil
		receipt.Duplicate = true
	}
	if err != nil {
		b.refuse(part, err)
		return
	}
	part.answer.Receipt = b.c.sign(receipt, part.arrival)
	b.c.logDelivery(b.ctx, part.answer.Receipt, part.started)
}

func (b *batchRun) refuse(part *batchPart, err error) {
	p := problemOf(err)
	p.RequestID = newRequestID()
	part.answer.Problem = p
	b.c.logRefusal(b.ctx, p, err, "peer", b.peer, "item", part.arrival.Key, "name", part.arrival.Name)
}

// answers gives the answers in the order of the parts.
func (b *batchRun) answers() []BatchAnswer {
	answers := make([]BatchAnswer, len(b.parts))
	for i, part := range b.parts {
		answers[i] = part.answer
	}
	return answers
}

// abandon ends what a panic has left. After a normal run there is nothing.
func (b *batchRun) abandon() {
	for _, part := range b.waiting {
		part.staged.dropUnlessEnded(b.c)
	}
	b.wg.Wait()
}
