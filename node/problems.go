package node

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Problem is one mistake in a configuration and what to do about it.
type Problem struct {
	// File is the file that has it, the flag ("--http") or the environment
	// variable; empty when the configuration was made by a program.
	File string
	// Line and Col count from 1; 0 means that there is no place to point at.
	Line, Col int
	// Message says what is wrong, in lower case and without a full stop.
	Message string
	// Remedy says what to write or to run instead. It is never empty.
	Remedy string
}

// String gives the problem as one line: "FILE:LINE:COL: MESSAGE; REMEDY", less
// what is not known.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, max(p.Col, 1))
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString("; ")
		b.WriteString(p.Remedy)
	}
	return b.String()
}

// Problems is everything wrong with a configuration at once, the
// configuration's own file first and each file in the order of its lines. An
// error of this type is never empty.
type Problems []Problem

// Error gives one problem a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// err returns ps as an error, or nil when there is no problem.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// position is where a value was given. The zero value is no place.
type position struct {
	file      string
	line, col int
}

// add appends a problem at a place.
func (ps *Problems) add(at position, remedy, format string, args ...any) {
	*ps = append(*ps, Problem{
		File: at.file, Line: max(at.line, 0), Col: max(at.col, 0),
		Message: fmt.Sprintf(format, args...), Remedy: remedy,
	})
}

// sorted brings the problems into order, those of the named file first and
// those without a line, which flags and the environment have, last.
func (ps Problems) sorted(first string) Problems {
	rank := func(p Problem) int {
		switch {
		case p.File == first:
			return 0
		case p.Line > 0:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Col, b.Col),
		)
	})
	return ps
}

// quote shows a value from a file in a message: quoted, with what cannot be
// printed escaped, and cut when it is long.
func quote(s string) string {
	const limit = 80
	if len(s) > limit {
		cut := limit
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// nearest returns the candidate that someone who wrote s most likely meant, or
// "". Capitals, hyphens and underscores make no difference.
func nearest(s string, candidates []string) string {
	if len(s) > 64 {
		return ""
	}
	fold := strings.NewReplacer("-", "", "_", "").Replace
	s = fold(strings.ToLower(s))
	best, bestDistance := "", 3
	for _, c := range candidates {
		d := distance(s, fold(c))
		if d < bestDistance && 2*d <= len(c) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance counts the changes from a to b: a byte more, less or other, or two
// neighbours swapped (the restricted Damerau-Levenshtein distance).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			other := 1
			if a[i-1] == b[j-1] {
				other = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+other)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
