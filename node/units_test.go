package node

import (
	"io/fs"
	"strings"
	"testing"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "500KB": 500_000, "500 kb": 500_000, "2GiB": 2 << 30, "1TB": 1e12, "7B": 7, "8388607TiB": 8388607 << 40,
	} {
		if got, err := parseSize(text); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5GiB", "1K", "GiB", "1  GiB", "8388608TiB", "99999999999999999999", "1GiBs", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q) = %d, want an error", text, got)
		}
	}
}

func TestParseFileMode(t *testing.T) {
	for text, want := range map[string]fs.FileMode{"0640": 0o640, "640": 0o640, "0o644": 0o644, "777": 0o777} {
		if got, err := parseFileMode(text); err != nil || got != want {
			t.Errorf("parseFileMode(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0888", "1777", "rw-", "-640"} {
		if got, err := parseFileMode(text); err == nil {
			t.Errorf("parseFileMode(%q) = %v, want an error", text, got)
		}
	}
}

func TestHosts(t *testing.T) {
	for host, want := range map[string]string{ // host, loopback, every interface
		"127.0.0.1": "hl", "127.9.9.9": "hl", "::1": "hl", "::ffff:127.0.0.1": "hl", "localhost": "hl", "LOCALHOST": "hl",
		"0.0.0.0": "he", "::": "he", "": "e", "10.0.0.1": "h", "fe80::1%eth0": "h", "n1": "h", "a.b-c.example.": "h", "my_host": "h",
		"10.0.0.300": "", "1.2.3": "", "-a": "", "a..b": "", "a b": "", "[::1]": "", "a:1": "", strings.Repeat("a", 300): "",
	} {
		got := ""
		if isHost(host) {
			got += "h"
		}
		if isLoopback(host) {
			got += "l"
		}
		if isEveryInterface(host) {
			got += "e"
		}
		if got != want {
			t.Errorf("%q is %q, want %q", host, got, want)
		}
	}
}

func TestListenersClash(t *testing.T) {
	for _, tc := range []struct {
		a, b  listener
		clash bool
	}{
		{listener{host: "127.0.0.1", port: 1}, listener{host: "127.0.0.1", port: 1}, true},
		{listener{host: "127.0.0.1", port: 1}, listener{host: "127.0.0.1", port: 2}, false},
		{listener{host: "127.0.0.1", port: 1}, listener{host: "127.0.0.2", port: 1}, false},
		{listener{host: "127.0.0.1", port: 1}, listener{host: "localhost", port: 1}, true},
		{listener{host: "0.0.0.0", port: 1}, listener{host: "10.0.0.1", port: 1}, true},
		{listener{host: "", port: 0}, listener{host: "", port: 0}, false},
	} {
		if tc.a.clashes(tc.b) != tc.clash || tc.b.clashes(tc.a) != tc.clash {
			t.Errorf("%s and %s: want %v", tc.a, tc.b, tc.clash)
		}
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"name", "max_conn", "cron_time", "spool", "nexthop", "after", "ready"}
	for text, want := range map[string]string{
		"nmae": "name", "maxConn": "max_conn", "cron-time": "cron_time", "next_hop": "nexthop", "spol": "spool",
		"frobnicate": "", "": "", "x": "", strings.Repeat("name", 50): "",
	} {
		if got := nearest(text, keys); got != want {
			t.Errorf("nearest(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestQuoteCutsAndEscapes(t *testing.T) {
	if got := quote("a\nb\x1b[31m"); got != `"a\nb\x1b[31m"` {
		t.Errorf("quote = %s", got)
	}
	if got := quote(strings.Repeat("é", 100)); got != `"`+strings.Repeat("é", 40)+`…"` {
		t.Errorf("quote = %s", got)
	}
}

func TestFilesThatWouldCostTheParserTooMuchAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("[", 300):             "c.yaml:1:1: more than 200 brackets open; nest less",
		strings.Repeat("a: [\n", 300):        "c.yaml:201:1: more than 200 brackets open; nest less",
		"a\n" + strings.Repeat("- ", 40_000): "c.yaml:2:1: a line of more than 65536 bytes; break the line",
		strings.Repeat("a: 1\n", 300_000):    "c.yaml: more than 1048576 bytes; split it up",
		"name: a\nhttp: \"\xff\"\n":          "c.yaml:2:1: not text; save the file as UTF-8 text",
		"name: \x00\n":                       "c.yaml:1:1: not text; save the file as UTF-8 text",
	} {
		r := &reader{file: "c.yaml", where: map[string]position{}}
		if r.document([]byte(text)) != nil || r.problems.Error() != want {
			t.Errorf("%.20q: %v, want %s", text, r.problems, want)
		}
	}
}
