package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The usual end of --watch is an interrupt, which is no failure.
func TestSpoolsWatchEndsWellWithAnInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked == 3 {
			interrupt()
		}
		_, _ = w.Write([]byte(`{"spools":[{"name":"o1","kind":"outbox","queued":3,"oldest_s":75}]}`))
	}))
	defer server.Close()
	var out, err bytes.Buffer
	code := run(ctx, []string{"spools", "--watch", "--interval", "100ms", "--addr", server.URL}, streams{nil, &out, &err})
	if code != 0 || err.Len() > 0 {
		t.Errorf("exit code %d, standard error %q", code, err.String())
	}
	if n := strings.Count(out.String(), "outbox o1       3          0     0   1m15s  ok\n"); n < 2 {
		t.Errorf("shown %d times:\n%s", n, out.String())
	}
}
