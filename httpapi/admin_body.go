package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	// maxAdminBody bounds the body of an admin request in bytes.
	maxAdminBody = 1 << 20
	// adminBodyTime is how long such a body may take.
	adminBodyTime = 10 * time.Second
	// maxSnapshot bounds the body of PUT /v1/snapshot in bytes: a network of a
	// million collectors has less.
	maxSnapshot = 256 << 20
	// snapshotRate is what of it must come per second, in bytes.
	snapshotRate = 16 << 10
)

// boundBody returns the request with bounds on what it may send, and for how long
// it may take. The deadline on the connection also ends what net/http reads of a
// body that nobody wanted; net/http takes it off when the body ends. The request
// is a copy: net/http looks at the body of its own to know that a client still
// waits for 100 Continue, and then does not ask for what nobody will read.
func boundBody(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	bounded := *r
	if r.URL.Path != pathSnapshot {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(adminBodyTime)) // a closed connection fails at the read
		bounded.Body = http.MaxBytesReader(w, r.Body, maxAdminBody)
		return &bounded
	}
	bounded.Body = http.MaxBytesReader(w, r.Body, maxSnapshot)
	paced := newPacedBody(w, &bounded, adminBodyTime, snapshotRate)
	paced.giveUp()
	bounded.Body = struct {
		io.Reader
		io.Closer
	}{paced, bounded.Body}
	return &bounded
}

// readBody reads one JSON document and refuses what it does not know.
func readBody(r *http.Request, into any) error {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyProblem(err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return badBody("it is empty: want a JSON document")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return badBody("%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badBody("there is something after the document")
	}
	return nil
}

// bodyProblem words why a body could not be read.
func bodyProblem(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refusal(ErrTooLarge, "a body of more than %d bytes is not taken here", large.Limit)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ErrTooSlow):
		return refusal(ErrTooSlow, "the body has to come within %v", adminBodyTime)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refusal(ErrShort, "the body was cut")
	}
	return badBody("it cannot be read: %v", err)
}

// badBody is the problem of a document that cannot be read.
func badBody(format string, args ...any) *Problem {
	return &Problem{
		Type: problemURN + "bad-body", Title: "The body cannot be read", Status: http.StatusBadRequest,
		Code: "bad-body", Detail: clip(fmt.Sprintf(format, args...)),
	}
}
