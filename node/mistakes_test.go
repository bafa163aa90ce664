package node

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var updateGolden = flag.Bool("update", false, "write golden files anew")

func TestEveryMistakeHasItsLineAndRemedy(t *testing.T) {
	eachMistake(t, "mistakes.txtar", func(t *testing.T, text string) []string {
		dir := configDir(t)
		_, err := loadText(t, dir, text)
		// Whatever is wrong, nothing was created.
		if left, err := os.ReadDir(dir); err != nil || len(left) != 7 {
			t.Errorf("the directory has %d entries, want the 7 it had: %v", len(left), err)
		}
		return problemLines(t, dir, err)
	})
}

func TestEveryMistakeInAStaticFileHasItsLineAndRemedy(t *testing.T) {
	eachMistake(t, "static_mistakes.txtar", func(t *testing.T, text string) []string {
		dir := t.TempDir()
		file := filepath.Join(dir, "static.yaml")
		mustWrite(t, file, text)
		_, ps := LoadStatic(file)
		return problemLines(t, dir, ps.err())
	})
}

// eachMistake runs a golden file: pairs of a file with mistakes and what is
// said of them, which problems must give.
func eachMistake(t *testing.T, name string, problems func(t *testing.T, text string) []string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	golden, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(golden.Files); i += 2 {
		in, want := golden.Files[i], &golden.Files[i+1]
		name := strings.TrimSuffix(in.Name, ".yaml")
		if want.Name != name+".want" {
			t.Fatalf("%s is followed by %s", in.Name, want.Name)
		}
		t.Run(name, func(t *testing.T) {
			got := strings.Join(problems(t, string(in.Data)), "\n") + "\n"
			if *updateGolden {
				want.Data = []byte(got)
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			for line := range strings.Lines(got) {
				if !strings.Contains(line, "; ") {
					t.Errorf("no remedy in %q", line)
				}
			}
		})
	}
	if *updateGolden {
		if err := os.WriteFile(file, txtar.Format(golden), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
