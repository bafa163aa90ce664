package node

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// maxExpressionBytes bounds an expression, and with it the depth of its tree.
const maxExpressionBytes = 4096

// expression is a compiled routing expression. It never changes.
type expression struct {
	program *vm.Program
}

// exprFacts are the names that an expression sees.
type exprFacts struct {
	Name   string `expr:"name"`
	Size   int64  `expr:"size"`
	Ext    string `expr:"ext"`
	Outbox string `expr:"outbox"`
}

// exprFunctions are the functions an expression may call. None has a loop over
// an expression of its own, and none gives more text than it is given: replace,
// repeat, join and the like do, and nested a few dozen deep they fill the memory.
var exprFunctions = map[string]bool{
	"abs": true, "concat": true, "first": true, "hasPrefix": true, "hasSuffix": true, "indexOf": true,
	"int": true, "last": true, "lastIndexOf": true, "len": true, "lower": true, "max": true, "min": true,
	"split": true, "trim": true, "trimPrefix": true, "trimSuffix": true, "upper": true,
}

// compileExpression parses an expression, refuses what is not bounded, and
// checks its types.
func compileExpression(text string) (_ *expression, err error) {
	defer func() {
		if r := recover(); r != nil { // a library's panic over an odd text is no reason to stop the node
			err = errors.New("not an expression")
		}
	}()
	if len(text) > maxExpressionBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxExpressionBytes)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, exprError(err)
	}
	var limit boundary
	ast.Walk(&tree.Node, &limit)
	if limit.err != nil {
		return nil, limit.err
	}
	program, err := expr.Compile(text, expr.Env(exprFacts{}), expr.AsAny())
	if err != nil {
		return nil, exprError(err)
	}
	if err := checkResult(program.Node().Type()); err != nil {
		return nil, err
	}
	return &expression{program: program}, nil
}

// eval gives the clusters of one file. It never panics.
func (e *expression) eval(f FileFacts) (clusters []fsm.ClusterName, err error) {
	defer func() {
		if r := recover(); r != nil {
			clusters, err = nil, fmt.Errorf("%v", r)
		}
	}()
	value, err := expr.Run(e.program, exprFacts{
		Name: f.Name, Size: f.Size, Ext: path.Ext(f.Name), Outbox: f.Outbox,
	})
	if err != nil {
		return nil, exprError(err)
	}
	return clustersOf(value)
}

// boundary walks the tree of an expression and keeps the first thing in it that
// would let evaluation grow without bound.
type boundary struct{ err error }

// Visit implements ast.Visitor.
func (b *boundary) Visit(node *ast.Node) {
	if b.err == nil {
		b.err = unbounded(*node)
	}
}

func unbounded(node ast.Node) error {
	switch n := node.(type) {
	case *ast.BuiltinNode:
		if !exprFunctions[n.Name] {
			return fmt.Errorf("function %s is not available", n.Name)
		}
	case *ast.BinaryNode:
		if n.Operator == ".." {
			return errors.New("ranges (..) are not available")
		}
	case *ast.VariableDeclaratorNode:
		// let a = name + name; let b = a + a; … doubles with every step.
		return errors.New("variables (let) are not available")
	case *ast.PredicateNode, *ast.PointerNode, *ast.SequenceNode:
		return errors.New("loops and sequences are not available")
	}
	return nil
}

// checkResult refuses an expression that can never give a cluster.
func checkResult(t reflect.Type) error {
	if t == nil {
		return nil // nil, or not known before it is evaluated
	}
	switch t.Kind() {
	case reflect.String, reflect.Interface:
		return nil
	case reflect.Slice:
		if k := t.Elem().Kind(); k == reflect.String || k == reflect.Interface {
			return nil
		}
	}
	return fmt.Errorf("gives %s, want a text, a list of texts, or nil", t)
}

// exprError takes the library's error down to one line.
func exprError(err error) error {
	var at *file.Error
	if !errors.As(err, &at) {
		return errors.New(firstLine(err.Error()))
	}
	if at.Line == 0 {
		return errors.New(firstLine(at.Message))
	}
	where := fmt.Sprintf("character %d", at.Column+1)
	if at.Line > 1 {
		where = fmt.Sprintf("line %d, %s", at.Line, where)
	}
	return fmt.Errorf("%s (%s of the expression)", firstLine(at.Message), where)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
