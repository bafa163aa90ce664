// Command house checks what the general linters cannot know: which room may
// import which, and the few calls that are forbidden in some of them. It reads
// every Go file below the working directory, prints one finding a line and
// exits 1 if there are any.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	findings, err := check(os.DirFS("."))
	for _, f := range findings {
		fmt.Println(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
	}
	if err != nil || len(findings) > 0 {
		os.Exit(1)
	}
}

// check reads every Go file of the tree and returns what breaks a rule, in the
// order of the files. Folders that begin with a dot and testdata are left out.
func check(tree fs.FS) ([]string, error) {
	var findings []string
	err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := filepath.Base(path)
		if d.IsDir() && path != "." && (strings.HasPrefix(base, ".") || base == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		found, err := checkFile(path, src)
		findings = append(findings, found...)
		return err
	})
	return findings, err
}
