package httpapi

import (
	"crypto/sha256"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMetaOnTheWire(t *testing.T) {
	t.Parallel()
	digest := sha256.Sum256(nil)
	m := Meta{
		Key: testID, Digest: &digest, MTime: time.Date(2026, 7, 1, 14, 0, 0, 5, time.FixedZone("CEST", 7200)),
		Cluster: "cluster1", Hops: []string{"n1", "n2"}, PossibleDuplicate: true,
		Settled: []Mark{{0x00c0ffee00c0ffee, 0x28}, {1, math.MaxUint64}},
	}
	h := http.Header{}
	m.set(h)
	want := http.Header{
		"Idempotency-Key":          {`"` + testID + `"`},
		"Repr-Digest":              {"sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"},
		"Relay-Mtime":              {"2026-07-01T12:00:00.000000005Z"},
		"Relay-Cluster":            {"cluster1"},
		"Relay-Hops":               {"n1, n2"},
		"Relay-Settled":            {"00c0ffee00c0ffee=28, 0000000000000001=ffffffffffffffff"},
		"Relay-Possible-Duplicate": {"?1"},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got, err := parseMeta(h)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, err := parseMeta(http.Header{}); err != nil || !cmp.Equal(got, Meta{}) {
		t.Errorf("no headers: %+v, %v", got, err)
	}
	h = http.Header{}
	Meta{MTime: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}.set(h)
	if len(h) > 0 {
		t.Errorf("a time that RFC 3339 cannot say: %v", h)
	}
}

func TestMetaTaken(t *testing.T) {
	t.Parallel()
	digest := formatDigest(sha256.Sum256([]byte("x")))
	for name, tc := range map[string]struct {
		h    http.Header
		want func(Meta) bool
	}{
		"bare key":          {http.Header{headerKey: {"8e03978e-40d5"}}, func(m Meta) bool { return m.Key == "8e03978e-40d5" }},
		"escaped key":       {http.Header{headerKey: {`"a\"\\ b"`}}, func(m Meta) bool { return m.Key == `a"\ b` }},
		"longest key":       {http.Header{headerKey: {formatKey(strings.Repeat(`\`, 128))}}, func(m Meta) bool { return len(m.Key) == 128 }},
		"spaces around":     {http.Header{headerCluster: {" c1\t"}}, func(m Meta) bool { return m.Cluster == "c1" }},
		"other digest":      {http.Header{headerDigest: {"sha-512=:AA==:"}}, func(m Meta) bool { return m.Digest == nil }},
		"among others":      {http.Header{headerDigest: {"md5=:AA==:," + digest}}, func(m Meta) bool { return m.Digest != nil }},
		"digest, two lines": {http.Header{headerDigest: {"md5=:AA==:", digest}}, func(m Meta) bool { return m.Digest != nil }},
		"hops, two lines":   {http.Header{headerHops: {"a", "b,c"}}, func(m Meta) bool { return len(m.Hops) == 3 }},
		"time with zone":    {http.Header{headerMTime: {"2026-07-01T14:00:00+02:00"}}, func(m Meta) bool { return m.MTime.Hour() == 12 }},
		"no duplicate":      {http.Header{headerPossibleDuplicate: {"?0"}}, func(m Meta) bool { return !m.PossibleDuplicate }},
	} {
		if m, err := parseMeta(tc.h); err != nil || !tc.want(m) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestMetaRefused(t *testing.T) {
	t.Parallel()
	digest := formatDigest(sha256.Sum256([]byte("x")))
	for name, bad := range map[string][]string{
		headerKey: {
			"", `""`, `"`, `"a`, `a"`, `"a"b"`, `"a\b"`, `"a\`, "a,b", "a b", "ü", "\"a\tb\"",
			strings.Repeat("k", 129), strings.Repeat("k", 1000), `"a";p=1`,
		},
		headerDigest: {
			"", "sha-256", "sha-256=", "sha-256=::", "sha-256=:x:", "sha-256=:AA==:", digest + "," + digest,
			strings.TrimSuffix(digest, ":"), "sha-256=" + strings.Repeat("A", 44), strings.Repeat("a=:A:,", 8) + digest,
			"sha-256=:LXEWQrcmsEQBYnyp++5QXNUhCVaqW1YfgTlVcUVEe6H=:", // the same bytes, other trailing bits
		},
		headerMTime:             {"", "now", "2026-07-01", "2026-07-01T12:00:00", "2026-13-01T12:00:00Z", strings.Repeat("1", 99)},
		headerCluster:           {"", ".x", "a b", "ü", strings.Repeat("c", 101)},
		headerHops:              {"", "a,,b", "a,", "../x"},
		headerSettled:           {"", "1=1", "0000000000000001", "0000000000000001=", "0000000000000001=01", "000000000000000A=1", "0000000000000001=1;", strings.Repeat("0000000000000001=1,", 256) + "0000000000000001=1"},
		headerPossibleDuplicate: {"", "1", "true", "?2"},
	} {
		for _, v := range bad {
			h := http.Header{headerKey: {"k"}}
			h[name] = []string{v}
			if m, err := parseMeta(h); !errors.Is(err, ErrBadHeader) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %q: %+v, %v", name, v, m, err)
			}
		}
	}
	for _, h := range []http.Header{
		{headerKey: {"a", "a"}},
		{headerKey: {`"a`, `b"`}}, // would join to one
		{headerMTime: {"2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"}},
		{headerSettled: {"0000000000000001=1"}}, // of which outbox?
	} {
		if _, err := parseMeta(h); !errors.Is(err, ErrBadHeader) {
			t.Errorf("%v: %v", h, err)
		}
	}
}

func TestUploadHeaders(t *testing.T) {
	t.Parallel()
	u, err := parseUpload(http.Header{headerOffset: {"0"}, headerLength: {"999999999999999999"}, headerComplete: {"?0"}})
	if err != nil || u.offset != 0 || u.length != maxCount || u.complete == nil || *u.complete {
		t.Errorf("%+v, %v", u, err)
	}
	if u, err := parseUpload(http.Header{}); err != nil || u.offset != -1 || u.length != -1 || u.complete != nil {
		t.Errorf("%+v, %v", u, err)
	}
	for _, v := range []string{"", "-1", "+1", "0x1", "1.0", "1000000000000000000", "9223372036854775808", "1,2"} {
		for _, name := range []string{headerOffset, headerLength} {
			if _, err := parseUpload(http.Header{name: {v}}); !errors.Is(err, ErrBadHeader) {
				t.Errorf("%s: %q: %v", name, v, err)
			}
		}
	}
}

// FuzzMeta: what is read of strangers' headers can be written and read again.
func FuzzMeta(f *testing.F) {
	f.Add(testID, "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "2026-07-01T12:00:00.5Z", "c1", "a, b", "0000000000000001=f", "?1")
	f.Add(`"a\"b"`, "md5=:A:", "2026-07-01T12:00:00-23:59", "", ",", "=", "?0")
	f.Fuzz(func(t *testing.T, key, digest, mtime, cluster, hops, settled, duplicate string) {
		h := http.Header{}
		for name, v := range map[string]string{
			headerKey: key, headerDigest: digest, headerMTime: mtime, headerCluster: cluster,
			headerHops: hops, headerSettled: settled, headerPossibleDuplicate: duplicate,
		} {
			if v != "" {
				h.Set(name, v)
			}
		}
		m, err := parseMeta(h)
		if err != nil {
			if !errors.Is(err, ErrBadHeader) {
				t.Fatal(err)
			}
			return
		}
		again := http.Header{}
		m.set(again)
		got, err := parseMeta(again)
		if err != nil {
			t.Fatalf("%v: %v", again, err)
		}
		if m.MTime.IsZero() || m.MTime.Year() < 0 || m.MTime.Year() > 9999 {
			m.MTime = got.MTime
		}
		if diff := cmp.Diff(m, got, cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}

func FuzzUpload(f *testing.F) {
	f.Add("0", "10", "?1")
	f.Fuzz(func(t *testing.T, offset, length, complete string) {
		u, err := parseUpload(http.Header{headerOffset: {offset}, headerLength: {length}, headerComplete: {complete}})
		if err == nil && (u.offset < 0 || u.length < 0 || u.offset > maxCount || u.length > maxCount || u.complete == nil) {
			t.Errorf("%+v", u)
		}
	})
}
