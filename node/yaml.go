package node

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a file. The parser recurses, and what it needs grows with the
// square of the depth, so that is bounded before it sees the file.
const (
	maxFileBytes = 1 << 20
	maxLineBytes = 64 << 10
	maxNesting   = 200
)

// reader takes a YAML file apart into Go values. It does not stop at the first
// mistake: it notes the problem, leaves the value as it was, and goes on.
type reader struct {
	file     string
	problems Problems
	where    map[string]position // of every value that was given, by path
}

// field is one key of a mapping and what takes its value.
type field struct {
	key  string
	read func(n ast.Node, path string)
}

// document parses a file and returns its one document, or nil when it is empty
// or not YAML.
func (r *reader) document(data []byte) (body ast.Node) {
	defer func() {
		if p := recover(); p != nil { // a panic of the parser over an odd file is a mistake in the file
			r.problems.add(position{file: r.file}, "check the quotes and the indentation", "cannot be parsed as YAML")
			body = nil
		}
	}()
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !r.plausible(data) {
		return nil
	}
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntaxError(err)
		return nil
	}
	for _, d := range f.Docs {
		switch {
		case d.Body == nil || d.Body.Type() == ast.DirectiveType || d.Body.Type() == ast.CommentType:
		case body != nil:
			r.problems.add(r.at(d.Body), "keep one document and remove the other", "a second YAML document")
		default:
			body = d.Body
		}
	}
	return body
}

// plausible refuses what is no text or would cost the parser too much.
func (r *reader) plausible(data []byte) bool {
	if len(data) > maxFileBytes {
		r.problems.add(position{file: r.file}, "split it up", "more than %d bytes", maxFileBytes)
		return false
	}
	depth := 0
	for i, line := range bytes.Split(data, []byte("\n")) {
		at := position{file: r.file, line: i + 1, col: 1}
		depth += bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{"))
		switch {
		case !utf8.Valid(line) || bytes.IndexByte(line, 0) >= 0:
			r.problems.add(at, "save the file as UTF-8 text", "not text")
		case len(line) > maxLineBytes:
			r.problems.add(at, "break the line", "a line of more than %d bytes", maxLineBytes)
		case depth > maxNesting:
			r.problems.add(at, "nest less", "more than %d brackets open", maxNesting)
		default:
			depth = max(0, depth-bytes.Count(line, []byte("]"))-bytes.Count(line, []byte("}")))
			continue
		}
		return false
	}
	return true
}

// syntaxError notes what the parser stumbled over.
func (r *reader) syntaxError(err error) {
	at := position{file: r.file}
	message := firstLine(err.Error())
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		message = firstLine(syntax.Message)
		if t := syntax.Token; t != nil && t.Position != nil {
			at.line, at.col = t.Position.Line, t.Position.Column
		}
	}
	r.problems.add(at, syntaxRemedy(message)+"; the rest of the file is not checked", "not YAML: %s", message)
}

// syntaxRemedy knows the usual causes.
func syntaxRemedy(message string) string {
	switch {
	case strings.Contains(message, "unknown escape"):
		return `use single quotes, in which a backslash is plain: '\.json$'`
	case strings.Contains(message, "mapping value is not allowed"):
		return `put a value that has ": " in it in quotes, and indent the keys of one mapping alike`
	case strings.Contains(message, "pre-defined"), strings.Contains(message, "reserved"), strings.Contains(message, "alias"):
		return `put a value that begins with *, &, !, %, @ or a quote in quotes: "*/10 * * * * *"`
	case strings.Contains(message, "cannot start any token"):
		return "indent with spaces, not with tabs"
	}
	return "check the quotes, the brackets and the indentation"
}

// at gives the place of a node.
func (r *reader) at(n ast.Node) position {
	at := position{file: r.file}
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // the mapping's own token is the first colon
	}
	if n == nil {
		return at
	}
	if t := n.GetToken(); t != nil && t.Position != nil {
		at.line, at.col = t.Position.Line, t.Position.Column
	}
	return at
}

// mapping reads a mapping whose keys are known. Null is an empty mapping. It
// reports whether n is one of both.
func (r *reader) mapping(n ast.Node, path string, fields ...field) bool {
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.key
	}
	return r.entries(n, path, func(key string, keyNode, value ast.Node) {
		for _, f := range fields {
			if f.key == key {
				f.read(value, join(path, key))
				return
			}
		}
		remedy := "known here: " + strings.Join(known, ", ")
		if near := nearest(key, known); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
		r.problems.add(r.at(keyNode), remedy, "unknown key %s", quote(key))
	})
}

// entries reads a mapping with any keys, and notes keys that occur twice. It
// reports whether n is a mapping or null.
func (r *reader) entries(n ast.Node, path string, each func(key string, keyNode, value ast.Node)) bool {
	if n == nil || n.Type() == ast.NullType {
		return true
	}
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.wrongType(n, path, "a mapping, that is key: value")
		return false
	}
	r.where[path] = r.at(n)
	first := map[string]int{}
	for _, v := range m.Values {
		key, ok := r.key(v.Key)
		if !ok {
			continue
		}
		if line, ok := first[key]; ok {
			r.problems.add(r.at(v.Key), "keep one of them", "%s is given twice, first on line %d", quote(key), line)
			continue
		}
		first[key] = r.at(v.Key).line
		r.where[join(path, key)] = r.at(v.Value)
		each(key, v.Key, v.Value)
	}
	return true
}

// key returns the text of a mapping's key.
func (r *reader) key(n ast.Node) (string, bool) {
	switch n.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, true
	}
	r.problems.add(r.at(n), "write a plain key; merge keys, tags and anchors are not supported", "not a plain key")
	return "", false
}

// list reads a list. Null is an empty list. It reports whether n is one of both.
func (r *reader) list(n ast.Node, path string, each func(n ast.Node, path string)) bool {
	if n == nil || n.Type() == ast.NullType {
		return true
	}
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		r.wrongType(n, path, `a list: lines that begin with "-", or [a, b]`)
		return false
	}
	for i, item := range s.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		r.where[at] = r.at(item)
		each(item, at)
	}
	return true
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// last is what people call a value by: its key, or that it is an item of a list.
func last(path string) string {
	path = path[strings.LastIndexByte(path, '.')+1:]
	if list, _, ok := strings.Cut(path, "["); ok {
		return "an item of " + list
	}
	return path
}
