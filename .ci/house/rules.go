package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/bucket-relay/bucket-relay"

// arrows says which of our rooms each room may import. A room that is not
// listed may not exist; a new arrow is a design decision.
var arrows = map[string][]string{
	"cmd":        {"node", "httpapi"},
	"node":       {"httpapi", "membership", "spool", "fsm"},
	"httpapi":    {"fsm"},
	"membership": {},
	"spool":      {},
	"fsm":        {},
}

// reserved says which rooms alone may import a package or anything below it.
var reserved = map[string][]string{
	"github.com/hashicorp/memberlist":  {"membership"},
	"github.com/hashicorp/raft":        {"node", "fsm"},
	"github.com/hashicorp/raft-boltdb": {"node"},
	"github.com/spf13/cobra":           {"cmd"},
	"github.com/expr-lang/expr":        {"node"},
	"github.com/goccy/go-yaml":         {"node"},
	"go.etcd.io/bbolt":                 {"spool", "node"},
	"github.com/prometheus":            {"httpapi", "node"},
	"net/http":                         {"httpapi", "node", "cmd"},
	"log/slog":                         {"httpapi", "node", "cmd", "spool", "membership"}, // fsm does not log
}

// A ban forbids calls of some functions of a package in files that match where.
type ban struct {
	pkg   string   // import path
	names []string // functions; a trailing * stands for any ending
	where func(file string) bool
	why   string
}

var bans = []ban{
	{"time", []string{"Sleep"}, isTest,
		"tests wait for a condition with a deadline, or run under testing/synctest"},
	{"os", []string{"Rename", "WriteFile", "Create", "CreateTemp", "Symlink", "Link"}, besidesDiskSeam,
		"files at rest are written through the spool's disk seam, which knows when they are durable"},
	{"golang.org/x/sys/unix", []string{"Rename*", "Link*", "Symlink*"}, besidesDiskSeam,
		"files at rest are written through the spool's disk seam, which knows when they are durable"},
	{"os", []string{"Exit"}, belowMain, "only main ends the process"},
	{"log", []string{"Fatal*", "Panic*"}, func(string) bool { return true }, "return the error"},
	{"time", []string{"Now", "Since", "Until", "NewTimer", "NewTicker", "After*"}, isReplicated,
		"the replicated state has no clock; times come in the command"},
}

func isTest(file string) bool { return strings.HasSuffix(file, "_test.go") }

func besidesDiskSeam(file string) bool {
	seam, _ := path.Match("spool/disk*.go", file)
	identity := file == "node/identity.go" // node.json, which no spool holds
	return !isTest(file) && !strings.HasPrefix(file, "spool/spooltest/") && !seam && !identity
}

func belowMain(file string) bool {
	main := strings.HasPrefix(file, "cmd/") && path.Base(file) == "main.go"
	crash, _ := path.Match("spool/crash_*.go", file) // a crash point is an exit on purpose
	return !isTest(file) && !main && !crash
}

func isReplicated(file string) bool { return strings.HasPrefix(file, "fsm/") && !isTest(file) }

// checkFile returns the findings in one file, named by its path in the tree.
func checkFile(file string, src []byte) ([]string, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var findings []string
	report := func(pos token.Pos, format string, args ...any) {
		findings = append(findings, fmt.Sprintf("%s: %s", fset.Position(pos), fmt.Sprintf(format, args...)))
	}
	room, _, _ := strings.Cut(file, "/")
	if _, ok := arrows[room]; !ok {
		report(parsed.Package, "%q is not one of the rooms", room)
		return findings, nil
	}
	locals := make(map[string]string) // name in this file → import path
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		locals[localName(spec, imported)] = imported
		if why := badImport(room, imported); why != "" {
			report(spec.Pos(), "%s", why)
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && !inBubble(locals, locals[x.Name], sel.Sel.Name) {
			if why := badCall(file, locals[x.Name], sel.Sel.Name); why != "" {
				report(sel.Pos(), "%s.%s: %s", x.Name, sel.Sel.Name, why)
			}
		}
		return true
	})
	return findings, nil
}

func localName(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(imported)
}

// badImport says why a room may not import a package, "" if it may.
func badImport(room, imported string) string {
	if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
		target, _, _ := strings.Cut(ours, "/")
		if target != room && !slices.Contains(arrows[room], target) {
			return fmt.Sprintf("%s may not import %s: arrows are cmd → node → {httpapi, membership, spool, fsm}, httpapi → fsm, cmd → httpapi", room, ours)
		}
		return ""
	}
	for prefix, rooms := range reserved {
		below := imported == prefix || strings.HasPrefix(imported, prefix+"/")
		if below && !slices.Contains(rooms, room) {
			return fmt.Sprintf("%s may not import %s", room, imported)
		}
	}
	return ""
}

// inBubble reports whether a call is a sleep in a file that uses
// testing/synctest, where time passes at once. Helpers of a bubble look like any
// other function, so the whole file counts.
func inBubble(imports map[string]string, pkg, name string) bool {
	return pkg == "time" && name == "Sleep" && imports["synctest"] == "testing/synctest"
}

// badCall says why pkg.name may not be used in a file, "" if it may.
func badCall(file, pkg, name string) string {
	for _, b := range bans {
		if b.pkg == pkg && b.where(file) && slices.ContainsFunc(b.names, func(pattern string) bool {
			prefix, wild := strings.CutSuffix(pattern, "*")
			return name == prefix || wild && strings.HasPrefix(name, prefix)
		}) {
			return b.why
		}
	}
	return ""
}
