package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// The bounds of a batch. A sender stays below them; a collector refuses what
// is above: a part too large by itself, a batch of too many parts from there on.
const (
	MaxBatchParts     = 1024
	MaxBatchPartBytes = 8 << 20
	maxPartHeader     = 16 << 10
	maxBatchBytes     = 1 << 30
	maxBoundaryBytes  = 70 // RFC 2046, 5.1.1
)

const (
	batchType   = "multipart/mixed"
	answersType = "application/x-ndjson"
)

// BatchPart is one file of a batch.
type BatchPart struct {
	Name string
	Size int64 // bytes that Body gives
	Meta Meta
	Body io.Reader
}

// Batch is the body of a POST that delivers many small files:
//
//	--<boundary>
//	Content-Location: /<escaped name>
//	Content-Length: <bytes>
//	<the headers of Meta>
//
//	<bytes>
//	--<boundary>--
//
// Its length is known before it is read. A part whose Body ends early or fails
// is filled up with zeros, so that its neighbours arrive; its digest then does
// not match, the collector refuses this part, and Err tells why. A batch is read
// once and by one goroutine.
type Batch struct {
	boundary string
	size     int64
	body     io.Reader
	fillers  []*filler
}

// NewBatch frames the parts in their order. The bodies are not read before the
// batch is.
func NewBatch(parts []BatchPart) *Batch {
	b := &Batch{boundary: newBoundary(), fillers: make([]*filler, 0, len(parts))}
	readers := make([]io.Reader, 0, 2*len(parts)+1)
	var frame bytes.Buffer // all frames in one buffer: one allocation, not one a part
	ends := make([]int, 0, len(parts)+1)
	for i, p := range parts {
		if i > 0 {
			frame.WriteString("\r\n")
		}
		writePartHeader(&frame, b.boundary, p)
		ends = append(ends, frame.Len())
		b.size += p.Size
	}
	fmt.Fprintf(&frame, "\r\n--%s--\r\n", b.boundary)
	ends = append(ends, frame.Len())
	b.size += int64(frame.Len())
	start := 0
	for i, end := range ends {
		readers = append(readers, bytes.NewReader(frame.Bytes()[start:end]))
		start = end
		if i < len(parts) {
			f := &filler{r: parts[i].Body, left: parts[i].Size}
			b.fillers = append(b.fillers, f)
			readers = append(readers, f)
		}
	}
	b.body = io.MultiReader(readers...)
	return b
}

// ContentType returns the Content-Type that goes with the batch.
func (b *Batch) ContentType() string {
	return batchType + "; boundary=" + b.boundary
}

// Size returns the length of the whole body in bytes.
func (b *Batch) Size() int64 { return b.size }

// Read reads the body.
func (b *Batch) Read(p []byte) (int, error) { return b.body.Read(p) }

// Err reports why part i, counted from 0, was filled up with zeros, or nil. Call
// it when the batch has been read.
func (b *Batch) Err(i int) error { return b.fillers[i].err }

func newBoundary() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	return hex.EncodeToString(raw[:])
}

func writePartHeader(w *bytes.Buffer, boundary string, p BatchPart) {
	h := http.Header{}
	p.Meta.set(h)
	h.Set("Content-Location", escapeName(p.Name))
	h.Set("Content-Length", formatCount(p.Size))
	fmt.Fprintf(w, "--%s\r\n", boundary)
	_ = h.Write(w) // a buffer takes all
	w.WriteString("\r\n")
}

// filler gives exactly left bytes: those of r, then zeros.
type filler struct {
	r    io.Reader
	left int64
	err  error
}

func (f *filler) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > f.left {
		p = p[:f.left]
	}
	if f.err != nil {
		clear(p)
		f.left -= int64(len(p))
		return len(p), nil
	}
	n, err := f.r.Read(p)
	f.left -= int64(n)
	if err == io.EOF && f.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && f.left > 0 {
		f.err = err
	}
	return n, nil
}

// batchBoundary reads the boundary from the Content-Type of a batch. Errors
// wrap ErrBadHeader.
func batchBoundary(contentType string) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != batchType {
		return "", fmt.Errorf("%w: Content-Type is not %s", ErrBadHeader, batchType)
	}
	b := params["boundary"]
	if b == "" || len(b) > maxBoundaryBytes || strings.ContainsFunc(b, notPrintable) {
		return "", fmt.Errorf("%w: no boundary, or a bad one", ErrBadHeader)
	}
	return b, nil
}
