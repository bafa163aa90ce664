package main_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mistaken is a configuration in which nearly every line has a mistake. A line
// that ends in a comment "# want: WORDS" must be reported with these words.
const mistaken = `nmae: n1                         # want: nmae
name: a/b                        # want: name
data_dir: data
http: localhost                  # want: http
raft: 127.0.0.1:99999            # want: raft
advertise: 10.0.0.1:5            # want: advertise
log_level: loud                  # want: log_level
insecure: perhaps                # want: insecure
network:
  static: static.yaml
  frobnicate: 1                  # want: frobnicate
uploaders:
  - spool: out
    cron_time: "* *"             # want: cron_time
    filter: '(a'                 # want: filter
    max_conn: 0                  # want: max_conn
    ready: soon                  # want: ready
    settle: 1x                   # want: settle
    nexthop:
      - { match: '[', cluster: c }   # want: match
      - { match: '' }            # want: cluster
  - spool: nowhere               # want: nowhere
    nexthop: 'size +'            # want: nexthop
    after: keep                  # want: after
  - nexthop: '"c"'               # want: spool
collectors:
  - { id: a, cluster: c, address: 10.0.0.300, port: 10100, spool: in }   # want: address
  - { id: b, cluster: c, port: 70000, spool: in2 }   # want: port
  - { id: b, cluster: c, port: 10102, spool: in3 }   # want: id "b"
  - { id: d, cluster: c, port: 10103, spool: out }   # want: outbox
  - { id: e, cluster: c, port: 10104, spool: in }    # want: inbox
  - { id: f, cluster: c, port: 10105, spool: in4, file_mode: "0999" }   # want: file_mode
  - { id: g, cluster: c, port: 10106, spool: in5, on_conflict: overwrite }   # want: on_conflict
  - { id: h, cluster: c, port: 10107, spool: in6, max_file_size: lots }   # want: max_file_size
  - { id: i, cluster: c, port: 10108, spool: static.yaml }   # want: static.yaml
tests:
  - { name: a, cluster: c, outbox: nope }   # want: outbox
`

// mistakenStatic is its static file.
const mistakenStatic = `clusters:
  c:
    mode: some                   # want: mode
    collectors:
      - { id: x, address: 127.0.0.1 }   # want: port
      - { id: x/y, address: 127.0.0.1, port: 1 }   # want: id
      - { id: z, address: 0.0.0.0, port: 1 }   # want: address
`

// TestBadConfigurationIsReportedAtOnce gives both commands that read a
// configuration one full of mistakes: each is reported with its line and a
// remedy, the exit code is 2, and nothing is created.
func TestBadConfigurationIsReportedAtOnce(t *testing.T) {
	for _, command := range []string{"start", "check"} {
		t.Run(command, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"out", "in", "in2", "in3", "in4", "in5", "in6"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o750); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range map[string]string{"c.yaml": mistaken, "static.yaml": mistakenStatic} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, dir)
			p := startProcess(t, filepath.Join(t.TempDir(), "log"), relayBinary(t), nil, command, "--config", filepath.Join(dir, "c.yaml"))
			if code := p.awaitEnd(patienceLimit).ExitCode(); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if after := snapshot(t, dir); !maps.Equal(before, after) {
				t.Errorf("something was created or changed: %q, before %q", after, before)
			}
			text := strings.ReplaceAll(p.output(), dir+string(filepath.Separator), "")
			checkReported(t, text, "c.yaml", mistaken)
			checkReported(t, text, "static.yaml", mistakenStatic)
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// checkReported looks for every wanted problem, as FILE:LINE:COL: MESSAGE; REMEDY.
func checkReported(t *testing.T, output, file, config string) {
	t.Helper()
	lines := strings.Split(output, "\n")
	for i, line := range strings.Split(config, "\n") {
		_, words, ok := strings.Cut(line, "# want: ")
		if !ok {
			continue
		}
		place := fmt.Sprintf("%s:%d:", file, i+1)
		found := false
		for _, said := range lines {
			message, remedy, _ := strings.Cut(said, "; ")
			found = found || strings.HasPrefix(said, place) && strings.Contains(message, words) && remedy != ""
		}
		if !found {
			t.Errorf("nothing with %q and a remedy at %s", words, place)
		}
	}
}

// TestStartRefusesWithoutTraces has configurations that are whole, but cannot be
// run: the exit code says so, and nothing is left behind.
func TestStartRefusesWithoutTraces(t *testing.T) {
	t.Run("no such file", func(t *testing.T) {
		p := startProcess(t, filepath.Join(t.TempDir(), "log"), relayBinary(t), nil, "start", "--config", filepath.Join(t.TempDir(), "none.yaml"))
		if code := p.awaitEnd(patienceLimit).ExitCode(); code != 2 {
			t.Errorf("exit code %d, want 2\n%s", code, p.output())
		}
	})
	t.Run("unknown flag", func(t *testing.T) {
		p := startProcess(t, filepath.Join(t.TempDir(), "log"), relayBinary(t), nil, "start", "--cofnig", "x")
		if code := p.awaitEnd(patienceLimit).ExitCode(); code != 2 {
			t.Errorf("exit code %d, want 2\n%s", code, p.output())
		}
	})
	t.Run("the outbox is in use", func(t *testing.T) {
		w := newWorld(t)
		out, in := w.outbox("out", "c"), w.inbox("in", "c")
		first, second := w.node("first", out, in), w.node("second", out)
		first.startReady()
		before := snapshot(t, out.dir)
		second.start()
		if code := second.awaitEnd(patienceLimit).ExitCode(); code != 1 {
			t.Errorf("exit code %d, want 1\n%s", code, second.tail())
		}
		if text := second.output(); !strings.Contains(text, out.dir) || !strings.Contains(text, "in use") {
			t.Errorf("the message does not say what is in use\n%s", text)
		}
		if after := snapshot(t, out.dir); !maps.Equal(before, after) {
			t.Errorf("the second node changed the outbox: %q, before %q", after, before)
		}
	})
}
