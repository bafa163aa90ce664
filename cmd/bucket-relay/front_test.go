package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// front stands before a collector of ours, at the port that uploaders are told,
// and misbehaves until it is mended. What it lets through really arrives, so a
// test also sees what the fault did behind the uploader's back.
type front struct {
	port   int
	proxy  *httputil.ReverseProxy
	hits   atomic.Int64
	mended chan struct{} // closed when the fault is over
	mend   func()
	fault  fault
}

// fault answers a request in the place of the collector.
type fault func(f *front, w http.ResponseWriter, r *http.Request)

// newFront puts a front before an inbox and into the table in its place. A nil
// fault passes everything on.
func newFront(t testing.TB, in *inbox, bad fault) *front {
	t.Helper()
	behind := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(in.port))}
	f := &front{fault: bad, mended: make(chan struct{})}
	f.mend = sync.OnceFunc(func() { close(f.mended) })
	f.proxy = httputil.NewSingleHostReverseProxy(behind)
	f.proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
		http.Error(w, err.Error(), http.StatusBadGateway)
	}
	if bad == nil {
		f.mend()
	}
	f.port = serveHTTP(t, http.HandlerFunc(f.serve))
	in.listed.port = f.port
	t.Cleanup(f.mend) // before the server closes: a fault may be waiting for it
	return f
}

func (f *front) serve(w http.ResponseWriter, r *http.Request) {
	f.hits.Add(1)
	select {
	case <-f.mended:
		f.proxy.ServeHTTP(w, r)
	default:
		f.fault(f, w, r)
	}
}

// serveHTTP serves h on a free port of 127.0.0.1 until the end of the test.
func serveHTTP(t testing.TB, h http.Handler) (port int) {
	t.Helper()
	return serveHTTPAt(t, "127.0.0.1:0", h)
}

// serveHTTPAt serves h at an address.
func serveHTTPAt(t testing.TB, address string, h http.Handler) (port int) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		wg.Add(1)
		defer wg.Done()
		h.ServeHTTP(w, r)
	})}
	wg.Go(func() { _ = server.Serve(ln) }) // ends with ErrServerClosed
	t.Cleanup(func() {
		_ = server.Close()
		wg.Wait()
	})
	return ln.Addr().(*net.TCPAddr).Port
}

// faults are the ways in which a collector, or what stands before it, can fail.
// The names are those of clusters.
var faults = map[string]fault{
	"answers-500": func(_ *front, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Error(w, "oops", http.StatusInternalServerError)
	},
	"answers-503": func(_ *front, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "later", http.StatusServiceUnavailable)
	},
	"answers-507": func(_ *front, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusInsufficientStorage)
		_, _ = io.WriteString(w, `{"type":"about:blank","title":"No space left","status":507,"code":"full"}`)
	},
	"wrong-digest": func(f *front, w http.ResponseWriter, r *http.Request) {
		f.falsify(w, r, regexp.MustCompile(`"sha256":"[0-9a-f]{8}`), `"sha256":"00000000`)
	},
	"wrong-id": func(f *front, w http.ResponseWriter, r *http.Request) {
		f.falsify(w, r, regexp.MustCompile(`"id":"[0-9a-f]{8}`), `"id":"00000000`)
	},
	"half-an-answer": func(f *front, w http.ResponseWriter, r *http.Request) {
		status, body := f.ask(r)
		f.cut(w, fmt.Sprintf("HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body[:len(body)/2]))
	},
	"lost-answer": func(f *front, w http.ResponseWriter, r *http.Request) {
		f.ask(r)
		f.cut(w, "")
	},
	"silent": func(f *front, _ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-f.mended:
		case <-r.Context().Done():
		}
	},
	"silent-at-once": func(f *front, w http.ResponseWriter, _ *http.Request) {
		conn := hijack(w)
		defer func() { _ = conn.Close() }()
		<-f.mended
	},
	"a-page": func(_ *front, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>success</title><body>Please log in to the proxy</body></html>")
	},
	"created-nothing": func(_ *front, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	},
	"redirects": func(_ *front, w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	},
	"resets-half-way": func(f *front, w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		f.cut(w, "")
	},
	"cuts-half-way": func(f *front, w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(nil, r.Body, r.ContentLength/2) // the collector gets half of it
		f.ask(r)
		f.cut(w, "")
	},
}

// ask hands the request to the collector and keeps the answer.
func (f *front) ask(r *http.Request) (status int, body string) {
	rec := &recorder{header: http.Header{}}
	f.proxy.ServeHTTP(rec, r)
	return rec.status, rec.body.String()
}

// falsify passes the request on and changes the answer.
func (f *front) falsify(w http.ResponseWriter, r *http.Request, what *regexp.Regexp, by string) {
	status, body := f.ask(r)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, what.ReplaceAllString(body, by))
}

// cut writes text as it is and then resets the connection.
func (f *front) cut(w http.ResponseWriter, text string) {
	conn := hijack(w)
	_, _ = io.WriteString(conn, text)
	if text == "" {
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset, which would also take back the text
	}
	_ = conn.Close()
}

func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // HTTP/1.1 can always be hijacked
	}
	return conn
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

// toCluster is a next hop for files whose names begin with that of their cluster.
const toCluster = `'split(name, ".")[0]'`

// parcelSizes has every way in which a file may travel: empty, in a batch,
// announced, and in a request of its own that is worth resuming.
var parcelSizes = []int{0, 1, 1000, 1000, 70_000, 300_000, 1_300_000}

// dropParcels renames one file of each size into an outbox. The names are
// <cluster>.<number>.<start of the digest>.bin; they are returned.
func dropParcels(t testing.TB, outbox, cluster string, sizes ...int) (names []string) {
	t.Helper()
	tmp := filepath.Join(t.TempDir(), "file")
	for i, size := range sizes {
		body := make([]byte, size)
		sum := sha256.Sum256([]byte(cluster + strconv.Itoa(i)))
		_, _ = rand.NewChaCha8(sum).Read(body) // never fails
		name := fmt.Sprintf("%s.%d.%s.bin", cluster, i, parcelSum(body))
		if err := os.WriteFile(tmp, body, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(outbox, name)); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func parcelSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// inboxNames lists what a consumer sees.
func inboxNames(t testing.TB, in *inbox) []string {
	t.Helper()
	entries, err := os.ReadDir(in.dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != ".relay" {
			names = append(names, e.Name())
		}
	}
	return names
}

// awaitParcels waits until every name is in one of the inboxes.
func awaitParcels(t testing.TB, names []string, ins ...*inbox) {
	t.Helper()
	waitFor(t, patienceLimit, "parcels in "+ins[0].id, func() (bool, string) {
		var there []string
		for _, in := range ins {
			there = append(there, inboxNames(t, in)...)
		}
		missing := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(there, n) })
		return len(missing) == 0, fmt.Sprintf("missing %q", missing)
	})
}

// checkParcels fails the test unless the inboxes together hold each of the
// parcels once, whole, and nothing else.
func checkParcels(t testing.TB, names []string, ins ...*inbox) {
	t.Helper()
	var there []string
	for _, in := range ins {
		for _, name := range inboxNames(t, in) {
			there = append(there, name)
			body, err := os.ReadFile(filepath.Join(in.dir, name))
			if err != nil {
				t.Error(err)
			} else if sum := parcelSum(body); !strings.Contains(name, sum) {
				t.Errorf("%s: %s is not whole: %d bytes, SHA-256 %s…", in.id, name, len(body), sum)
			}
		}
	}
	want := slices.Sorted(slices.Values(names))
	if slices.Sort(there); !slices.Equal(there, want) {
		t.Errorf("published %q\nwant %q", there, want)
	}
}
