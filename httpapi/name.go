package httpapi

import (
	"fmt"
	"net/url"
	"strings"
)

// escapeName gives the path of a delivery: a slash and the name as one escaped
// segment. unescapeName undoes it.
func escapeName(name string) string { return "/" + url.PathEscape(name) }

// unescapeName reads the name from an escaped path that has exactly one
// segment. It decodes exactly once: what looks escaped after that is the name
// itself, so "/%252e" is the file "%2e". Whether the name is legal is for the
// inbox to say, except for a slash, which can be in none.
//
// Errors wrap ErrBadName and do not repeat the path.
func unescapeName(path string) (string, error) {
	segment, ok := strings.CutPrefix(path, "/")
	if !ok {
		return "", fmt.Errorf("%w: path has no leading slash", ErrBadName)
	}
	name, err := url.PathUnescape(segment)
	switch {
	case err != nil:
		return "", fmt.Errorf("%w: broken escape", ErrBadName)
	case name == "":
		return "", fmt.Errorf("%w: empty", ErrBadName)
	case strings.Contains(name, "/"):
		return "", fmt.Errorf("%w: contains a slash", ErrBadName)
	}
	return name, nil
}
