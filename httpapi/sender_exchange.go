package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// errSilent is the cause of a request that the sender gave up by its own clock.
var errSilent = errors.New("no answer in time")

// exchange is one request to a collector.
type exchange struct {
	req *http.Request
	// body gives size bytes from the beginning, at every call, and may set
	// headers that go with them.
	body func(http.Header) io.Reader
	size int64
	// inline reads the body into memory first, so that it leaves with the
	// headers, in one packet if it fits.
	inline bool
	// wait is how long the answer may take once all is sent, and then each
	// further piece of it.
	wait time.Duration
	// goAhead is how long the collector may take to ask for the body, where the
	// transport does not stop waiting by itself first; 0 means wait.
	goAhead time.Duration
	// sent says that the peer has the file from an earlier request.
	sent bool
}

// trip is one exchange under way: how far it came, and its clock. The
// transport's goroutines write the flags.
type trip struct {
	exchange
	caller context.Context
	ctx    context.Context // of the request; ended by the caller's, by the clock and by end
	cancel context.CancelCauseFunc
	clock  *time.Timer // cancels the request with errSilent
	src    *source     // nil when the body is inline or empty

	connected atomic.Bool // a connection was there
	reused    atomic.Bool // it had served an earlier request
	answered  atomic.Bool // a first byte of any answer came
	exposed   atomic.Bool // something of the body may have left, or all of an empty request

	// mu orders the answer's coming and the body's beginning, which may happen at
	// once; it guards resp while the body is unsent.
	mu   sync.Mutex
	resp *http.Response
}

// roundTrip sends x and returns when the headers of the answer are there. The
// caller ends the trip. An error is a *SendError, and ended the trip.
//
// A collector may have closed an idle connection just when it was picked. Such
// a request, if short and not answered with a single byte, is sent once more on
// a connection of its own. The transport would do so too for requests that it
// holds for idempotent, as often as it finds dead connections and however large
// the body; so it is given no means to repeat a body (no GetBody).
func (s *Sender) roundTrip(ctx context.Context, via *http.Transport, x exchange) (*trip, error) {
	t := newTrip(ctx, x)
	err := t.start(via)
	if err != nil && t.worthRepeating(err) {
		x.sent = t.sentAny()
		t = newTrip(ctx, x)
		err = t.start(s.once)
	}
	if err != nil {
		return nil, t.failed(err)
	}
	return t, nil
}

func newTrip(ctx context.Context, x exchange) *trip {
	t := &trip{exchange: x, caller: ctx}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.clock = time.AfterFunc(time.Hour, func() { t.cancel(errSilent) })
	t.clock.Stop()
	return t
}

// start sends the request through via. After an error the trip has ended.
func (t *trip) start(via *http.Transport) error {
	req := t.req.Clone(httptrace.WithClientTrace(t.ctx, t.trace()))
	req.ContentLength = t.size
	switch {
	case t.size == 0:
		req.Body = http.NoBody
	case t.inline:
		body := make([]byte, t.size)
		if _, err := io.ReadFull(t.body(req.Header), body); err != nil {
			t.src = &source{err: err}
			t.end()
			return err
		}
		// Of this very type the transport knows that it is in memory.
		req.Body = io.NopCloser(bytes.NewReader(body))
	default:
		t.src = newSource(t.body(req.Header), t.size, t.firstRead)
		req.Body = t.src
	}
	resp, err := via.RoundTrip(req)
	if err != nil {
		t.end()
		return err
	}
	t.mu.Lock()
	t.resp = resp
	t.clock.Reset(t.wait)
	t.mu.Unlock()
	return nil
}

// trace notes how far the request came, and sets the clock for what comes next.
// The dial has its own timeout, and so has every write.
func (t *trip) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(c httptrace.GotConnInfo) {
			t.connected.Store(true)
			t.reused.Store(c.Reused)
		},
		WroteHeaders: func() {
			if t.src == nil { // all of it leaves with the headers
				t.exposed.Store(true)
			}
		},
		Wait100Continue: func() {
			t.clock.Reset(cmp.Or(t.goAhead, t.wait))
		},
		WroteRequest: func(w httptrace.WroteRequestInfo) {
			if w.Err == nil {
				t.clock.Reset(t.wait)
			}
		},
		GotFirstResponseByte: func() { t.answered.Store(true) },
	}
}

// firstRead is called before the first byte of a body goes to the transport.
// From here on writes have deadlines and the clock rests until all is sent,
// unless the answer is there already: then it runs for that.
func (t *trip) firstRead() {
	t.exposed.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.resp == nil {
		t.clock.Stop()
	}
}

// sentAny reports whether the peer may have something of the file.
func (t *trip) sentAny() bool { return t.sent || t.exposed.Load() }

// end stops everything that belongs to the trip. When it returns, nothing reads
// the body any more. It may be called twice.
func (t *trip) end() {
	t.cancel(context.Canceled)
	t.clock.Stop()
	if t.resp != nil {
		_ = t.resp.Body.Close()
	}
	if t.src != nil && t.src.done != nil {
		<-t.src.done // RoundTrip promises to close the body in the end
	}
}

// maxRepeat is how much of a body may be sent twice in vain.
const maxRepeat = expectAbove

// worthRepeating reports whether the request met a connection that the peer had
// closed before, rather than a peer in trouble.
func (t *trip) worthRepeating(err error) bool {
	if !t.connected.Load() || !t.reused.Load() || t.answered.Load() || t.silenced() {
		return false
	}
	if timeout(err) || t.caller.Err() != nil {
		return false
	}
	return t.src == nil || t.src.err == nil && t.src.taken() <= maxRepeat
}

// silenced reports whether our own clock ended the request.
func (t *trip) silenced() bool { return errors.Is(context.Cause(t.ctx), errSilent) }

// failed makes the error of a request that got no answer.
func (t *trip) failed(err error) *SendError {
	e := &SendError{Outcome: Refused, Code: CodeCut, Err: err}
	if t.sentAny() {
		e.Outcome = Unknown
	}
	patience := t.wait
	if !t.sentAny() {
		patience = cmp.Or(t.goAhead, t.wait)
	}
	switch {
	case t.src != nil && t.src.err != nil:
		// Fewer bytes left than were announced: no collector publishes that.
		e.Outcome, e.Code, e.Err = Passing, CodeSource, t.src.err
	case t.silenced():
		e.Code, e.Detail, e.Err = CodeNoAnswer, fmt.Sprintf("no answer within %v", patience), errSilent
	case t.caller.Err() != nil:
		e.Code = CodeCanceled
	case !t.connected.Load():
		e.Code = CodeUnreachable
	case timeout(err):
		e.Code, e.Detail = CodeStalled, "it took nothing of the body for too long"
	}
	if e.Detail == "" {
		e.Detail = e.Err.Error()
	}
	return e
}
