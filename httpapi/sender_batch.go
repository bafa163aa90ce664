package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// perPart is the time that a batch adds to the wait for its answer with every
// file, beside what its bytes add: a slow disk takes some 100 syncs a second.
const perPart = 10 * time.Millisecond

// Result is what became of one file of a batch.
type Result struct {
	Receipt Receipt
	Err     error // nil with a receipt, else a *SendError
}

// PutBatch hands many small files over in one request: at most [MaxBatchParts],
// each of at most [MaxBatchPartBytes]; offers beyond that are CodeBadOffer. The
// results are in the order of the offers, always one for each.
//
// The error is nil when the collector answered file by file. Else it is the
// *[SendError] of the request as a whole, which is also that of every file,
// except that a file none of which was sent is Refused where others are Unknown.
// A whole batch is never Permanent: a peer that does not want it (CodeNoBatch,
// as the original's collector) may well take its files one by one.
func (s *Sender) PutBatch(ctx context.Context, peer Peer, offers []Offer) ([]Result, error) {
	results := make([]Result, len(offers))
	var index []int // of the offers that go into the batch
	for i, o := range offers {
		if err := checkPart(o, len(index)); err != nil {
			results[i].Err = &SendError{Outcome: Permanent, Code: CodeBadOffer, Detail: err.Error(), Err: err}
			continue
		}
		index = append(index, i)
	}
	if len(index) == 0 {
		return results, nil
	}
	sent := make([]Offer, len(index))
	for n, i := range index {
		sent[n] = offers[i]
	}
	parts, err := s.postBatch(ctx, peer, sent)
	for n, i := range index {
		results[i] = parts[n]
	}
	return results, err
}

func checkPart(o Offer, before int) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Size > MaxBatchPartBytes || before >= MaxBatchParts {
		return fmt.Errorf("%d bytes as file %d of a batch: too large", o.Size, before+1)
	}
	return nil
}

func (s *Sender) postBatch(ctx context.Context, peer Peer, offers []Offer) ([]Result, error) {
	req, err := newRequest(http.MethodPost, peer, "")
	if err != nil {
		return allFailed(offers, err), err
	}
	parts := s.parts(offers)
	batch := NewBatch(parts) // another one has the same size
	if batch.Size() > expectAbove {
		req.Header.Set("Expect", "100-continue")
	}
	t, err := s.roundTrip(ctx, s.keep, exchange{
		req: req, size: batch.Size(), inline: batch.Size() <= expectAbove,
		body: func(h http.Header) io.Reader {
			for i, o := range offers {
				parts[i].Body = io.NewSectionReader(o.Body, 0, o.Size)
			}
			batch = NewBatch(parts)
			h.Set("Content-Type", batch.ContentType())
			return fullReader{batch}
		},
		wait: s.answerTime(batch.Size()) + time.Duration(len(offers))*perPart,
	})
	if err != nil {
		return notSent(offers, batch, err), err
	}
	return t.results(offers, batch)
}

// parts renders the headers. The marks of an outbox are the same for all of its
// files, so they go with the first of them only.
func (s *Sender) parts(offers []Offer) []BatchPart {
	parts := make([]BatchPart, len(offers))
	var marks []Mark
	for i, o := range offers {
		m := s.meta(o)
		if i > 0 && slices.Equal(o.Settled, marks) {
			m.Settled = nil
		}
		marks = o.Settled
		parts[i] = BatchPart{Name: o.Name, Size: o.Size, Meta: m}
	}
	return parts
}

// fullReader fills what it is given, so that small files do not become small
// packets.
type fullReader struct{ r io.Reader }

func (f fullReader) Read(p []byte) (int, error) {
	n, err := io.ReadFull(f.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

// allFailed gives every file the same error.
func allFailed(offers []Offer, err error) []Result {
	results := make([]Result, len(offers))
	for i := range results {
		results[i].Err = err
	}
	return results
}

// notSent gives every file of a batch without an answer its error. From the
// first file on that nothing was read of, none can have arrived.
func notSent(offers []Offer, batch *Batch, err error) []Result {
	results := allFailed(offers, err)
	e, ok := errors.AsType[*SendError](err)
	if !ok || e.Outcome != Unknown {
		return results
	}
	behind := *e
	behind.Outcome = Refused
	for i := batch.firstUnread(offers); i < len(results); i++ {
		results[i].Err = &behind
	}
	return results
}

// firstUnread is the first file that surely was not sent whole, and none behind
// it was either.
func (b *Batch) firstUnread(offers []Offer) int {
	for i, f := range b.fillers {
		if f.left == offers[i].Size && f.left > 0 {
			return i
		}
	}
	return len(offers)
}

// results reads the answer to a batch and ends the trip.
func (t *trip) results(offers []Offer, batch *Batch) ([]Result, error) {
	defer t.end()
	if err := t.refusedWhole(); err != nil {
		return allFailed(offers, err), err
	}
	answers, err := decodeAnswers(ticking{t}, len(offers))
	t.end() // nothing reads the files any more, so batch.Err may be asked
	results := make([]Result, len(offers))
	for i, a := range answers {
		results[i] = resultOf(a, offers[i])
		if cause := batch.Err(i); cause != nil && results[i].Err != nil {
			results[i].Err = &SendError{Outcome: Passing, Code: CodeSource, Detail: cause.Error(), Err: cause}
		}
	}
	if len(answers) == len(offers) {
		return results, nil
	}
	rest := t.missing(err)
	for i := len(answers); i < len(offers); i++ {
		results[i].Err = rest
	}
	return results, rest
}

// refusedWhole makes the error of an answer that is not one line a file.
func (t *trip) refusedWhole() error {
	status := t.resp.StatusCode
	if status == http.StatusOK && t.resp.Header.Get("Content-Type") == answersType {
		return nil
	}
	if status/100 == 2 {
		e := badReceipt(status, errors.New("a success, but not the answer to a batch"))
		e.Code = CodeNoBatch
		return e
	}
	body, _ := t.answer() // half an answer still has its status
	e := refusedBy(parseProblem(status, t.resp.Header, body), t.sentAny())
	foreign := e.Code == codeUnknownPeer && e.Outcome == Passing && status != http.StatusRequestTimeout
	if e.Outcome == Permanent || foreign {
		e.Outcome, e.Code = Passing, CodeNoBatch
	}
	return e
}

// resultOf checks what was said of one file.
func resultOf(a BatchAnswer, o Offer) Result {
	if a.Problem != nil {
		return Result{Err: refusedBy(a.Problem, true)}
	}
	if err := verify(a.Receipt, o); err != nil {
		return Result{Err: err}
	}
	return Result{Receipt: a.Receipt}
}

// missing makes the error of the files that the answer says nothing of.
func (t *trip) missing(err error) error {
	if t.silenced() {
		return &SendError{Outcome: Unknown, Code: CodeNoAnswer, Detail: "the answer stopped", Err: errSilent}
	}
	if err == nil {
		err = errors.New("no line for this file")
	}
	return badReceipt(t.resp.StatusCode, err)
}

// ticking reads an answer and sets the clock anew with every piece of it.
type ticking struct{ t *trip }

func (r ticking) Read(p []byte) (int, error) {
	n, err := r.t.resp.Body.Read(p)
	r.t.clock.Reset(r.t.wait)
	return n, err
}
