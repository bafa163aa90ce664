package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// slowPeer is a connection whose reads take wait of the time of a bubble and
// give n bytes, unless the deadline comes first.
type slowPeer struct {
	http.ResponseWriter
	deadline time.Time
	wait     time.Duration
	n        int
	err      error
}

func (p *slowPeer) SetReadDeadline(t time.Time) error {
	p.deadline = t
	return nil
}

func (p *slowPeer) Read(b []byte) (int, error) {
	if left := time.Until(p.deadline); left < p.wait {
		time.Sleep(left) // of the bubble
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(p.wait) // of the bubble
	return min(p.n, len(b)), p.err
}

func (p *slowPeer) Close() error { return nil }

// paced asks for 10 bytes in every 10 seconds.
func paced(p *slowPeer) *pacedBody {
	return newPacedBody(p, &http.Request{Body: p}, 10*time.Second, 1)
}

func TestPaceLetsTheMinimumPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPeer{wait: time.Second, n: 1}
		b := paced(p)
		for i := range 100 {
			if n, err := b.Read(make([]byte, 8)); n != 1 || err != nil {
				t.Fatalf("read %d: %d, %v", i, n, err)
			}
		}
	})
}

func TestPaceCutsBelowTheMinimum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := paced(&slowPeer{wait: 1100 * time.Millisecond, n: 1})
		var err error
		for err == nil {
			_, err = b.Read(make([]byte, 8))
		}
		if !errors.Is(err, ErrTooSlow) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A fast start is no credit for a stall.
func TestPaceCutsAStallAfterOneWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPeer{n: 1 << 20}
		b := paced(p)
		for range 10 {
			if _, err := b.Read(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		p.wait = time.Hour
		start := time.Now()
		if _, err := b.Read(make([]byte, 8)); !errors.Is(err, ErrTooSlow) || time.Since(start) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A disk that takes its time is not the sender's fault.
func TestPaceCountsOnlyTheWaitingForThePeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := paced(&slowPeer{wait: time.Second, n: 1})
		for i := range 30 {
			if _, err := b.Read(make([]byte, 8)); err != nil {
				t.Fatalf("read %d: %v", i, err)
			}
			time.Sleep(time.Minute) // of the bubble: we write
		}
	})
}

func TestPaceAfterTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &slowPeer{err: io.EOF}
		b := paced(p)
		b.giveUp()
		if time.Until(p.deadline) != 10*time.Second {
			t.Errorf("what is left of a body may take %v", time.Until(p.deadline))
		}
		for range 2 {
			if _, err := b.Read(make([]byte, 8)); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
		p.deadline = time.Time{} // as net/http does at the end of a body
		if b.giveUp(); !p.deadline.IsZero() {
			t.Error("a deadline on a connection that is not being read")
		}
	})
}
