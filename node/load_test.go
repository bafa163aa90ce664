package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// configDir makes a directory with what most test configurations name: out,
// out2, in, in2, sent and a static file with two clusters.
func configDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"out", "out2", "in", "in2", "sent"} {
		mustMkdir(t, filepath.Join(dir, sub))
	}
	mustWrite(t, filepath.Join(dir, "static.yaml"), `clusters:
  c1: [ { id: one, address: 127.0.0.1, port: 10100 } ]
  c2: [ { id: two, address: 127.0.0.1, port: 10101 } ]
`)
	return dir
}

func mustMkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

func mustWrite(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// noEnv is an environment with nothing in it but a home.
func noEnv(key string) string {
	if key == "HOME" {
		return "/home/someone"
	}
	return ""
}

// envOf is an environment of its own.
func envOf(vars map[string]string) func(string) string {
	return func(key string) string { return vars[key] }
}

// loadText loads a configuration that lies in dir.
func loadText(t *testing.T, dir, text string) (Config, error) {
	t.Helper()
	file := filepath.Join(dir, "c.yaml")
	mustWrite(t, file, text)
	return Load(file, noEnv, Overrides{})
}

func mustLoad(t *testing.T, dir, text string) Config {
	t.Helper()
	c, err := loadText(t, dir, text)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

// problemLines gives the error of Load a line per problem, with DIR for the
// directory of the test.
func problemLines(t *testing.T, dir string, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var ps Problems
	if !errors.As(err, &ps) {
		t.Fatalf("error is a %T, want Problems: %v", err, err)
	}
	return strings.Split(strings.ReplaceAll(ps.Error(), dir+string(filepath.Separator), "DIR/"), "\n")
}
