package httpapi

import (
	"bufio"
	"errors"
	"io"
	"net/http"
)

const (
	pathSnapshot = "/v1/snapshot"
	typeSnapshot = "application/octet-stream"
	// snapshotHold is how much of a snapshot is held back at first, in bytes: what
	// fails before has a problem for an answer.
	snapshotHold = 64 << 10
	// snapshotDrain is how much of a refused snapshot is still read, in bytes: a
	// client that is cut while it sends would not see the answer.
	snapshotDrain = 8 << 20
)

// saveSnapshot streams the snapshot, in chunks of HTTP/1.1, whose end says that
// the whole is there. An error behind the first chunk cuts the connection, so
// that nobody takes a part for the whole.
func saveSnapshot(n Network, w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodHead {
		return refusal(ErrMethod, "a snapshot is made anew for each GET: nothing can be said before")
	}
	if !r.ProtoAtLeast(1, 1) {
		return refusal(ErrInvalid, "a snapshot needs HTTP/1.1: an older client would not notice one that is cut")
	}
	started := &startedWriter{w: w}
	out := bufio.NewWriterSize(started, snapshotHold)
	err := n.SaveSnapshot(r.Context(), out)
	if err == nil {
		err = out.Flush()
	}
	if err != nil && started.is {
		panic(http.ErrAbortHandler)
	}
	return err
}

// startedWriter sends the header with the first byte and remembers that it did.
type startedWriter struct {
	w  http.ResponseWriter
	is bool
}

// Write implements [io.Writer].
func (s *startedWriter) Write(b []byte) (int, error) {
	if !s.is {
		s.w.Header().Set("Content-Type", typeSnapshot)
		s.is = true
	}
	return s.w.Write(b)
}

// loadSnapshot replaces the network's state by the body.
func (a *admin) loadSnapshot(n Network, w http.ResponseWriter, r *http.Request) error {
	q, err := query(r)
	if err != nil {
		return err
	}
	force, err := flagQuery(q, "force")
	if err != nil {
		return err
	}
	if r.ContentLength > maxSnapshot {
		return bodyProblem(&http.MaxBytesError{Limit: maxSnapshot})
	}
	body := &notedReader{r: r.Body}
	if err := n.LoadSnapshot(r.Context(), body, force); err != nil {
		if body.err != nil {
			return bodyProblem(body.err) // whatever the network made of it
		}
		if body.begun {
			_, _ = io.CopyN(io.Discard, r.Body, snapshotDrain) // only to be polite
		}
		return err
	}
	return a.changed(w, r, "snapshot restored", "")
}

// notedReader keeps the error that ended it, io.EOF aside.
type notedReader struct {
	r     io.Reader
	begun bool
	err   error
}

// Read implements [io.Reader].
func (n *notedReader) Read(p []byte) (int, error) {
	n.begun = true
	got, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return got, err
}
