package httpapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// offers makes n files of the given size with ids of one outbox.
func offers(n, size int) []Offer {
	all := make([]Offer, n)
	file := offerOf("", bytesOf(size))
	for i := range all {
		all[i] = file
		all[i].Name = fmt.Sprintf("file %d.json", i)
		all[i].ID = fmt.Sprintf("%s%x", testID, i)
	}
	return all
}

// batchPeer answers a batch with a line for each part, which line makes.
func batchPeer(t *testing.T, line func(i int, m Meta, name string, body []byte) BatchAnswer) Peer {
	t.Helper()
	return httpPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/" {
			t.Errorf("got %s %s, want POST /", r.Method, r.URL.Path)
		}
		boundary, err := batchBoundary(r.Header.Get("Content-Type"))
		if err != nil {
			t.Error(err)
		}
		parts := newBatchReader(r.Body, boundary)
		var answers []BatchAnswer
		for i := 0; ; i++ {
			h, err := parts.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			m, err := parseMeta(h)
			if err != nil {
				t.Error(err)
			}
			name, err := unescapeName(h.Get("Content-Location"))
			if err != nil {
				t.Error(err)
			}
			body, err := io.ReadAll(parts)
			if err != nil {
				t.Error(err)
			}
			answers = append(answers, line(i, m, name, body))
		}
		w.Header().Set("Content-Type", answersType)
		_, _ = w.Write(encodeAnswers(answers))
	})
}

// honest gives the receipt of what has arrived.
func honest(_ int, m Meta, name string, body []byte) BatchAnswer {
	o := offerOf(name, body)
	o.ID = m.Key
	return BatchAnswer{Receipt: receiptOf(o)}
}

func TestBatchDeliversEveryFile(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ n, size int }{{1, 0}, {3, 10}, {40, 1 << 10}, {300, 1 << 10}, {5, 1 << 20}, {0, 0}} {
		results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), batchPeer(t, honest), offers(c.n, c.size))
		if err != nil || len(results) != c.n {
			t.Fatalf("%d × %d: %d results, %v", c.n, c.size, len(results), err)
		}
		for i, r := range results {
			if r.Err != nil || r.Receipt.Name != fmt.Sprintf("file %d.json", i) {
				t.Errorf("%d × %d: file %d: %+v", c.n, c.size, i, r)
			}
		}
	}
}

func TestBatchTellsTheMarksOfAnOutboxOnce(t *testing.T) {
	t.Parallel()
	all := offers(4, 1)
	for i := range all {
		all[i].Settled = []Mark{{Epoch: 1, Seq: 5}}
	}
	all[2].Settled = []Mark{{Epoch: 2, Seq: 6}}
	var got []string
	peer := batchPeer(t, func(i int, m Meta, name string, body []byte) BatchAnswer {
		got = append(got, formatMarks(m.Settled))
		return honest(i, m, name, body)
	})
	if _, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), peer, all); err != nil {
		t.Fatal(err)
	}
	want := []string{"0000000000000001=5", "", "0000000000000002=6", "0000000000000001=5"}
	if !equalStrings(got, want) {
		t.Errorf("got marks %q, want %q", got, want)
	}
}

func TestBatchJudgesEachFileByItself(t *testing.T) {
	t.Parallel()
	all := offers(7, 1)
	all[6].Body = failingReader{}
	peer := batchPeer(t, func(i int, m Meta, name string, body []byte) BatchAnswer {
		a := honest(i, m, name, body)
		switch i {
		case 1:
			return BatchAnswer{Problem: problemOf(ErrNameTaken)}
		case 2:
			a.Receipt.SHA256 = strings.Repeat("0", 64)
		case 3:
			return BatchAnswer{Problem: problemOf(ErrFull)}
		case 4:
			a.Receipt = Receipt{ID: m.Key, Settled: true, Duplicate: true}
		case 6:
			return BatchAnswer{Problem: problemOf(ErrDigest)}
		}
		return a
	})
	results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), peer, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 5} {
		if results[i].Err != nil {
			t.Errorf("file %d suffers from its neighbours: %v", i, results[i].Err)
		}
	}
	wantSendError(t, results[1].Err, Permanent, "name-taken")
	wantSendError(t, results[2].Err, Unknown, CodeBadReceipt)
	if e := mustSendError(t, results[3].Err, Refused, "full"); e.RetryAfter == 0 {
		t.Error("the wish to wait was lost")
	}
	wantSendError(t, results[4].Err, Settled, CodeSettled)
	if e := mustSendError(t, results[6].Err, Passing, CodeSource); !errors.Is(e, os.ErrPermission) {
		t.Errorf("cause %v, want the reader's", e.Err)
	}
}

func TestBatchAnswersThatStopOrLie(t *testing.T) {
	t.Parallel()
	all := offers(3, 1)
	var lines []string
	for _, o := range all {
		lines = append(lines, string(encodeAnswers([]BatchAnswer{{Receipt: receiptOf(o)}})))
	}
	cases := map[string]struct {
		body string
		good int // files with a receipt
		code string
	}{
		"two lines of three":     {lines[0] + lines[1], 2, CodeBadReceipt},
		"half a line":            {lines[0] + lines[1][:20], 1, CodeBadReceipt},
		"garbage":                {lines[0] + "ok\n" + lines[2], 1, CodeBadReceipt},
		"nothing":                {"", 0, CodeBadReceipt},
		"another file's":         {lines[1] + lines[0] + lines[2], 0, CodeBadReceipt},
		"a line of 1 MiB":        {lines[0] + strings.Repeat(" ", 1<<20) + "\n", 1, CodeBadReceipt},
		"a status like no other": {lines[0] + `{"status":302}` + "\n", 1, CodeBadReceipt},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := answering(t, 200, map[string]string{"Content-Type": answersType}, []byte(c.body))
			results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), peer, all)
			if name != "another file's" {
				wantSendError(t, err, Unknown, c.code)
			}
			for i, r := range results {
				if i < c.good {
					if r.Err != nil {
						t.Errorf("file %d: %v", i, r.Err)
					}
					continue
				}
				if name != "another file's" || i < 2 {
					wantSendError(t, r.Err, Unknown, c.code)
				}
			}
		})
	}
}

func TestBatchRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	all := offers(3, 100)
	cases := map[string]struct {
		status  int
		typ     string
		body    []byte
		outcome Outcome
		code    string
	}{
		"busy":         {503, problemType, mustJSON(t, problemOf(ErrBusy)), Refused, "busy"},
		"bad framing":  {400, problemType, mustJSON(t, problemOf(ErrBadHeader)), Passing, CodeNoBatch},
		"too large":    {413, problemType, mustJSON(t, problemOf(ErrTooLarge)), Passing, CodeNoBatch},
		"no such path": {404, "text/html", []byte("<html>"), Passing, CodeNoBatch},
		"no POST":      {405, "", nil, Passing, CodeNoBatch},
		"not made":     {501, "", nil, Passing, CodeNoBatch},
		"the original": {200, "", []byte("success"), Unknown, CodeNoBatch},
		"gateway":      {502, "", nil, Unknown, codeUnknownPeer},
		"elsewhere":    {302, "", nil, Passing, CodeRedirect},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := answering(t, c.status, map[string]string{"Content-Type": c.typ}, c.body)
			results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), peer, all)
			wantSendError(t, err, c.outcome, c.code)
			for _, r := range results {
				wantSendError(t, r.Err, c.outcome, c.code)
			}
		})
	}
}

func TestBatchCutInItsMidst(t *testing.T) {
	t.Parallel()
	all := offers(64, 1<<20)
	w := newWire(t, func(c *wireConn) {
		_, _ = c.readHead()
		c.say(100, nil)
		_, _ = io.CopyN(io.Discard, c.br, 3<<20)
		c.reset()
	})
	within(t, 20*time.Second, func() {
		results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), w.peer(), all)
		wantSendError(t, err, Unknown, CodeCut)
		wantSendError(t, results[0].Err, Unknown, CodeCut)
		wantSendError(t, results[2].Err, Unknown, CodeCut)
		wantSendError(t, results[63].Err, Refused, CodeCut)
	})
}

func TestBatchToNobody(t *testing.T) {
	t.Parallel()
	w := newWire(t, func(*wireConn) {})
	peer := w.peer()
	w.close()
	results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), peer, offers(2, 1))
	wantSendError(t, err, Refused, CodeUnreachable)
	wantSendError(t, results[1].Err, Refused, CodeUnreachable)
}

func TestBatchOnADeadConnectionIsFramedAnew(t *testing.T) {
	t.Parallel()
	all := offers(3, 1)
	next := batchPeer(t, honest)
	w := newWire(t, func(c *wireConn) {
		serveOnce(t, c, all[0])
		_ = c.readWhole()
	}, func(c *wireConn) { proxyTo(c, next) })
	s := newTestSender(t, SenderConfig{})
	if _, err := s.Put(t.Context(), w.peer(), all[0]); err != nil {
		t.Fatal(err)
	}
	results, err := s.PutBatch(t.Context(), w.peer(), all)
	if err != nil || results[2].Err != nil {
		t.Fatalf("got %+v, %v", results, err)
	}
}

// proxyTo passes one request on and its answer back.
func proxyTo(c *wireConn, peer Peer) {
	r, err := c.readHead()
	if err != nil {
		return
	}
	req, err := http.NewRequest(r.Method, peer.Base+r.URL.Path, r.Body)
	if err != nil {
		return
	}
	req.Header, req.ContentLength = r.Header, r.ContentLength
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	_ = resp.Write(c)
}

func TestBatchLeavesOutWhatNoneCanHold(t *testing.T) {
	t.Parallel()
	all := offers(3, 1)
	all[0].Size = MaxBatchPartBytes + 1
	all[0].Body = zeros{}
	all[1].ID = ""
	results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), batchPeer(t, honest), all)
	if err != nil || results[2].Err != nil {
		t.Fatalf("got %v, %+v", err, results[2])
	}
	wantSendError(t, results[0].Err, Permanent, CodeBadOffer)
	wantSendError(t, results[1].Err, Permanent, CodeBadOffer)
}

// The sender's batches and the collector's reader of batches must agree on the
// bytes, whatever the files hold.
func TestBatchCarriesAnyBytes(t *testing.T) {
	t.Parallel()
	contents := [][]byte{
		[]byte("\r\n--"), []byte("--\r\n\r\n"), {}, []byte("\n"), bytes.Repeat([]byte("\r\n--"), 5000), {0},
	}
	all := offers(len(contents), 0)
	for i, c := range contents {
		all[i].Body, all[i].Size, all[i].Digest = bytes.NewReader(c), int64(len(c)), sha256.Sum256(c)
	}
	results, err := newTestSender(t, SenderConfig{}).PutBatch(t.Context(), batchPeer(t, honest), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Errorf("file %d: %v", i, r.Err)
		}
	}
}
