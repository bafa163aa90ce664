package httpapi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
)

// batchBuffer is how much of a batch is in memory; more than maxPartHeader.
const batchBuffer = 64 << 10

// errBatch is returned when the frame of a batch is broken: nothing that
// follows can be told apart. It wraps ErrBadHeader.
var errBatch = fmt.Errorf("%w: broken batch", ErrBadHeader)

// batchReader takes a batch apart. Between parts, next; within a part, Read,
// until io.EOF. Where a part ends is told by the boundary alone, so a part that
// lies about its length cannot shift its neighbours.
//
// It is stricter than mime/multipart, which this is not for two reasons: headers
// are bounded in bytes there only by a process-wide setting, at 10 MiB; and it
// reads in pieces of 4 KiB, which each become a write to the disk.
type batchReader struct {
	br     *bufio.Reader
	lines  *bufio.Reader // over a header block; one for all parts
	delim  []byte        // CRLF "--" boundary
	inPart bool
	ended  bool // the closing boundary was read
}

func newBatchReader(r io.Reader, boundary string) *batchReader {
	return &batchReader{
		br:    bufio.NewReaderSize(r, batchBuffer),
		lines: bufio.NewReader(nil),
		delim: []byte("\r\n--" + boundary),
	}
}

// next goes on to the next part, over what is left of the current one, and
// returns its headers. It returns io.EOF after the last part.
//
// An error of kind *partError concerns this part only, and next may be called
// again. All others are final: io.ErrUnexpectedEOF for a batch that was cut,
// errBatch for one out of form, and whatever the reader returns.
func (b *batchReader) next() (http.Header, error) {
	if b.ended {
		return nil, io.EOF
	}
	if err := b.toDelimiter(); err != nil {
		return nil, err
	}
	tail, err := b.peek(2)
	if err != nil {
		return nil, err
	}
	_, _ = b.br.Discard(2) // they are in the buffer
	switch string(tail) {
	case "--":
		b.ended = true
		return nil, io.EOF
	case "\r\n":
		b.inPart = true
		return b.header()
	}
	return nil, errBatch
}

// toDelimiter consumes everything up to and including the next delimiter. The
// very first one stands at the beginning and lacks its CRLF.
func (b *batchReader) toDelimiter() error {
	delim := b.delim
	if !b.inPart {
		delim = delim[2:]
	}
	if err := b.skip(); err != nil {
		return err
	}
	got, err := b.peek(len(delim))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, delim) {
		return errBatch
	}
	_, _ = b.br.Discard(len(delim)) // they are in the buffer
	return nil
}

// skip reads over what is left of the current part.
func (b *batchReader) skip() error {
	if !b.inPart {
		return nil
	}
	_, err := io.Copy(io.Discard, onlyReader{b})
	return err
}

// onlyReader hides other methods from io.Copy.
type onlyReader struct{ io.Reader }

// partError is an error of one part, which the parts behind it outlive.
type partError struct{ err error }

func (e *partError) Error() string { return e.err.Error() }
func (e *partError) Unwrap() error { return e.err }

// header reads the header block of a part: lines, and an empty one.
func (b *batchReader) header() (http.Header, error) {
	end := []byte("\r\n\r\n")
	for want := 2; ; {
		if _, err := b.peek(want); err != nil {
			return nil, err
		}
		got, _ := b.br.Peek(min(b.br.Buffered(), maxPartHeader))
		if bytes.HasPrefix(got, end[:2]) { // no headers at all
			_, _ = b.br.Discard(2)
			return http.Header{}, nil
		}
		if i := bytes.Index(got, end); i >= 0 {
			return b.parseHeader(i + len(end))
		}
		if len(got) == maxPartHeader {
			return nil, &partError{fmt.Errorf("%w: part header of more than %d bytes", ErrBadHeader, maxPartHeader)}
		}
		want = len(got) + 1
	}
}

func (b *batchReader) parseHeader(n int) (http.Header, error) {
	block, err := b.br.Peek(n)
	if err != nil {
		return nil, err
	}
	b.lines.Reset(bytes.NewReader(block))
	h, err := textproto.NewReader(b.lines).ReadMIMEHeader()
	if err != nil || bytes.Contains(block, b.delim) {
		// Not consumed: a part without an empty line must not swallow the next.
		return nil, &partError{fmt.Errorf("%w: part header out of form", ErrBadHeader)}
	}
	_, _ = b.br.Discard(n) // they are in the buffer
	return http.Header(h), nil
}

// Read gives the bytes of the current part, and io.EOF at its end.
// io.ErrUnexpectedEOF says that the batch was cut before the part was whole.
func (b *batchReader) Read(p []byte) (int, error) {
	if !b.inPart || len(p) == 0 {
		return 0, nil
	}
	if _, err := b.peek(len(b.delim) + 2); err != nil {
		return 0, err
	}
	buf, _ := b.br.Peek(b.br.Buffered()) // as much as is there anyway
	i := bytes.Index(buf, b.delim)
	switch {
	case i == 0 && isDelimiter(buf[len(b.delim):]):
		return 0, io.EOF
	case i == 0:
		i = 1 // looks like the delimiter, is content
	case i < 0:
		i = len(buf) - len(b.delim) + 1 // the rest may begin a delimiter
	}
	n := copy(p, buf[:i])
	_, _ = b.br.Discard(n) // they are in the buffer
	return n, nil
}

// isDelimiter reports whether what follows a boundary makes it one.
func isDelimiter(tail []byte) bool {
	return bytes.HasPrefix(tail, []byte("--")) || bytes.HasPrefix(tail, []byte("\r\n"))
}

// peek returns the next n bytes without consuming them.
func (b *batchReader) peek(n int) ([]byte, error) {
	got, err := b.br.Peek(n)
	if err != nil && errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	return got, err
}
