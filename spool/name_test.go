package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCheckName(t *testing.T) {
	good := []string{
		"a", "a.json", "A b", "ünïcode", "文件", "a..b", "a.", "-", "~", "'\"$`;|&", "%2e%2e%2f", "a\u00a0b",
		strings.Repeat("n", 200), strings.Repeat("ü", 100), "con", "a:b", "\U0001F600",
	}
	for _, name := range good {
		if err := CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := []string{
		"", ".", "..", ".a", ".relay", "../x", "a/b", "/a", "a/", "a\x00b", "a\nb", "a\tb", "\r", "a\x1bb", "a\x7f",
		"a\u0080b", "a\u009fb", "a\u2028b", "a\u2029b", "a\u202eb", "a\u2066b", "a\u200fb", "a\u061cb", "a\xff", "\xc3",
		"\xed\xa0\x80", strings.Repeat("n", 201), strings.Repeat("ü", 101),
	}
	for _, name := range bad {
		if err := CheckName(name); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
	}
	if err := CheckName(`a\b`); (err == nil) != backslashIsPlain {
		t.Errorf("backslash: %v", err)
	}
}

func TestReasonsOfBadNamesDoNotRepeatThem(t *testing.T) {
	const hostile = "evil\nlog line"
	if err := CheckName(hostile); err == nil || strings.Contains(err.Error(), "evil") {
		t.Errorf("%v", err)
	}
}

// FuzzCheckName holds an accepted name to what the rest of the spool relies on:
// it stays in its directory and can be logged.
func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"a.json", "..", "a/b", "a\u202e", "\xff", strings.Repeat("x", 201), ".relay", "a\x00"} {
		f.Add(name)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, name string) {
		err := CheckName(name)
		if err != nil {
			if !errors.Is(err, ErrName) {
				t.Errorf("%q: %v is not ErrName", name, err)
			}
			return
		}
		if !filepath.IsLocal(name) || filepath.Base(name) != name || len(name) > MaxNameBytes || !utf8.ValidString(name) || name[0] == '.' {
			t.Errorf("%q was accepted", name)
		}
		if strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
			t.Errorf("%q was accepted", name)
		}
		path := filepath.Join(dir, claimName(1, 1, name))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Errorf("%q can't be a file: %v", name, err)
			return
		}
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	})
}
