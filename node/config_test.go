package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateJudgesAConfigMadeByAProgram(t *testing.T) {
	dir := t.TempDir()
	c := DefaultConfig()
	u := DefaultUploader()
	u.Name, u.Spool, u.Nexthop = dir, dir, mustRules(t, `"c1"`)
	c.Uploaders = []Uploader{u}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Uploaders = append(c.Uploaders, Uploader{})
	c.Collectors = []Collector{{}}
	var ps Problems
	if err := c.Validate(); !errors.As(err, &ps) || len(ps) < 10 {
		t.Errorf("Validate = %v, want every missing value", err)
	}
	for _, p := range ps {
		if p.Line != 0 || p.File != "" || p.Remedy == "" {
			t.Errorf("%+v: want a remedy and no place", p)
		}
	}
}

func TestDefaultDataDir(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of Unix")
	}
	for _, tc := range []struct {
		env  map[string]string
		uid  int
		want string
	}{
		{map[string]string{"STATE_DIRECTORY": "/var/lib/x:/var/lib/y", "HOME": "/home/u"}, 0, "/var/lib/x"},
		{map[string]string{"HOME": "/root"}, 0, "/var/lib/bucket-relay"},
		{map[string]string{"HOME": "/home/u"}, 1000, "/home/u/.local/state/bucket-relay"},
	} {
		if got := defaultDataDir(envOf(tc.env), tc.uid); got != tc.want {
			t.Errorf("defaultDataDir(%v, %d) = %q, want %q", tc.env, tc.uid, got, tc.want)
		}
	}
}

func TestLaterSourcesWin(t *testing.T) {
	dir := configDir(t)
	file := filepath.Join(dir, "c.yaml")
	mustWrite(t, file, "name: file\nhttp: 127.0.0.1:1\nraft: 127.0.0.1:2\nlog_level: warn\n")
	env := map[string]string{
		"BUCKET_RELAY_CONFIG": file, "BUCKET_RELAY_HTTP": "127.0.0.1:3", "BUCKET_RELAY_RAFT": "127.0.0.1:4",
		"BUCKET_RELAY_DATA_DIR": "/env/data", "BUCKET_RELAY_GOSSIP": "127.0.0.1:5", "BUCKET_RELAY_ADVERTISE": "n1",
		"BUCKET_RELAY_LOG_FORMAT": "json", "BUCKET_RELAY_NAME": "",
	}
	raft, level := "127.0.0.1:6", "debug"
	c, err := Load("", envOf(env), Overrides{Raft: &raft, LogLevel: &level})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"name": c.Name, "http": c.HTTP, "raft": c.Raft, "gossip": c.Gossip,
		"advertise": c.Advertise, "data": filepath.ToSlash(c.DataDir), "format": c.Log.Format, "file": c.File}
	want := map[string]string{"name": "file", "http": "127.0.0.1:3", "raft": "127.0.0.1:6", "gossip": "127.0.0.1:5",
		"advertise": "n1", "data": filepath.ToSlash(absolute("", "/env/data")), "format": "json", "file": file}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.Log.Level != slog.LevelDebug {
		t.Errorf("level = %v", c.Log.Level)
	}
}

// Every flag must reach its setting, and a bad value must be blamed on it.
func TestFlagsAndEnvironmentAreNamedInProblems(t *testing.T) {
	bad := "?"
	flags := Overrides{&bad, nil, &bad, &bad, &bad, &bad, nil, &bad, &bad, &bad}
	_, err := Load("", noEnv, flags)
	want := []string{
		`--advertise: advertise: "?" is no address that others can call; write an IP address or a DNS name, without a port`,
		`--bootstrap-expect: "?" is not a whole number; write a whole number`,
		`--gossip: gossip: "?": want host:port; write it like 127.0.0.1:10090`,
		`--http: http: "?": want host:port; write it like 127.0.0.1:10088`,
		`--log-format: log_format "?" is unknown; write text or json`,
		`--log-level: "?" is no log level; write debug, info, warn or error`,
		`--name: name "?" is no legal name; ` + remedyIdent,
		`--raft: raft: "?": want host:port; write it like 127.0.0.1:10089`,
	}
	if diff := cmp.Diff(want, problemLines(t, "none", err)); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
	for _, s := range settings {
		if want := "BUCKET_RELAY_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(s.flag, "--"), "-", "_")); s.env != want {
			t.Errorf("%s has %s, want %s", s.flag, s.env, want)
		}
	}
	_, err = Load("", envOf(map[string]string{"BUCKET_RELAY_JOIN": "a:1, b", "HOME": "/"}), Overrides{})
	if got := problemLines(t, "none", err); len(got) != 1 || !strings.HasPrefix(got[0], `BUCKET_RELAY_JOIN: join: "b": want host:port`) {
		t.Errorf("environment: %q", got)
	}
}

// What the file had in place of a flag is not blamed for what the flag gives.
func TestFlagTakesThePlaceOfAList(t *testing.T) {
	dir := configDir(t)
	file := filepath.Join(dir, "c.yaml")
	mustWrite(t, file, "network: { join: [a:1] }\n")
	bad := "b"
	_, err := Load(file, noEnv, Overrides{Join: &bad})
	if got := problemLines(t, dir, err); len(got) != 1 || !strings.HasPrefix(got[0], `--join: join: "b"`) {
		t.Errorf("problems: %q", got)
	}
}

func TestLoadWithoutAFileHasNothingToDo(t *testing.T) {
	c, err := Load("", noEnv, Overrides{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Message, "nothing to do") {
		t.Errorf("Warnings = %v", c.Warnings)
	}
}

func TestLoadOfAFileThatIsNotThere(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "nope.yaml"), noEnv, Overrides{})
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Line != 0 || !strings.Contains(ps[0].Message, "cannot be read") {
		t.Errorf("Load = %v", err)
	}
}

func TestLoadReadsEveryKey(t *testing.T) {
	dir := configDir(t)
	c := mustLoad(t, dir, `
name: n1
advertise: 10.0.0.5
insecure: true
http: 0.0.0.0:10088
network: { static: static.yaml, heartbeat: 5s }
uploaders:
  - spool: out
    name: gateway
    cron_time: "0 */2 * * *"
    watch: false
    max_conn: 7
    filter: '\.json$'
    nexthop: [ { match: '', cluster: [c1, c2] } ]
    ready: quiet
    settle: 3s
    window: 10
    max_age: 72h
collectors:
  - { id: one, cluster: c1, address: 0.0.0.0, spool: in, on_conflict: reject, file_mode: 0600, file_group: 0, max_file_size: 2GiB }
  - { cluster: c2, spool: in2, file_mode: "644" }
tests:
  - { name: a.json, size: 1KB, outbox: out, cluster: [c2, c1] }
  - { name: b, outbox: gateway, cluster: null }
`)
	u := c.Uploaders[0]
	if u.Name != "gateway" || u.Spool != filepath.Join(dir, "out") || u.Watch || u.MaxConn != 7 || u.Ready != "quiet" ||
		u.Settle != 3*time.Second || u.Window != 10 || u.MaxAge != 72*time.Hour || u.Line != 8 ||
		u.CronTime != "0 */2 * * *" || u.Filter.String() != `\.json$` {
		t.Errorf("uploader = %+v", u)
	}
	want := []Collector{
		{ID: "one", Cluster: "c1", Address: "0.0.0.0", Port: 10100, Spool: filepath.Join(dir, "in"), OnConflict: "reject",
			FileMode: 0o600, FileGroup: "0", MaxFileBytes: 2 << 30, Line: 20},
		{ID: "two", Cluster: "c2", Address: "127.0.0.1", Port: 10101, Spool: filepath.Join(dir, "in2"), OnConflict: "suffix",
			FileMode: 0o644, Line: 21},
	}
	if diff := cmp.Diff(want, c.Collectors); diff != "" {
		t.Errorf("collectors (-want +got):\n%s", diff)
	}
	if ps := RunTests(c); ps != nil {
		t.Errorf("RunTests: %v", ps)
	}
	if diff := cmp.Diff([]string{"0.0.0.0:10088", "0.0.0.0:10100"}, c.Exposed()); diff != "" {
		t.Errorf("Exposed (-want +got):\n%s", diff)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("Warnings = %v", c.Warnings)
	}
}

func TestUnknownClustersAndUnreachableRulesAreWarnings(t *testing.T) {
	dir := configDir(t)
	c := mustLoad(t, dir, "network: { static: static.yaml }\nuploaders:\n  - spool: out\n    nexthop:\n"+
		"      - { match: '', cluster: c9 }\n      - { match: x, cluster: c1 }\n")
	want := "DIR/c.yaml:5:31: cluster c9 is unknown: the static file does not have it; its files wait in the outbox until it exists\n" +
		"DIR/c.yaml:6:9: rule 2 is never reached: rule 1 matches every name; put it before that one"
	if got := strings.ReplaceAll(c.Warnings.Error(), dir, "DIR"); filepath.ToSlash(got) != want {
		t.Errorf("Warnings:\n%s\nwant:\n%s", got, want)
	}
}

// The samples name directories below /srv, which are moved to a place of the test.
func TestSampleConfigurationsAreValidAndTheirTestsHold(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of Unix")
	}
	samples, err := filepath.Glob(filepath.Join("..", "deploy", "*.yaml"))
	if err != nil || len(samples) < 4 {
		t.Fatalf("found %v, %v", samples, err)
	}
	dir := t.TempDir()
	for _, d := range []string{"gateway/out", "gateway/sent", "json-consumer/in", "log-consumer/in"} {
		mustMkdir(t, filepath.Join(dir, "srv", d))
	}
	for _, s := range samples {
		text, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		mustWrite(t, filepath.Join(dir, filepath.Base(s)), strings.ReplaceAll(string(text), "/srv/", dir+"/srv/"))
	}
	for _, s := range samples {
		file := filepath.Join(dir, filepath.Base(s))
		if filepath.Base(s) == "static.yaml" {
			if _, ps := LoadStatic(file); ps != nil {
				t.Errorf("static.yaml: %v", ps)
			}
			continue
		}
		c, err := Load(file, noEnv, Overrides{})
		if err != nil {
			t.Errorf("%s:\n%v", s, err)
			continue
		}
		if ps := RunTests(c); ps != nil || len(c.Warnings) > 0 {
			t.Errorf("%s: tests %v, warnings %v", s, ps, c.Warnings)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("name: n1\nnetwork: { static: s.yaml }\n", "clusters: { c1: [ { id: a, address: h, port: 1 } ] }\n")
	f.Add("uploaders:\n  - { spool: ., nexthop: 'ext', after: 'archive: x' }\n", "")
	f.Add("uploaders:\n  - spool: .\n    nexthop:\n      - { match: '(', cluster: [a, ~] }\ntests: [{ name: x }]\n", "[")
	f.Add("collectors:\n  - { cluster: c, file_mode: 0o640, max_file_size: 1GB }\n", "clusters: { c: { mode: key, key: '(x)' } }\n")
	f.Add("a: &a [*a, !!x {? b : c}]\n---\n\"\\.\": |\n  x\n", "clusters:\n  ? c\n  : d\n")
	f.Fuzz(func(t *testing.T, text, static string) {
		dir := t.TempDir()
		mustWrite(t, filepath.Join(dir, "c.yaml"), text)
		mustWrite(t, filepath.Join(dir, "s.yaml"), static)
		_, problems := LoadStatic(filepath.Join(dir, "s.yaml"))
		c, err := Load(filepath.Join(dir, "c.yaml"), noEnv, Overrides{})
		var ps Problems
		if err != nil && (!errors.As(err, &ps) || len(ps) == 0) {
			t.Fatalf("error is %T: %v", err, err)
		}
		for _, p := range append(problems, ps...) {
			if p.Line < 0 || p.Col < 0 || p.Message == "" || p.Remedy == "" || strings.Contains(p.String(), "\n") {
				t.Errorf("problem %+v", p)
			}
		}
		if err == nil {
			_ = RunTests(c)
			_ = Explain(c, FileFacts{Name: "a.json"})
		}
	})
}
