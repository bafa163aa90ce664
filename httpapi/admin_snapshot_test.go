package httpapi

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

func mustRandom(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func TestSnapshotThereAndBack(t *testing.T) {
	t.Parallel()
	state := mustRandom(t, 5<<20+1) // beyond the bound of other bodies
	var restored []byte
	var forced bool
	c := newTestClient(t, newNetworkAdmin(t, newFakeNode(), &fakeNetwork{
		save: func(_ context.Context, w io.Writer) error {
			_, err := io.Copy(w, iotest.HalfReader(bytes.NewReader(state)))
			return err
		},
		load: func(_ context.Context, r io.Reader, force bool) (err error) {
			forced = force
			restored, err = io.ReadAll(r)
			return err
		},
	}))
	for _, force := range []bool{false, true} {
		var saved bytes.Buffer
		if err := c.SaveSnapshot(t.Context(), &saved); err != nil || !bytes.Equal(saved.Bytes(), state) {
			t.Fatalf("saved %d bytes of %d, %v", saved.Len(), len(state), err)
		}
		// Neither reader tells its length.
		if err := c.RestoreSnapshot(t.Context(), iotest.DataErrReader(&saved), force); err != nil || !bytes.Equal(restored, state) || forced != force {
			t.Fatalf("restored %d bytes of %d, force %t, %v", len(restored), len(state), forced, err)
		}
	}
}

// The first bytes leave before the last are made: nothing is kept whole.
func TestSnapshotIsStreamed(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	h := newNetworkAdmin(t, newFakeNode(), &fakeNetwork{save: func(ctx context.Context, w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		select {
		case <-arrived:
			_, err := w.Write([]byte("end"))
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	c := newTestClient(t, h)
	got := 0
	w := writerFunc(func(p []byte) (int, error) {
		if got == 0 {
			close(arrived)
		}
		got += len(p)
		return len(p), nil
	})
	if err := c.SaveSnapshot(t.Context(), w); err != nil || got != 1<<20+3 {
		t.Errorf("%d bytes, %v", got, err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A part is never taken for the whole; what fails early is told in words.
func TestSnapshotThatFails(t *testing.T) {
	t.Parallel()
	for _, written := range []int{0, 1, snapshotHold, snapshotHold + 1, 1 << 20} {
		c := newTestClient(t, newNetworkAdmin(t, newFakeNode(), &fakeNetwork{save: func(_ context.Context, w io.Writer) error {
			if _, err := w.Write(make([]byte, written)); err != nil {
				return err
			}
			return fmt.Errorf("%w: the leader went", ErrNoLeader)
		}}))
		err := c.SaveSnapshot(t.Context(), io.Discard)
		if err == nil {
			t.Errorf("after %d bytes: taken for the whole", written)
		}
		if written <= snapshotHold && !errors.Is(err, ErrNoLeader) {
			t.Errorf("after %d bytes: got %v, want the reason", written, err)
		}
	}
	c := newTestClient(t, newNetworkAdmin(t, newFakeNode(), &fakeNetwork{save: func(_ context.Context, w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		return err
	}}))
	full := errors.New("disk full")
	if err := c.SaveSnapshot(t.Context(), writerFunc(func([]byte) (int, error) { return 0, full })); !errors.Is(err, full) {
		t.Errorf("a writer that fails: %v", err)
	}
}

func TestSnapshotNeedsChunks(t *testing.T) {
	t.Parallel()
	h := newNetworkAdmin(t, newFakeNode(), &fakeNetwork{})
	r := httptest.NewRequest("GET", pathSnapshot, nil)
	r.Host, r.Proto, r.ProtoMinor = "localhost", "HTTP/1.0", 0
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	mustRefuse(t, "HTTP/1.0", w.Result(), 422, "invalid")
	if resp := ask(h, "HEAD", pathSnapshot, "localhost", nil); resp.StatusCode != 405 {
		t.Errorf("HEAD: %d, want 405: the network was not asked", resp.StatusCode)
	}
}

func TestRestoreThatIsRefused(t *testing.T) {
	t.Parallel()
	n := &fakeNetwork{}
	c := newTestClient(t, newNetworkAdmin(t, newFakeNode(), n))

	n.load = func(context.Context, io.Reader, bool) error { return fmt.Errorf("%w: of 1234", ErrWrongNetwork) }
	body := &readCounter{r: bytes.NewReader(make([]byte, 4<<20))}
	err := c.RestoreSnapshot(t.Context(), body, false)
	if !errors.Is(err, ErrWrongNetwork) || !strings.Contains(err.Error(), "of 1234") || body.n != 0 {
		t.Errorf("refused before the body: %v, %d bytes were sent", err, body.n)
	}

	n.load = func(_ context.Context, r io.Reader, _ bool) error {
		_, _ = io.ReadFull(r, make([]byte, 16))
		return ErrBadSnapshot
	}
	if err := c.RestoreSnapshot(t.Context(), bytes.NewReader(make([]byte, 4<<20)), false); !errors.Is(err, ErrBadSnapshot) {
		t.Errorf("refused after its first bytes: %v, want ErrBadSnapshot", err)
	}

	n.load = func(_ context.Context, r io.Reader, _ bool) error {
		_, err := io.Copy(io.Discard, r)
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	cut := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("disk")))
	if err := c.RestoreSnapshot(t.Context(), cut, false); err == nil {
		t.Error("a body that was cut was restored")
	}
}

type readCounter struct {
	r io.Reader
	n int
}

func (c *readCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestSnapshotsAreBounded(t *testing.T) {
	t.Parallel()
	var took int64
	n := &fakeNetwork{load: func(_ context.Context, r io.Reader, _ bool) (err error) {
		took, err = io.Copy(io.Discard, r)
		return fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}}
	h := newNetworkAdmin(t, newFakeNode(), n)
	put := func(length int64) *http.Response {
		r := httptest.NewRequest(http.MethodPut, pathSnapshot, io.NewSectionReader(zeros{}, 0, maxSnapshot+1))
		r.Host, r.ContentLength = "localhost", length
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	mustRefuse(t, "one byte more", put(-1), 413, "too-large")
	if took != maxSnapshot {
		t.Errorf("took %d bytes", took)
	}
	n.load = nil // fails the test when called
	mustRefuse(t, "one byte more, announced", put(maxSnapshot+1), 413, "too-large")
	for size, want := range map[int]error{8: nil, 9: errAnswerSize} {
		if err := copyBounded(io.Discard, strings.NewReader("123456789"[:size]), 8); !errors.Is(err, want) {
			t.Errorf("%d bytes of 8: %v, want %v", size, err, want)
		}
	}
}
