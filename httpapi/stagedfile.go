package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// stagedFile sees to it that a Staging ends exactly once, on every way out of
// the handler. A call that panics has ended it too.
type stagedFile struct {
	Staging // nil until the inbox has taken the file
	ended   bool
	freed   func() // called when it has ended; nil for nothing
}

func (s *stagedFile) publish(ctx context.Context) (Receipt, error) {
	defer s.end()()
	return s.Publish(ctx)
}

func (s *stagedFile) keep() error {
	defer s.end()()
	return s.Keep()
}

// end marks s as ended and returns what is to be called afterwards.
func (s *stagedFile) end() func() {
	s.ended = true
	if s.freed == nil {
		return func() {}
	}
	return s.freed
}

// dropUnlessEnded is deferred where a Staging begins.
func (s *stagedFile) dropUnlessEnded(c *Collector) {
	if s.ended {
		return
	}
	defer s.end()()
	if s.Staging == nil {
		return // the inbox did not take it
	}
	if err := s.Drop(); err != nil {
		c.cfg.Logger.Warn("partial file not removed", "err", err)
	}
}

const copyBuffer = 128 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// fill writes r to w until io.EOF and returns how many bytes that were. What
// was read before an error is written first, so that it can be kept. already is
// how much of the file is there before; with it, more than limit bytes are
// ErrTooLarge, unless limit is 0. Errors of r other than ErrTooSlow become
// ErrShort; those of w are returned as they are.
func fill(w io.Writer, r io.Reader, already, limit int64) (int64, error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	var total int64
	for {
		n, readErr := readFull(r, buf[:])
		total += int64(n)
		if limit > 0 && already+total > limit {
			return total, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
		}
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return total, nil
		case errors.Is(readErr, ErrTooSlow):
			return total, readErr
		case readErr != nil:
			return total, fmt.Errorf("%w: %w", ErrShort, readErr)
		}
	}
}

// readFull fills buf as far as r goes. Unlike io.ReadFull it returns r's own
// error beside the bytes that came before it.
func readFull(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// isCut reports whether an error is of the connection and not of the file: the
// bytes that came are good.
func isCut(err error) bool {
	return errors.Is(err, ErrShort) || errors.Is(err, ErrTooSlow)
}
