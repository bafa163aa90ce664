package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience is how long a script waits for what must come true.
const patience = 15 * time.Second

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bucket-relay": main})
}

// TestScripts runs testdata/script/*.txtar. Beside testscript's own commands
// they have those of scriptCommands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{addrVar, "BUCKET_RELAY_CONFIG", "STATE_DIRECTORY"} {
				env.Setenv(name, "")
			}
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Cmds:                scriptCommands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"freeport":   freeport,
	"expand":     expand,
	"exits":      exits,
	"eventually": eventually,
	"arrives":    arrives,
	"leaves":     leaves,
	"put":        put,
	"signal":     sendSignal,
	"fifo":       fifo,
	"halfput":    halfput,
}

// freeport NAME…: each variable gets a port that nobody listens on.
func freeport(ts *testscript.TestScript, neg bool, names []string) {
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer func() { _ = l.Close() }() // only now, so that all of them differ
		ts.Setenv(name, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
}

// expand FILE…: replaces $NAME in the files by the script's variables.
func expand(ts *testscript.TestScript, neg bool, files []string) {
	for _, file := range files {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// exits CODE PROGRAM ARG…: the program ends with this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// eventually [PATTERN] -- PROGRAM ARG…: the program succeeds in the end and its
// output matches. It is run again and again until then; what it said last is
// there for stdout and stderr to look at. With ! it fails in the end.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	dash := slices.Index(args, "--")
	if dash < 0 {
		ts.Fatalf("usage: eventually [PATTERN] -- PROGRAM ARG…")
	}
	pattern := regexp.MustCompile("(?m)" + strings.Join(args[:dash], " "))
	program := args[dash+1:]
	var stdout, stderr bytes.Buffer
	poll(ts, strings.Join(program, " "), func() (string, bool) {
		stdout.Reset()
		stderr.Reset()
		cmd := exec.Command(program[0], program[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), &stdout, &stderr
		for _, name := range []string{"PATH", "HOME", addrVar} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		err := cmd.Run()
		return stdout.String() + stderr.String(), (err != nil) == neg && pattern.MatchString(stdout.String())
	})
	fmt.Fprint(ts.Stdout(), stdout.String())
	fmt.Fprint(ts.Stderr(), stderr.String())
}

// arrives FILE SAME: in the end there is a file with the same content.
func arrives(ts *testscript.TestScript, neg bool, args []string) {
	want := ts.ReadFile(args[1])
	poll(ts, "file "+args[0], func() (string, bool) {
		got, err := os.ReadFile(ts.MkAbs(args[0]))
		return fmt.Sprintf("%q, %v", got, err), err == nil && string(got) == want
	})
}

// leaves FILE: in the end there is no such file.
func leaves(ts *testscript.TestScript, neg bool, args []string) {
	poll(ts, "the end of "+args[0], func() (string, bool) {
		_, err := os.Lstat(ts.MkAbs(args[0]))
		return fmt.Sprint(err), errors.Is(err, fs.ErrNotExist)
	})
}

// poll calls look until it is content. When patience ends the script fails with
// what was seen last.
func poll(ts *testscript.TestScript, what string, look func() (string, bool)) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(30 * time.Millisecond)
	defer ticker.Stop()
	for {
		last, ok := look()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("waited in vain for %s; last seen:\n%s", what, last)
		case <-ticker.C:
		}
	}
}

// put URL FILE [HEADER: VALUE]…: sends the file as curl -T does and prints the
// answer's status and body.
func put(ts *testscript.TestScript, neg bool, args []string) {
	req, err := http.NewRequest(http.MethodPut, args[0], strings.NewReader(ts.ReadFile(args[1])))
	ts.Check(err)
	for _, header := range args[2:] {
		key, value, _ := strings.Cut(header, ": ")
		req.Header.Set(key, value)
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	_, err = io.Copy(&body, resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n", resp.StatusCode, body.String())
	if (resp.StatusCode/100 == 2) == neg {
		ts.Fatalf("PUT %s: %d %s", args[0], resp.StatusCode, body.String())
	}
}

// halfput PORT: begins a delivery and never ends it. The connection stays open
// until the script is over.
func halfput(ts *testscript.TestScript, neg bool, args []string) {
	conn, err := net.Dial("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "PUT /half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
	ts.Check(err)
}

// signal NAME WORD: sends the signal to the background process that has the
// word among its arguments.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": os.Interrupt, "KILL": os.Kill}
	for _, cmd := range slices.Backward(ts.BackgroundCmds()) {
		if slices.Contains(cmd.Args, args[1]) {
			ts.Check(cmd.Process.Signal(signals[args[0]]))
			return
		}
	}
	ts.Fatalf("no background process has the argument %q", args[1])
}
