package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeNode answers the admin API from a list of answers, by "METHOD /path".
// Each one is a document, or the code of a problem after its status: "409 in-use".
// Several answers to one request are given in turn; the last one stays.
type fakeNode struct {
	url string

	mu      sync.Mutex
	answers map[string][]string
	asked   []string // "METHOD /path?query body", in their order
}

func newFakeNode(t *testing.T, answers map[string][]string) *fakeNode {
	t.Helper()
	f := &fakeNode{answers: answers}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fakeNode) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // a body that is cut is what arrived of it
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
	answer, ok := f.next(r.Method + " " + r.URL.Path)
	if !ok {
		http.Error(w, "the test expects no such request", http.StatusTeapot)
		return
	}
	var status int
	var code string
	if n, _ := fmt.Sscanf(answer, "%d %s", &status, &code); n != 2 {
		_, _ = io.WriteString(w, answer)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"type":"about:blank","title":"T","status":%d,"code":%q,"detail":"the reason"}`, status, code)
}

func (f *fakeNode) next(request string) (string, bool) {
	list := f.answers[request]
	if len(list) == 0 {
		return "", false
	}
	if len(list) > 1 {
		f.answers[request] = list[1:]
	}
	return list[0], true
}

// wasAsked reports whether a request like this came: the first words of it.
func (f *fakeNode) wasAsked(request string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.asked, func(s string) bool { return s == request || strings.HasPrefix(s, request+" ") })
}

// outcome is what a command did.
type outcome struct {
	code     int
	out, err string
}

// runAt runs a command against the node.
func (f *fakeNode) runAt(t *testing.T, args ...string) outcome {
	t.Helper()
	return runHere(t, append(args, "--addr", f.url)...)
}

func runHere(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	code := run(context.WithoutCancel(t.Context()), args, streams{strings.NewReader(""), &out, &err})
	return outcome{code, out.String(), err.String()}
}

// check fails the test unless the command ended so. want are lines of its
// output, all of them in this order.
func (o outcome) check(t *testing.T, code int, want ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d; standard error: %s", o.code, code, o.err)
	}
	if got := strings.TrimSuffix(o.out, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// says fails the test unless standard error has the words.
func (o outcome) says(t *testing.T, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(o.err, w) {
			t.Errorf("standard error lacks %q:\n%s", w, o.err)
		}
	}
}
