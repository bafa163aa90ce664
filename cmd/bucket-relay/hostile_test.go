package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// secret is what lies outside of the spools and must never be read or written.
const secret = "the secret that nobody may relay\n"

// fence makes a directory with a secret beside the spools of a world, and fails
// the test if at its end anything in it is not as it was.
func fence(w *world) (outside string) {
	w.t.Helper()
	outside = w.mkdir("outside")
	w.mkdir("outside/sub")
	w.writeFile(filepath.Join(outside, "secret"), secret)
	before := snapshot(w.t, outside)
	w.t.Cleanup(func() {
		if after := snapshot(w.t, outside); !maps.Equal(before, after) {
			w.t.Errorf("outside of the spools there was %q, now there is %q", before, after)
		}
	})
	return outside
}

// snapshot tells for every path below dir what lies there.
func snapshot(t testing.TB, dir string, without ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(without, func(pattern string) bool { ok, _ := filepath.Match(pattern, rel); return ok }) {
			if e.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		found[rel], err = describe(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// describe tells type, mode, content and change of one entry, without following
// a link.
func describe(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "link to " + target, err
	case info.Mode().IsRegular():
		body, err := os.ReadFile(path)
		return fmt.Sprintf("%v %x at %v", info.Mode(), sha256.Sum256(body), info.ModTime()), err
	}
	return info.Mode().String(), nil
}

// rawAnswer is what came back on a connection; status 0 is none at all.
type rawAnswer struct {
	status int
	code   string // of a problem document
	header http.Header
	body   string
}

// rawRequest writes text as it is to a port and reads one answer.
func rawRequest(t testing.TB, port int, text string) rawAnswer {
	t.Helper()
	conn := dialPort(t, port)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, text) // the peer may refuse before it has read all
	return readAnswer(conn)
}

func dialPort(t testing.TB, port int) net.Conn {
	t.Helper()
	dialer := net.Dialer{Timeout: patienceLimit}
	conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(patienceLimit)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func readAnswer(conn net.Conn) rawAnswer {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return rawAnswer{body: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body) // what there is of it
	a := rawAnswer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	var problem struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body, &problem) == nil {
		a.code = problem.Code
	}
	return a
}

// rawPut is a bare PUT of a few bytes.
func rawPut(path string) string {
	return "PUT " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
}

// badNames are escaped names that no collector may accept.
var badNames = []string{
	"..", ".", "%2e%2e", "../x", "../../x", "%2e%2e/x", "%2e%2e%2fx", "..%2fx", "%2e%2e%2f%2e%2e%2foutside%2fx",
	"..%5c..%2fx", "/etc/passwd", "%2fetc%2fpasswd", "a/b", "a%2fb", "a/../../outside/x", "sub/", "",
	".relay", "%2erelay", ".relay/ledger.db", ".relay%2fledger.db", ".relay%2fstage%2fx", ".hidden",
	"a%00b", "%00", "a%0ab", "a%0d%0aX-Evil:%20y", "a%09b", "a%1bb", "a%7fb", "a%c2%85b", "a%e2%80%a8b",
	"a%e2%80%aeb", "a%e2%81%a6b", "a%d8%9cb", "%ff%fe", "a%c0%afb", "a%ed%a0%80b",
	strings.Repeat("x", 201), strings.Repeat("x", 255), strings.Repeat("%c3%a4", 101), strings.Repeat("x", 4096),
}

// TestHostileNamesOverHTTP sends names that must not become files, and some that
// only look so, to a collector.
func TestHostileNamesOverHTTP(t *testing.T) {
	w := newWorld(t)
	fence(w)
	in := w.inbox("in", "c")
	n := w.node("down", in)
	n.startReady()
	aside := []string{"*.log", "data-*"}
	before := snapshot(t, w.dir, append(aside, "in-in/.relay")...)

	for _, name := range badNames {
		a := rawRequest(t, in.port, rawPut("/"+name))
		if a.status != http.StatusUnprocessableEntity || a.code != "bad-name" {
			t.Errorf("PUT /%.60s: %d %s, want 422 bad-name", name, a.status, a.body)
		}
	}
	for _, target := range []string{"/a\x00b", "/a b", "../x", "x", "", "http://x/../y", "/%zz", "/a%", "/a\x7fb", "/a\r\n\r\nPUT /b"} {
		if a := rawRequest(t, in.port, rawPut(target)); a.status < 400 || a.status >= 500 {
			t.Errorf("PUT %q: %d %s, want 4xx", target, a.status, a.body)
		}
	}
	if after := snapshot(t, w.dir, append(aside, "in-in/.relay")...); !maps.Equal(before, after) {
		t.Errorf("refused names left something: %q, before %q", after, before)
	}

	want := map[string]string{
		"/%252e%252e%252fx": "%2e%2e%2fx", "/a%5c..%5cb": `a\..\b`, "/%2d-rf": "--rf", "/a%3fb%23c": "a?b#c",
		"/..x": "", "/x..": "x..", "/" + strings.Repeat("y", 200): strings.Repeat("y", 200), "/~": "~", "/%25": "%",
	}
	var names []string
	for path, name := range want {
		if name == "" { // begins with a dot
			continue
		}
		if a := rawRequest(t, in.port, rawPut(path)); a.status != http.StatusCreated {
			t.Errorf("PUT %.60s: %d %s, want 201", path, a.status, a.body)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if got := slices.Sorted(slices.Values(inboxNames(t, in))); !slices.Equal(got, names) {
		t.Errorf("the inbox has %q, want %q", got, names)
	}
	after := snapshot(t, w.dir, append(aside, "in-in")...)
	for path := range after {
		if _, ok := before[path]; !ok {
			t.Errorf("%s appeared outside of the inbox", path)
		}
	}
}

// TestHostileKeysOverHTTP has ids that look like paths: they name the files of
// the stage.
func TestHostileKeysOverHTTP(t *testing.T) {
	w := newWorld(t)
	fence(w)
	in := w.inbox("in", "c")
	n := w.node("down", in)
	n.startReady()
	before := snapshot(t, w.dir, "*.log", "data-*", "in-in")

	keys := []string{
		"../../../outside/x", "/etc/passwd", "a/../../b", "..", ".", "../ledger.db", "ledger.db", "..%2fx", "a b", "probe",
		`\`, `\"`, `"`, "\x01", "\xff", strings.Repeat("k", 128), strings.Repeat("k", 129), strings.Repeat("k", 4000), "", "~", "$(id)", "a\\b",
		"00000000-0000-0000-0000-000000000000.0000000000000000.0", "00000000-0000-0000-0000-000000000000.ffffffffffffffff.ffffffffffffffff",
	}
	for i, key := range keys {
		for _, form := range []string{`"` + key + `"`, key} {
			for _, method := range []string{"PUT", "HEAD", "PATCH"} {
				text := fmt.Sprintf("%s /key-%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIdempotency-Key: %s\r\n"+
					"Upload-Offset: 0\r\nUpload-Complete: ?1\r\nContent-Type: application/partial-upload\r\nContent-Length: 5\r\n\r\nhello", method, i, form)
				if a := rawRequest(t, in.port, text); a.status == 0 || a.status >= 500 {
					t.Errorf("%s with key %.60q: %d %s", method, form, a.status, a.body)
				}
			}
		}
	}
	for _, name := range inboxNames(t, in) {
		body, err := os.ReadFile(filepath.Join(in.dir, name))
		if err != nil || string(body) != "hello" || !strings.HasPrefix(name, "key-") {
			t.Errorf("%q was published: %q, %v", name, body, err)
		}
	}
	if after := snapshot(t, w.dir, "*.log", "data-*", "in-in"); !maps.Equal(before, after) {
		t.Errorf("keys left something: %q, before %q", after, before)
	}
	if a := rawRequest(t, in.port, rawPut("/after")); a.status != http.StatusCreated {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
}

// TestHostilePartsOfABatch has bad names among good ones: each part is judged
// alone.
func TestHostilePartsOfABatch(t *testing.T) {
	w := newWorld(t)
	fence(w)
	in := w.inbox("in", "c")
	w.node("down", in).startReady()

	var batch bytes.Buffer
	for i, name := range badNames {
		for _, location := range []string{"/" + name, fmt.Sprintf("/good-%d", i)} {
			fmt.Fprintf(&batch, "--b\r\nContent-Location: %s\r\nContent-Length: 5\r\n\r\nhello\r\n", location)
		}
	}
	batch.WriteString("--b--\r\n")
	a := rawRequest(t, in.port, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\nContent-Length: %d\r\n\r\n%s", batch.Len(), batch.String()))
	if a.status != http.StatusOK {
		t.Fatalf("batch: %d %s", a.status, a.body)
	}
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	if len(lines) != 2*len(badNames) {
		t.Fatalf("%d answers, want %d: %s", len(lines), 2*len(badNames), a.body)
	}
	for i, line := range lines {
		var answer struct {
			Status int
			Code   string
		}
		if err := json.Unmarshal([]byte(line), &answer); err != nil {
			t.Errorf("line %d: %v: %s", i, err, line)
		}
		bad := i%2 == 0
		if bad && answer.Status/100 != 4 || !bad && answer.Status != http.StatusCreated {
			t.Errorf("part %d (%.60q): %s", i, badNames[i/2], line)
		}
	}
	names := inboxNames(t, in)
	if len(names) != len(badNames) {
		t.Errorf("%d files published, want %d: %q", len(names), len(badNames), names)
	}
}
