package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// source gives the transport the body of a request, and knows how much of it
// was taken.
type source struct {
	r     io.Reader
	size  int64
	left  atomic.Int64
	first func() // called once, before the first byte is read
	begun bool
	err   error // why our own file could not be read; valid when done is closed

	closing sync.Once
	done    chan struct{} // closed when the transport reads no more
}

func newSource(r io.Reader, size int64, first func()) *source {
	s := &source{r: r, size: size, first: first, done: make(chan struct{})}
	s.left.Store(size)
	return s
}

// Read is called by one goroutine of the transport at a time.
func (s *source) Read(p []byte) (int, error) {
	if !s.begun {
		s.begun = true
		s.first()
	}
	n, err := s.r.Read(p)
	if s.left.Add(-int64(n)) > 0 && err == io.EOF {
		err = io.ErrUnexpectedEOF // else a cut file would look like a whole one
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Close tells that the transport reads no more.
func (s *source) Close() error {
	s.closing.Do(func() { close(s.done) })
	return nil
}

// taken is how many bytes the transport has taken.
func (s *source) taken() int64 { return s.size - s.left.Load() }

// timeout reports whether err is a deadline of a dial or of a write, or of the
// kernel's own clock (TCP_USER_TIMEOUT).
func timeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// originalAnswer is the body by which the original's collector is known.
const originalAnswer = "success"

// receipt reads the answer, checks it against the offer, and ends the trip.
func (t *trip) receipt(o Offer) (Receipt, error) {
	defer t.end()
	status := t.resp.StatusCode
	body, err := t.answer()
	if status/100 != 2 {
		// An answer that was cut still has its status.
		return Receipt{}, refusedBy(parseProblem(status, t.resp.Header, body), t.sentAny())
	}
	if err != nil {
		return Receipt{}, badReceipt(status, fmt.Errorf("half an answer: %w", err))
	}
	if t.isOriginal(status, body) {
		return Receipt{ID: o.ID, Name: o.Name, Size: o.Size, Original: true}, nil
	}
	if status != http.StatusOK && status != http.StatusCreated {
		return Receipt{}, badReceipt(status, errors.New("no status of a delivery"))
	}
	r, err := parseReceipt(status, body)
	if err != nil {
		return Receipt{}, badReceipt(status, err)
	}
	if err := verify(r, o); err != nil {
		return Receipt{}, err
	}
	return r, nil
}

// verify checks a receipt against what was offered. The error is a *SendError
// or nil.
func verify(r Receipt, o Offer) error {
	status := r.status()
	if err := r.matches(o.ID, o.Size, o.Digest); err != nil {
		return badReceipt(status, err)
	}
	if r.Settled {
		return &SendError{
			Outcome: Settled, Status: status, Code: CodeSettled,
			Detail: "the collector had this item before and was told that it is over; has the outbox been restored from a copy?",
		}
	}
	return nil
}

// isOriginal reports whether exactly the original's collector would answer so:
// 200 with this one word, after it has taken the whole body.
func (t *trip) isOriginal(status int, body []byte) bool {
	return status == http.StatusOK && string(body) == originalAnswer && (t.src == nil || t.src.left.Load() == 0)
}

// answer reads the body of the answer, at most 64 KiB of it.
func (t *trip) answer() ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(t.resp.Body, maxAnswerBytes+1))
	if err == nil && len(body) > maxAnswerBytes {
		err = errTooLong
	}
	return body, err
}
