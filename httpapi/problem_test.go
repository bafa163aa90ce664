package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestProblemDocument(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	p := WriteProblem(w, httptest.NewRequest("PUT", "/", nil), fmt.Errorf("publish: %w", ErrFull))
	want := `{"type":"urn:bucket-relay:problem:full","title":"No space left","status":507,"code":"full","request_id":"` +
		p.RequestID + `","retry_after_s":2}` + "\n"
	if diff := cmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
	if w.Code != 507 || w.Header().Get("Retry-After") != "2" || w.Header().Get("Content-Type") != problemType {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	got := parseProblem(w.Code, w.Header(), w.Body.Bytes())
	if diff := cmp.Diff(&p, got); diff != "" {
		t.Error(diff)
	}
	if !errors.Is(got, ErrFull) || errors.Is(got, ErrBusy) || !strings.Contains(got.Error(), "507 full") {
		t.Errorf("%v", got)
	}
	w = httptest.NewRecorder()
	WriteProblem(w, httptest.NewRequest("HEAD", "/", nil), ErrFull)
	if w.Body.Len() > 0 {
		t.Errorf("HEAD has a body: %s", w.Body)
	}
}

// A code is stable and means one thing; the sentinels survive the wire.
func TestTableOfProblems(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		p := problemOf(fmt.Errorf("here: %w", k.err))
		if p.Status != k.status || p.Code != k.code || p.Title == "" || p.RetryAfter != k.retry {
			t.Errorf("%v: %+v", k.err, p)
		}
		if k.status < 400 || k.status > 599 || strings.ToLower(k.code) != k.code {
			t.Errorf("%v: %d %s", k.err, k.status, k.code)
		}
		if back := p.Unwrap(); back == nil || problemOf(back).Code != k.code {
			t.Errorf("%s means %v", k.code, back)
		}
	}
	if p := (&Problem{Code: "newer"}); p.Unwrap() != nil {
		t.Errorf("%v", p.Unwrap())
	}
	if p := problemOf(fmt.Errorf("x: %w", &OffsetError{7})); p.Code != "offset-mismatch" || p.Status != 409 || !strings.Contains(p.Detail, "7") {
		t.Errorf("%+v", p)
	}
	own := &Problem{Status: 418, Code: "teapot"}
	if p := problemOf(fmt.Errorf("x: %w", own)); p == own || p.Code != "teapot" {
		t.Errorf("%+v", p)
	}
}

func TestAnswersThatAreNoProblems(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"empty": "", "page": "<html>", "json": `{"error":"x"}`, "array": "[]", "null": "null"} {
		p := parseProblem(502, http.Header{"Retry-After": {"7"}}, []byte(body))
		if p.Status != 502 || p.Code != codeUnknownPeer || p.RetryAfter != 7*time.Second {
			t.Errorf("%s: %+v", name, p)
		}
	}
	p := parseProblem(503, http.Header{"Retry-After": {"99999999999"}}, []byte(`{"code":"full","status":200,"detail":"`+strings.Repeat("x", 9999)+`"}`))
	if p.Status != 503 || p.RetryAfter != maxRetryAfter || len(p.Detail) > maxDetailBytes+8 {
		t.Errorf("%d %v, %d bytes", p.Status, p.RetryAfter, len(p.Detail))
	}
	if p := parseProblem(503, http.Header{"Retry-After": {"-5"}}, nil); p.RetryAfter != 0 {
		t.Errorf("%v", p.RetryAfter)
	}
}

func TestReceiptOnTheWire(t *testing.T) {
	t.Parallel()
	r := Receipt{ID: "k", Name: "a.json", PublishedAs: "a~1.json", Size: 0, SHA256: "e3", Collector: "c1", Durability: DurabilityGroup}
	got, err := json.Marshal(r)
	want := `{"id":"k","name":"a.json","published_as":"a~1.json","size":0,"sha256":"e3","collector":"c1","durability":"group"}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "success", "{}", `{"id":""}`, `{"id":"k"} x`, `{"id":7}`} {
		if r, err := parseReceipt(201, []byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, r)
		}
	}
	for _, other := range []Receipt{{ID: "x", Size: 0, SHA256: r.SHA256}, {ID: "k", Size: 1}, {ID: "k", SHA256: "00"}, {}} {
		if other.matches("k", 0, Digest{}) == nil {
			t.Errorf("matches: %+v", other)
		}
	}
}

func TestAuthorizeStopsWhatHasNoRight(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, ErrForbiddenHost} {
		reached := false
		next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })
		check := func(_ *http.Request, right Right) error {
			if right != RightOperate {
				t.Errorf("asked for %s", right)
			}
			return err
		}
		w := httptest.NewRecorder()
		authorize(check, RightOperate, next).ServeHTTP(w, httptest.NewRequest("PUT", "/", nil))
		if reached != (err == nil) || err != nil && w.Code != 403 {
			t.Errorf("%v: reached %t, status %d", err, reached, w.Code)
		}
	}
}
