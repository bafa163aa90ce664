package httpapi

import (
	"fmt"
	"net/http"
	"time"
)

// Outcome says what is known after an attempt that yielded no receipt. It is
// about this attempt alone: after an Unknown one, a later Refused says nothing
// about the earlier.
type Outcome int

// The outcomes.
const (
	// Refused: nothing of the file was accepted, it surely is not there. Another
	// collector may be offered it at once, and rules may be applied again.
	Refused Outcome = iota + 1
	// Passing: some of it may have been transferred, but it surely was not
	// published. Another collector may be offered it; worth trying again.
	Passing
	// Unknown: the collector may have it. Only the same collector can tell; any
	// other that is offered it might publish it a second time.
	Unknown
	// Permanent: it surely was not published, and never will be as it is.
	Permanent
	// Settled: the collector knows the item as one that is over, so it had it
	// once, and can no longer say more. The file must be kept.
	Settled
)

// String returns the outcome as one lower-case word.
func (o Outcome) String() string {
	switch o {
	case Refused:
		return "refused"
	case Passing:
		return "passing"
	case Unknown:
		return "unknown"
	case Permanent:
		return "permanent"
	case Settled:
		return "settled"
	}
	return fmt.Sprintf("outcome(%d)", int(o))
}

// Codes of a SendError that the sender itself gives, beside those that
// collectors put into their problem documents.
const (
	CodeUnreachable = "unreachable" // no connection: refused, or none within the dial timeout
	CodeCut         = "cut"         // the connection broke before an answer
	CodeNoAnswer    = "no-answer"   // connected, and silent for too long
	CodeStalled     = "stalled"     // took nothing of the body for too long
	CodeCanceled    = "canceled"    // the caller's context ended
	CodeSource      = "source"      // our own file could not be read, or was shorter than said
	CodeBadReceipt  = "bad-receipt" // a success that is not a receipt for this file
	CodeRedirect    = "redirect"    // an answer that sends us elsewhere
	CodeBadOffer    = "bad-offer"   // the offer cannot be sent to anyone
	CodeNoBatch     = "no-batch"    // the peer took no batch: send the files singly
	CodeSettled     = "settled"     // see the outcome of this name
)

// codeInDoubt is the code of a collector that failed after it began to
// publish: it may yet do so when it has recovered.
const codeInDoubt = "in-doubt"

// SendError says why a file got no receipt.
type SendError struct {
	Outcome    Outcome
	Status     int           // of the answer; 0 when there was none
	Code       string        // stable, kebab-case: of the problem document, or a Code constant
	Detail     string        // in words
	RetryAfter time.Duration // the collector's wish; 0 when it has none
	Err        error         // the cause; may be nil
}

// Error joins status, code and words.
func (e *SendError) Error() string {
	text := e.Code
	if e.Status != 0 {
		text = fmt.Sprintf("%d %s", e.Status, e.Code)
	}
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Unwrap returns the cause: a *[Problem] when the collector answered with one.
func (e *SendError) Unwrap() error { return e.Err }

// outcomeOfCode is the part of the table where the code of a problem document
// says more than its status.
var outcomeOfCode = map[string]Outcome{
	// The same id is being published by a request that we gave up.
	"under-way": Unknown,
	codeInDoubt: Unknown,
	// The collector looked at the cluster before it looked at the file.
	"wrong-cluster": Refused,
	// The bytes changed on their way or at their source: hash and send again.
	"digest-mismatch": Passing,
	"short-body":      Passing,
	"too-slow":        Passing,
	codeOffset:        Passing,
	// The disk failed before the file was recorded, and it was dropped.
	"io": Passing,
}

// judge gives the outcome of an answer that is no success:
//
//	1xx 3xx               Passing    whoever answered is no collector of ours
//	400                   Permanent  with a problem document; else Passing: some other server
//	413 415 422 508       Permanent
//	429 503 507           Refused    turned away before the file was accepted
//	409                   Unknown    unless the code tells
//	other 4xx, 501, 505   Passing    e.g. 401, 404: a configuration that may be mended
//	other 5xx             Unknown    when something of the file was sent, else Refused
//
// and outcomeOfCode goes first. sent says that the peer may have got something
// of the file, or its end.
func judge(p *Problem, sent bool) Outcome {
	if o, ok := outcomeOfCode[p.Code]; ok {
		return o
	}
	switch p.Status {
	case http.StatusBadRequest:
		if p.Code == codeUnknownPeer {
			return Passing
		}
		return Permanent
	case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusLoopDetected:
		return Permanent
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		return Refused
	case http.StatusConflict:
		return Unknown
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported:
		return Passing
	}
	switch {
	case p.Status < 500:
		return Passing
	case sent:
		return Unknown
	}
	return Refused
}

// refusedBy makes the error of an answer that is no success.
func refusedBy(p *Problem, sent bool) *SendError {
	e := &SendError{
		Outcome: judge(p, sent), Status: p.Status, Code: p.Code, Detail: p.Detail, RetryAfter: p.RetryAfter, Err: p,
	}
	if e.Detail == "" {
		e.Detail = p.Title
	}
	if p.Status < 400 {
		e.Code, e.Detail = CodeRedirect, fmt.Sprintf("answered %d; redirects are not followed", p.Status)
	}
	return e
}

// badReceipt makes the error of a success that proves nothing. The collector may
// have published the file and its answer may have suffered on the way, so the
// outcome is Unknown however little was sent.
func badReceipt(status int, err error) *SendError {
	return &SendError{Outcome: Unknown, Status: status, Code: CodeBadReceipt, Detail: clip(err.Error()), Err: err}
}
