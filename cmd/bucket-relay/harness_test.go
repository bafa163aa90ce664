package main_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The harness of the tests over real binaries, in four files:
//
//   - harness_test.go builds the binary once per run and runs it as processes
//     that can be stopped, killed and started again;
//   - harness_world_test.go lays out outboxes, inboxes and nodes in a temporary
//     directory and writes their configuration;
//   - harness_files_test.go produces files whose names tell their content;
//   - harness_reader_test.go reads an inbox as the next service would, and
//     checks at the end that nothing was lost, doubled or cut.
//
// A test in short:
//
//	w := newWorld(t)
//	in, out := w.inbox("c1", "json"), w.outbox("out", "json")
//	up, down := w.node("up", out), w.node("down", in)
//	down.start(); up.start()
//	r := readInbox(t, in.dir, nil)
//	s := newSamples(1); p := newProducer(t, out.dir, s)
//	p.drop(100)
//	r.await(time.Minute, s.made())
//	up.kill(); up.start() …
//	r.check(s.made()); out.awaitEmpty(time.Minute); in.checkStage()

// patienceLimit is how long the tests wait for what should take milliseconds,
// on a machine that is busy with other things.
const patienceLimit = 60 * time.Second

// isFull reports whether the suites run at full length, as .ci/run has them.
func isFull() bool { return os.Getenv("BUCKET_RELAY_FULL") == "1" }

var (
	relayBuild = sync.OnceValues(func() (string, error) { return buildBinary("") })
	crashBuild = sync.OnceValues(func() (string, error) { return buildBinary("crashpoints") })
)

// relayBinary returns the path of bucket-relay, built as it is shipped.
func relayBinary(t testing.TB) string { return mustBuild(t, relayBuild) }

// crashBinary returns the path of bucket-relay built with its crash points.
func crashBinary(t testing.TB) string { return mustBuild(t, crashBuild) }

func mustBuild(t testing.TB, build func() (string, error)) string {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

func buildBinary(tags string) (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bucket-relay"+tags)
	if runtime.GOOS == "windows" {
		bin += ".exe"
	}
	cmd := exec.Command("go", "build", "-tags", tags, "-ldflags=-s -w", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build -tags %q: %w\n%s", tags, err, out)
	}
	return bin, nil
}

// buildDir is the directory of the test binary when go test made it, since go
// test also removes it; else a temporary directory that is left behind.
func buildDir() (string, error) {
	self, err := os.Executable()
	if err == nil && strings.Contains(self, "go-build") {
		return filepath.Dir(self), nil
	}
	return os.MkdirTemp("", "bucket-relay-test-")
}

// process is one running bucket-relay. Its methods are for one goroutine.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	log   string        // path of the file with both outputs
	ended chan struct{} // closed when it is gone; state is set before
	state *os.ProcessState
}

// startProcess runs a program whose output is appended to the file log. env is
// added to the test's own. It is killed at the end of the test if it still runs.
func startProcess(t testing.TB, log, bin string, env []string, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Start()
	_ = out.Close() // the child has its own
	if err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	p := &process{t: t, cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // an exit code is no error here
		p.state = cmd.ProcessState
		close(p.ended)
	}()
	t.Cleanup(p.reap)
	return p
}

// reap kills the process if it still runs, and waits for its end.
func (p *process) reap() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.ended
}

// running reports whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// kill ends the process by SIGKILL and returns when it is gone.
func (p *process) kill() {
	p.t.Helper()
	if !p.running() {
		p.t.Fatalf("process %d ended before it was killed: %v\n%s", p.cmd.Process.Pid, p.state, p.tail())
	}
	p.reap()
}

// stop ends the process by SIGTERM. It must exit with 0.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("stop: %v", err)
	}
	if code := p.awaitEnd(patienceLimit).ExitCode(); code != 0 {
		p.t.Fatalf("stopped with exit code %d\n%s", code, p.tail())
	}
}

// awaitEnd waits until the process has ended by itself.
func (p *process) awaitEnd(limit time.Duration) *os.ProcessState {
	p.t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.state
	case <-timer.C:
		p.t.Fatalf("process %d still runs after %v\n%s", p.cmd.Process.Pid, limit, p.tail())
		return nil
	}
}

// killedBySIGKILL reports whether an ended process ended by SIGKILL.
func (p *process) killedBySIGKILL() bool {
	status, ok := p.state.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// output returns everything written to the log so far, by earlier processes too.
func (p *process) output() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// tail returns the last lines of the log.
func (p *process) tail() string {
	lines := strings.Split(strings.TrimSpace(p.output()), "\n")
	return "last lines of " + filepath.Base(p.log) + ":\n" + strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// waitFor polls until cond is true. The text that cond returns describes what
// it saw; the last one is printed when limit is over.
func waitFor(t testing.TB, limit time.Duration, what string, cond func() (done bool, saw string)) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		done, saw := cond()
		if done {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %v; last seen: %s", what, limit, saw)
		case <-tick.C:
		}
	}
}

// httpGet returns status and body of a GET; status 0 means there was no answer.
func httpGet(ctx context.Context, url string) (status int, body string) {
	return httpGetBy(ctx, harnessClient, url)
}

func httpGetBy(ctx context.Context, client *http.Client, url string) (status int, body string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(data)
}

// harnessClient keeps no connections, since the processes come and go.
var harnessClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

var ports = struct {
	sync.Mutex
	next int
}{next: 12000 + rand.IntN(18000)}

// freePort returns a port on 127.0.0.1 that nobody listens on and that this
// test binary gives out once. It lies below the range from which the system
// takes ports by itself, so it stays free while its process is restarted.
func freePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		if ports.next++; ports.next >= 32000 {
			ports.next = 12000
		}
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.next)))
		if err == nil {
			_ = ln.Close()
			return ports.next
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}
