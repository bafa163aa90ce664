package httpapi

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The tests of this file run the sender against the collector of this package.

func TestSenderAndCollectorAgree(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	peer := Peer{Base: serveCollector(t, in, nil).url}
	s := newTestSender(t, SenderConfig{NodeID: "n0"})
	for i, size := range []int{0, 1, expectAbove, expectAbove + 1, 5 << 20} {
		content := bytesOf(size)
		o := offerOf(fmt.Sprintf("file %%%d ü.json", i), content)
		o.ID, o.Cluster, o.MTime = fmt.Sprintf("%s%x", testID, i), "cluster1", time.Now()
		for _, duplicate := range []bool{false, true} {
			r, err := s.Put(t.Context(), peer, o)
			if err != nil || r.Duplicate != duplicate {
				t.Fatalf("%d bytes: got %+v, %v, want a receipt, duplicate %v", size, r, err, duplicate)
			}
		}
		if got, ok := in.file(o.Name); !ok || got != string(content) {
			t.Errorf("%d bytes: arrived as %d bytes (%v)", size, len(got), ok)
		}
	}
}

func TestSenderAndCollectorAgreeOnBatches(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	peer := Peer{Base: serveCollector(t, in, nil).url}
	s := newTestSender(t, SenderConfig{})
	all := offers(300, 1<<10)
	for _, duplicate := range []bool{false, true} {
		results, err := s.PutBatch(t.Context(), peer, all)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || r.Receipt.Duplicate != duplicate {
				t.Fatalf("file %d: %+v, want a receipt, duplicate %v", i, r, duplicate)
			}
		}
	}
}

// After its restart a sender does not know yet who answers at an address. It
// resumes all the same, without a HEAD.
func TestSenderResumesAtAStranger(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	peer := Peer{Base: serveCollector(t, in, nil).url}
	content := bytesOf(8 << 20)
	o := offerOf("big", content)
	o.Body = failingReader{good: 5 << 20}
	_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, o)
	wantSendError(t, err, Passing, CodeSource)

	kept := waitForKept(t, in, o.ID)
	reads := &countingReader{r: bytes.NewReader(content)}
	o.Body, o.Resume, o.Stranger = reads, true, true
	o.Digest = offerOf("big", zeroTo(content, kept)).Digest
	if _, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, o); err != nil {
		t.Fatal(err)
	}
	if got, _ := in.file("big"); got != string(zeroTo(content, kept)) {
		t.Error("the file arrived with other bytes")
	}
	// A go-ahead that does not come in time would cost some bytes of the PUT.
	if n := reads.n.Load(); n > int64(len(content)-kept)+1<<20 {
		t.Errorf("%d bytes were sent again, of which %d were missing", n, len(content)-kept)
	}
	// Where nothing is kept it is an ordinary PUT.
	o2 := offerOf("new", content)
	o2.ID, o2.Resume, o2.Stranger = testID+"2", true, true
	if _, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, o2); err != nil {
		t.Fatal(err)
	}
}

func TestSenderResumesAtCollector(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t)
	peer := Peer{Base: serveCollector(t, in, nil).url}
	s := newTestSender(t, SenderConfig{})
	content := bytesOf(8 << 20)
	o := offerOf("big", content)
	o.Body = failingReader{good: 5 << 20}
	_, err := s.Put(t.Context(), peer, o)
	wantSendError(t, err, Passing, CodeSource)

	kept := waitForKept(t, in, o.ID)
	reads := &countingReader{r: bytes.NewReader(content)}
	o.Body, o.Resume, o.Digest = reads, true, offerOf("big", zeroTo(content, kept)).Digest
	if _, err := s.Put(t.Context(), peer, o); err != nil {
		t.Fatal(err)
	}
	if got := reads.n.Load(); got != o.Size-int64(kept) {
		t.Errorf("%d bytes were sent, want the %d that were missing", got, o.Size-int64(kept))
	}
	if r, err := s.Put(t.Context(), peer, o); err != nil || !r.Duplicate {
		t.Errorf("resuming a published file: %+v, %v", r, err)
	}
}

// zeroTo gives content as failingReader makes it: its beginning is zeros.
func zeroTo(content []byte, n int) []byte {
	c := bytes.Clone(content)
	clear(c[:n])
	return c
}

// waitForKept waits until the collector has noticed the cut, and returns how
// many bytes it kept.
func waitForKept(t *testing.T, in *fakeInbox, key string) int {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for {
		in.mu.Lock()
		kept, ok := in.kept[key]
		in.mu.Unlock()
		if ok {
			return len(kept)
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the collector kept nothing of a cut upload")
		}
	}
}

func TestRefusalsOfTheCollectorReachTheSender(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		begin   error
		change  func(o *Offer)
		outcome Outcome
		code    string
	}{
		"full":          {ErrFull, nil, Refused, "full"},
		"unavailable":   {ErrUnavailable, nil, Refused, "unavailable"},
		"under way":     {ErrUnderWay, nil, Unknown, "under-way"},
		"conflict":      {ErrDigestConflict, nil, Permanent, "digest-conflict"},
		"name taken":    {ErrNameTaken, nil, Permanent, "name-taken"},
		"io":            {ErrIO, nil, Passing, "io"},
		"settled":       {&DeliveredError{Receipt{ID: testID, Settled: true}}, nil, Settled, CodeSettled},
		"wrong cluster": {nil, func(o *Offer) { o.Cluster = "another" }, Refused, "wrong-cluster"},
		"wrong digest":  {nil, func(o *Offer) { o.Digest[0]++ }, Passing, "digest-mismatch"},
		"hops":          {nil, func(o *Offer) { o.Hops = strings.Repeat("n,", MaxHops) + "n" }, Permanent, "too-many-hops"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newFakeInbox(t)
			if c.begin != nil {
				in.begin = func(Arrival) error { return c.begin }
			}
			peer := Peer{Base: serveCollector(t, in, nil).url}
			for _, size := range []int{10, 1 << 20} {
				o := offerOf("a", bytesOf(size))
				if c.change != nil {
					c.change(&o)
				}
				_, err := newTestSender(t, SenderConfig{}).Put(t.Context(), peer, o)
				wantSendError(t, err, c.outcome, c.code)
			}
		})
	}
}

// A collector with too many connections answers before it reads the request,
// and hangs up. That must never look as if it might have the file.
func TestCollectorWithoutRoomRefuses(t *testing.T) {
	t.Parallel()
	ln, err := Listen(t.Context(), "127.0.0.1:0", Limits{ConnsPerPeer: 1})
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(http.NotFoundHandler(), Limits{ReadHeaderTimeout: time.Hour}, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	conn, err := net.Dial("tcp", ln.Addr().String()) // takes the only place
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	s := newTestSender(t, SenderConfig{})
	for range 20 {
		_, err := s.Put(t.Context(), Peer{Base: "http://" + ln.Addr().String()}, offerOf("a", []byte("x")))
		if e := asSendError(t, err); e.Outcome != Refused {
			t.Fatalf("got %v (%v), want refused", e, e.Outcome)
		}
	}
}
