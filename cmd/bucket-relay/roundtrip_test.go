package main_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// oddNames are legal, and easy to get wrong on the way.
var oddNames = []string{
	"a b.json", " leading and trailing ", `quo"te's`, "back`tick", "semi;colon", "per%cent%20", "plus+and&amp", "hash#question?", "at@host:80",
	"umlaut-äöüß", "e\u0301-decomposed", "\u00e9-composed", "日本語.txt", "emoji-🪣", "عربي", "~", "-rf", "--", "a=b", "comma,semi;", "(paren)[b]{c}",
	"$HOME", "*", "|pipe", "<angle>", "^caret", "double..dot", "dot.", "CON", "ending~", "no-extension", strings.Repeat("n", 200), strings.Repeat("ü", 100),
}

// TestFilesArriveAsTheyWere sends files of all sizes that travel differently,
// under odd names: bytes, name and mtime are the same, mode and group are those
// of the configuration.
func TestFilesArriveAsTheyWere(t *testing.T) {
	w := newWorld(t)
	group := os.Getegid()
	if groups, err := os.Getgroups(); err == nil && len(groups) > 0 {
		group = groups[len(groups)-1]
	}
	if os.Geteuid() == 0 {
		group = 1
	}
	options := []string{`file_mode: "0604"`}
	if runtime.GOOS != "windows" {
		options = append(options, fmt.Sprintf("file_group: %q", fmt.Sprint(group)))
	}
	out, in := w.outbox("out", "c"), w.inbox("in", "c", options...)
	up, down := w.node("up", out), w.node("down", in)
	down.startReady()
	up.startReady()

	type sent struct {
		body  []byte
		mtime time.Time
	}
	files := map[string]sent{}
	for i, name := range oddNames {
		if strings.HasSuffix(name, "~") && name != "" {
			continue // an editor's backup, which an outbox passes by
		}
		files[name] = sent{body: []byte(name), mtime: time.Unix(int64(i)*40_000_000, int64(i)*12_345_678)}
	}
	random := rand.NewChaCha8([32]byte{5})
	for i, size := range []int{0, 1, 2, 4095, 4096, 65535, 65536, 65537, 262143, 262144, 262145, 1 << 20, 5<<20 + 3} {
		body := make([]byte, size)
		_, _ = random.Read(body) // never fails
		files[fmt.Sprintf("size-%d", size)] = sent{body, time.Now().Add(time.Duration(i) * -time.Hour)}
	}
	files["before the epoch"] = sent{nil, time.Unix(-86400, 500)}
	files["far in the future"] = sent{nil, time.Date(2200, 1, 2, 3, 4, 5, 6, time.UTC)}
	for name, f := range files {
		path := filepath.Join(w.dir, "file")
		w.writeFile(path, string(f.body))
		if err := os.Chtimes(path, f.mtime, f.mtime); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, filepath.Join(out.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	out.awaitEmpty(patienceLimit)
	if got := len(inboxNames(t, in)); got != len(files) {
		t.Errorf("%d files arrived of %d", got, len(files))
	}
	for name, f := range files {
		path := filepath.Join(in.dir, name)
		body, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(body, f.body) {
			t.Errorf("%q: %d bytes, %v; want %d", name, len(body), err, len(f.body))
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if !info.ModTime().Equal(f.mtime) {
			t.Errorf("%q: mtime %v, want %v", name, info.ModTime().UTC(), f.mtime.UTC())
		}
		if runtime.GOOS != "windows" && (info.Mode() != 0o604 || groupOf(info) != group) {
			t.Errorf("%q: mode %v of group %d, want 0604 of group %d", name, info.Mode(), groupOf(info), group)
		}
	}
}
