package httpapi

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// tableAnswer is a table as it goes out: encoded once, and compressed at most
// once, for however many requests. Safe for concurrent use.
type tableAnswer struct {
	plain  []byte
	packed func() []byte // nil below minGzip
}

func newTableAnswer(v any) (*tableAnswer, error) {
	plain, err := encodeJSON(v)
	if err != nil {
		return nil, err
	}
	a := &tableAnswer{plain: plain}
	if len(plain) >= minGzip {
		a.packed = sync.OnceValue(func() []byte { return compress(plain) })
	}
	return a, nil
}

// write answers a request, compressed where the client accepts it.
func (a *tableAnswer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Vary", "Accept-Encoding")
	body := a.plain
	if a.packed != nil && acceptsGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		body = a.packed()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body) // the peer may be gone: nobody to tell
}

// writeTable is writeJSON for an answer that may be large. HEAD costs no encoding.
func writeTable(w http.ResponseWriter, r *http.Request, v any) error {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "application/json")
		return nil
	}
	a, err := newTableAnswer(v)
	if err == nil {
		a.write(w, r)
	}
	return err
}

// shareFor is how long an answer serves all who waited for it. Only the hint
// whether a collector is alive can be older by that much: the rest has an index.
const shareFor = 250 * time.Millisecond

// sharedTable is the last answer to those who waited for a change. When one
// comes, thousands may want the same: the first encodes it for all.
type sharedTable struct {
	mu     sync.Mutex
	index  uint64
	made   time.Time
	answer *tableAnswer
}

// of returns the answer for a table.
func (s *sharedTable) of(table Clusters) (*tableAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil && s.index == table.Index && time.Since(s.made) < shareFor {
		return s.answer, nil
	}
	a, err := newTableAnswer(table)
	if err == nil {
		s.index, s.made, s.answer = table.Index, time.Now(), a
	}
	return a, err
}
