package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	problemType     = "application/problem+json"
	problemURN      = "urn:bucket-relay:problem:" // + code
	maxDetailBytes  = 512
	maxRetryAfter   = time.Hour // a longer wish of a peer is not believed
	codeInternal    = "internal"
	codeUnknownPeer = "http" // an error answer that is no problem document
)

// Problem is a refusal as it travels: a problem document (RFC 9457) with a
// stable code. Programs decide by Code and Status, people read Title and Detail.
//
// Unwrap gives the sentinel that the code stands for, so that errors.Is works
// on both ends of the wire.
type Problem struct {
	Type       string
	Title      string // the same for every problem of one code
	Status     int
	Code       string // stable, kebab-case
	Detail     string // this case, in words; holds no paths and no secrets
	RequestID  string // finds the cause in the log of the node that answered
	RetryAfter time.Duration
}

// Error joins status, code and words.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Code, text)
}

// Unwrap returns the sentinel of the code, or nil for a code unknown here.
func (p *Problem) Unwrap() error {
	for _, k := range kinds {
		if k.code == p.Code {
			return k.err
		}
	}
	return nil
}

// kind is one line of the table from sentinel to what is told about it.
type kind struct {
	err    error
	status int
	code   string
	title  string
	retry  time.Duration // Retry-After; 0 for none
	detail bool          // the text of the error is ours, and safe to show
	warn   bool          // someone may have to act: logged as a warning
}

// kinds is the one table of refusals. The first line that errors.Is finds wins.
var kinds = []kind{
	{ErrInDoubt, 500, codeInDoubt, "It is not known whether the file is published", time.Second, false, true},
	{ErrBadName, 422, "bad-name", "The name is not one a file may have", 0, true, true},
	{ErrDigest, 422, "digest-mismatch", "The bytes do not have the digest announced", 0, false, true},
	{ErrDigestConflict, 422, "digest-conflict", "The id is known with other content or another name", 0, false, true},
	{ErrNameTaken, 422, "name-taken", "A file of this name is in the inbox", 0, false, true},
	{ErrTooLarge, 413, "too-large", "More bytes than this collector takes", 0, true, true},
	{ErrEncodedBody, 415, "encoded-body", "Content encodings are not taken", 0, true, true},
	{ErrBadHeader, 400, "bad-header", "A header or the framing cannot be read", 0, true, false},
	{ErrFull, 507, "full", "No space left", 2 * time.Second, false, true},
	{ErrBusy, 503, "busy", "Too many connections", time.Second, false, true},
	{ErrUnavailable, 503, "unavailable", "Not available now", time.Second, false, true},
	{ErrUnderWay, 409, "under-way", "The same id is being delivered now", time.Second, false, false},
	{ErrWrongCluster, 409, "wrong-cluster", "Not a collector of this cluster", 2 * time.Second, true, true},
	{ErrTooManyHops, 508, "too-many-hops", "The file has passed too many nodes", 0, true, true},
	{ErrIO, 500, "io", "The disk failed", 0, false, true},
	{ErrTooSlow, 408, "too-slow", "The body arrives too slowly", 0, false, false},
	{ErrShort, 400, "short-body", "Fewer bytes came than were announced", 0, false, false},
	{io.ErrUnexpectedEOF, 400, "short-body", "Fewer bytes came than were announced", 0, false, false},
	{ErrUnknownUpload, 404, "unknown-upload", "Nothing is known of this upload", 0, false, false},
	{ErrNotFound, 404, "not-found", "Not found", 0, true, false},
	{ErrMethod, 405, "method", "The method is not allowed here", 0, false, false},
	{ErrStaticNetwork, 501, "static-network", "This node's network is static", 0, true, false},
	{ErrNoLeader, 503, "no-leader", "The network has no leader now", time.Second, true, true},
	{ErrNoQuorum, 503, "no-quorum", "No majority of the network answered in time", time.Second, true, true},
	{ErrNotInNetwork, 503, "not-in-network", "This node is in no network now", time.Second, true, false},
	{ErrClientOnly, 501, "client-only", "This node only follows its network", 0, true, false},
	{ErrQuorumRisk, 409, "quorum-risk", "The network would have no majority left", 0, true, false},
	{ErrNoPort, 409, "no-port", "No port is free for the collector", 0, true, true},
	{ErrWrongNetwork, 409, "wrong-network", "It belongs to another network", 0, true, true},
	{ErrBadSnapshot, 422, "bad-snapshot", "The snapshot is damaged, or too new", 0, true, false},
	{ErrConflict, 409, "conflict", "It belongs to somebody else, or is in use", 0, true, false},
	{ErrInvalid, 422, "invalid", "The values make no sense", 0, true, false},
	{ErrForbiddenHost, 403, "forbidden-host", "The host is none of this node's", 0, false, true},
	{ErrCrossOrigin, 403, "cross-origin", "Changes from other origins are refused", 0, false, true},
	{context.Canceled, 503, "unavailable", "Not available now", time.Second, false, false},
	{context.DeadlineExceeded, 503, "unavailable", "Not available now", time.Second, false, false},
}

// codeOffset has no line above: its error carries a number.
const codeOffset = "offset-mismatch"

// problemOf turns an error into what may be told about it. A *Problem in the
// chain is taken as it is; an error of no known kind is 500 and says nothing.
func problemOf(err error) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		q := *p
		return &q
	}
	if off, ok := errors.AsType[*OffsetError](err); ok {
		return newProblem(kind{nil, 409, codeOffset, "The upload stands at another offset", 0, true, false}, off)
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return newProblem(k, err)
		}
	}
	return newProblem(kind{nil, 500, codeInternal, "Something went wrong here", 0, false, true}, err)
}

func newProblem(k kind, err error) *Problem {
	p := &Problem{Type: problemURN + k.code, Title: k.title, Status: k.status, Code: k.code, RetryAfter: k.retry}
	if k.detail {
		p.Detail = clip(err.Error())
	}
	return p
}

// worthWarning reports whether an operator would note a refusal of this kind.
func worthWarning(err error) bool {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.warn
		}
	}
	_, offset := errors.AsType[*OffsetError](err)
	return !offset
}

func clip(s string) string {
	if len(s) > maxDetailBytes {
		s = s[:maxDetailBytes] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// WriteProblem answers a request with the problem that err stands for, and
// returns it, with the request id that the caller puts in its log beside err.
// Nothing may have been written to w before.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) Problem {
	p := problemOf(err)
	if p.RequestID == "" {
		p.RequestID = newRequestID()
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(wholeSeconds(p.RetryAfter), 10))
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		body, _ := json.Marshal(p)         // strings and numbers always marshal
		_, _ = w.Write(append(body, '\n')) // the peer may be gone: nobody to tell
	}
	return *p
}

// newRequestID marks a refusal, in the answer and in the log.
func newRequestID() string { return fmt.Sprintf("%016x", rand.Uint64()) }

func wholeSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// problemJSON is the form of a Problem on the wire.
type problemJSON struct {
	Type        string `json:"type"`
	Title       string `json:"title"`
	Status      int    `json:"status"`
	Code        string `json:"code"`
	Detail      string `json:"detail,omitempty"`
	RequestID   string `json:"request_id,omitempty"`
	RetryAfterS int64  `json:"retry_after_s,omitempty"`
}

// MarshalJSON writes the document, with the wait in whole seconds.
func (p *Problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(problemJSON{p.Type, p.Title, p.Status, p.Code, p.Detail, p.RequestID, wholeSeconds(p.RetryAfter)})
}

// UnmarshalJSON reads the document and bounds what it says.
func (p *Problem) UnmarshalJSON(b []byte) error {
	var j problemJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*p = Problem{
		Type: clip(j.Type), Title: clip(j.Title), Status: j.Status, Code: clip(j.Code),
		Detail: clip(j.Detail), RequestID: clip(j.RequestID), RetryAfter: retryAfter(j.RetryAfterS),
	}
	return nil
}

func retryAfter(seconds int64) time.Duration {
	seconds = min(max(seconds, 0), int64(maxRetryAfter/time.Second))
	return time.Duration(seconds) * time.Second
}

// parseProblem reads an answer that is no success. It never fails: what is not
// a problem document, such as the page of a proxy, becomes one of code "http".
// The status line and the Retry-After header count, not what the body repeats.
func parseProblem(status int, h http.Header, body []byte) *Problem {
	var p Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		p = Problem{Type: "about:blank", Title: clip(http.StatusText(status)), Code: codeUnknownPeer}
	}
	p.Status = status
	if s, err := strconv.ParseInt(h.Get("Retry-After"), 10, 64); err == nil {
		p.RetryAfter = retryAfter(s)
	}
	return &p
}
