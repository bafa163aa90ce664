package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// pacedBody is the body of a request that must arrive at a minimum rate: quota
// bytes in every window. Only the time that is spent waiting for the peer
// counts, not that of a slow disk of ours, and what came early is no credit: a
// peer that stalls is cut after one window, however fast it was before.
//
// It works by read deadlines on the connection. net/http takes them off when
// the body ends, to watch for the client's going while the file is published.
type pacedBody struct {
	r      io.Reader
	rc     *http.ResponseController
	window time.Duration
	quota  int64

	left  time.Duration // of this window
	got   int64         // bytes in this window
	ended bool          // nothing is left to read
}

func newPacedBody(w http.ResponseWriter, r *http.Request, window time.Duration, perSecond int64) *pacedBody {
	return &pacedBody{
		r: r.Body, rc: http.NewResponseController(w),
		window: window, quota: max(1, int64(window.Seconds()*float64(perSecond))),
		left:  window,
		ended: r.Body == nil || r.Body == http.NoBody,
	}
}

// Read reads from the body. A peer below the rate gets ErrTooSlow.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	start := time.Now()
	b.deadline(start.Add(b.left))
	n, err := b.r.Read(p)
	b.left -= time.Since(start)
	if b.got += int64(n); b.got >= b.quota {
		b.got, b.left = 0, b.window
	}
	switch {
	case err == io.EOF:
		b.ended = true
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ErrTooSlow
	}
	return n, err
}

// giveUp bounds the time in which net/http reads what is left of the body
// before it answers: without it, a peer that sends nothing would hold the
// answer, and the connection, for ever.
func (b *pacedBody) giveUp() {
	if !b.ended {
		b.deadline(time.Now().Add(max(b.left, 0)))
	}
}

func (b *pacedBody) deadline(t time.Time) {
	_ = b.rc.SetReadDeadline(t) // a closed connection fails at the next read
}
