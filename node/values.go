package node

import (
	"cmp"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// str returns the text of a scalar that must be a text, and not an empty one.
func (r *reader) str(n ast.Node, path string) (string, bool) {
	var s string
	switch v := n.(type) {
	case *ast.StringNode:
		s = v.Value
	case *ast.LiteralNode:
		s = strings.TrimRight(v.Value.Value, "\n")
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		r.problems.add(r.at(n), fmt.Sprintf("put it in quotes: '%s'", n.GetToken().Value),
			"%s is %s, not a text", last(path), kind(n))
		return "", false
	default:
		r.wrongType(n, path, "a text")
		return "", false
	}
	if s == "" {
		r.problems.add(r.at(n), "give it a value or leave the key out", "%s is empty", last(path))
		return "", false
	}
	return s, true
}

// scalar returns a text or a number as it is written.
func (r *reader) scalar(n ast.Node, path, want string) (string, bool) {
	if _, ok := n.(*ast.IntegerNode); ok {
		return n.GetToken().Value, true
	}
	if _, ok := n.(*ast.StringNode); ok {
		return r.str(n, path)
	}
	r.wrongType(n, path, want)
	return "", false
}

// text takes a text that is not empty.
func (r *reader) text(to *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if s, ok := r.str(n, path); ok {
			*to = s
		}
	}
}

// path takes a file or directory; a relative one is relative to base.
func (r *reader) path(to *string, base string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if s, ok := r.str(n, path); ok {
			*to = absolute(base, s)
		}
	}
}

// boolean takes true or false.
func (r *reader) boolean(to *bool) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if b, ok := n.(*ast.BoolNode); ok {
			*to = b.Value
			return
		}
		r.wrongType(n, path, "true or false")
	}
}

// whole takes a whole decimal number.
func (r *reader) whole(to *int) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if _, ok := n.(*ast.IntegerNode); ok {
			if i, err := strconv.Atoi(n.GetToken().Value); err == nil {
				*to = i
				return
			}
		}
		r.wrongType(n, path, "a whole number")
	}
}

// duration takes a time span such as 30s.
func (r *reader) duration(to *time.Duration) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		s, ok := r.scalar(n, path, "a time span such as 30s")
		if !ok {
			return
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			r.problems.add(r.at(n), "write a number with a unit: 500ms, 30s, 5m or 72h",
				"%s: %s is not a time span", last(path), quote(s))
			return
		}
		*to = d
	}
}

// wrongType notes that a value is of another type than its key wants.
func (r *reader) wrongType(n ast.Node, path, want string) {
	remedy := "write " + want
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		remedy = "write the value out; anchors, aliases and tags are not supported"
	}
	r.problems.add(r.at(n), remedy, "%s is %s", cmp.Or(last(path), "the file"), kind(n))
}

// kind says in words what a node is.
func kind(n ast.Node) string {
	switch v := n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.StringNode:
		return "the text " + quote(v.Value)
	case *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return n.GetToken().Value
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode:
		return "a mapping"
	case *ast.AnchorNode:
		return "an anchor"
	case *ast.AliasNode:
		return "an alias"
	case *ast.TagNode:
		return "a tagged value"
	}
	return "something else"
}

// size takes a number of bytes.
func (r *reader) size(to *int64) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		text, ok := r.scalar(n, path, "a size such as 2GiB")
		if !ok {
			return
		}
		bytes, err := parseSize(text)
		if err != nil {
			r.problems.add(r.at(n), "write a whole number of bytes, or with a unit: 500KB, 64MiB or 2GiB", "%s: %v", last(path), err)
			return
		}
		*to = bytes
	}
}

// fileMode takes permission bits in octal, quoted or not.
func (r *reader) fileMode(to *fs.FileMode) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		text, ok := r.scalar(n, path, `an octal mode such as "0640"`)
		if !ok {
			return
		}
		mode, err := parseFileMode(text)
		if err != nil {
			r.problems.add(r.at(n), `write it as chmod takes it: "0640"`, "%s: %v", last(path), err)
			return
		}
		*to = mode
	}
}

// group takes a group's name or number.
func (r *reader) group(to *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if text, ok := r.scalar(n, path, "a group's name or number"); ok {
			*to = text
		}
	}
}

// regexp takes a regular expression.
func (r *reader) regexp(to **regexp.Regexp) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if text, ok := r.str(n, path); ok {
			r.compile(to, n, path, text)
		}
	}
}

// match takes a regular expression that may be empty, which matches all.
func (r *reader) match(to **regexp.Regexp) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if s, ok := n.(*ast.StringNode); ok && s.Value == "" {
			*to = regexp.MustCompile("")
			return
		}
		r.regexp(to)(n, path)
	}
}

func (r *reader) compile(to **regexp.Regexp, n ast.Node, path, text string) {
	re, err := regexp.Compile(text)
	if err != nil {
		message := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		r.problems.add(r.at(n), "the syntax is that of Go and RE2 (golang.org/s/re2syntax)",
			"%s: bad regular expression: %s", last(path), message)
		return
	}
	*to = re
}
