package spool

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// A crash point that no code crosses, or code that crosses one that is not in
// the table, would make the kill tests prove less than they say.
func TestEveryCrashPointIsCrossed(t *testing.T) {
	fset := token.NewFileSet()
	values := map[string]CrashPoint{} // by the constant's name
	crossed := map[string][]string{}  // positions of the calls, by the constant's name
	for _, f := range parseSources(t, fset) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if id, ok := n.Type.(*ast.Ident); ok && id.Name == "CrashPoint" {
					lit := n.Values[0].(*ast.BasicLit)
					values[n.Names[0].Name] = CrashPoint(strings.Trim(lit.Value, `"`))
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); !ok || id.Name != "crash" {
					return true
				}
				at := fset.Position(n.Pos()).String()
				arg, ok := n.Args[0].(*ast.Ident)
				if !ok {
					t.Errorf("%s: crash wants a constant", at)
					return true
				}
				crossed[arg.Name] = append(crossed[arg.Name], at)
			}
			return true
		})
	}
	listed := map[CrashPoint]bool{}
	for _, p := range CrashPoints() {
		if listed[p] {
			t.Errorf("%s is listed twice", p)
		}
		listed[p] = true
	}
	for name, p := range values {
		if !listed[p] {
			t.Errorf("%s is not in CrashPoints()", name)
		}
		if len(crossed[name]) == 0 {
			t.Errorf("no code crosses %s", name)
		}
	}
	for name, at := range crossed {
		if _, ok := values[name]; !ok {
			t.Errorf("%s: %s is no crash point", at, name)
		}
	}
	if len(values) != len(listed) {
		t.Errorf("%d constants, %d points listed", len(values), len(listed))
	}
}

// parseSources reads the package's code without its tests.
func parseSources(t *testing.T, fset *token.FileSet) []*ast.File {
	t.Helper()
	names, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}
