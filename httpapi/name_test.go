package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestUnescapeName(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/a.json":           "a.json",
		"/a%20b":            "a b",
		"/a+b":              "a+b",
		"/%C3%BC":           "ü",
		"/ü":                "ü",
		"/%252e%252e%252f":  "%2e%2e%2f", // decoded once, and only once
		"/..":               "..",        // for the inbox to refuse, as those below
		"/%00":              "\x00",
		"/%0a":              "\n",
		"/.relay":           ".relay",
		"/%ff":              "\xff",
		"/a%5cb":            `a\b`,
		"/;a=b@c:d,e&f$g!h": ";a=b@c:d,e&f$g!h",
	} {
		if got, err := unescapeName(path); err != nil || got != want {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "/", "a", "//", "//a", "/a/", "/a/b", "/../a", "/%2f", "/%2e%2e%2fa", "/a%2Fb", "/%", "/%4", "/%zz", "/100%"} {
		if got, err := unescapeName(path); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %q, %v", path, got, err)
		}
	}
}

// The path goes through net/http, which decodes and encodes as it likes.
func TestNameThroughTheServer(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"/a%252fb", "/a%25%22", `/a"b`, "/%61", "/a%2Bb", "/a%3Fb", "/a%23b", "/a^b", "/%e2%80%ae"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		want, err := url.PathUnescape(target[1:])
		if err != nil {
			t.Fatal(err)
		}
		if got, err := requestName(&http.Request{URL: u}); err != nil || got != want {
			t.Errorf("%s: %q, want %q, %v", target, got, want, err)
		}
	}
}

// FuzzName: what can be escaped comes back, and nothing with a slash comes out.
func FuzzName(f *testing.F) {
	for _, s := range []string{"a", "ü b", "..", "%2e", "a%", "\x00", "\xff", "a/b", "", `"<>|`, "?x#y", "\u202e", strings.Repeat("x", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := unescapeName(escapeName(s))
		legal := s != "" && !strings.Contains(s, "/")
		if legal != (err == nil) || legal && got != s {
			t.Errorf("%q became %q, %v", s, got, err)
		}
		if got, err := unescapeName("/" + s); err == nil && strings.Contains(got, "/") || err != nil && !errors.Is(err, ErrBadName) {
			t.Errorf("/%s: %q, %v", s, got, err)
		}
		if u, err := url.ParseRequestURI(escapeName(s)); err != nil {
			t.Errorf("%q is no request target: %v", escapeName(s), err)
		} else if got, err := requestName(&http.Request{URL: u}); legal != (err == nil) || legal && got != s {
			t.Errorf("%q came over the wire as %q, %v", s, got, err)
		}
	})
}
