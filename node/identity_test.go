package node

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestSaveFileIsAllOrNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "net.snap")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, s)
			return err
		}
	}
	for _, s := range []string{"one", "two"} {
		if err := SaveFile(file, text(s)); err != nil {
			t.Fatal(err)
		}
		onlyFile(t, file, s)
	}
	broken := errors.New("cut")
	err := SaveFile(file, func(w io.Writer) error { return errors.Join(text("half")(w), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	onlyFile(t, file, "two")
}

// onlyFile checks that a file has the content and its directory nothing else.
func onlyFile(t *testing.T, file, want string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Nobody who runs it as root shall lose /dev/null.
func TestSaveFileReplacesOnlyRegularFiles(t *testing.T) {
	dir := t.TempDir()
	paths := []string{dir}
	if runtime.GOOS != "windows" {
		link := filepath.Join(dir, "link")
		if err := os.Symlink(os.DevNull, link); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, link)
	}
	for _, path := range paths {
		err := SaveFile(path, func(io.Writer) error { t.Error("asked for content"); return nil })
		if err == nil || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
