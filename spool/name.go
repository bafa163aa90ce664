package spool

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// MaxNameBytes is the longest legal file name. File systems take 255; the rest
// is room for the claim's id in front and a conflict suffix behind.
const MaxNameBytes = 200

// CheckName is the one rule for the names of relayed files, used where a file
// is picked up and where it is received: 1–200 bytes of valid UTF-8, one path
// component, no NUL, no control characters (C0, C1, DEL, line and paragraph
// separators), no bidirectional controls, no leading dot.
//
// The error wraps ErrName and gives the reason in words, without the name.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: empty", ErrName)
	case len(name) > MaxNameBytes:
		return fmt.Errorf("%w: %d bytes, more than %d", ErrName, len(name), MaxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not valid UTF-8", ErrName)
	case name[0] == '.':
		return fmt.Errorf("%w: begins with a dot", ErrName)
	}
	for _, r := range name {
		if why := badRune(r); why != "" {
			return fmt.Errorf("%w: contains %s (U+%04X)", ErrName, why, r)
		}
	}
	return nil
}

// badRune says what is wrong with r in a name, or "".
func badRune(r rune) string {
	switch {
	case r == '/':
		return "a slash"
	case r == '\\' && !backslashIsPlain:
		return "a backslash"
	case r == 0:
		return "a NUL"
	case unicode.IsControl(r), r == '\u2028', r == '\u2029':
		return "a control character"
	case unicode.Is(unicode.Bidi_Control, r):
		return "a bidirectional control"
	}
	return ""
}
