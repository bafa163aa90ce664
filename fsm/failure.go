package fsm

import (
	"errors"
	"fmt"
	"strings"
)

// failure is a sentinel with words, in a form that a snapshot can hold: the
// answer to a request is the same after a restore.
type failure struct {
	Code string `json:"code"` // of failureCodes
	Text string `json:"text"`
}

// Error gives the words.
func (f *failure) Error() string { return f.Text }

// Unwrap gives the sentinel.
func (f *failure) Unwrap() error { return failureCodes[f.Code] }

// failureCodes are the sentinels that a command can end with. Codes are never
// changed: they are in snapshots.
var failureCodes = map[string]error{
	"invalid": ErrInvalid, "not-found": ErrNotFound, "taken": ErrTaken, "in-use": ErrInUse, "no-port": ErrNoPort,
}

// maxFailure bounds the words of a failure, since they are remembered. What
// they quote may come from anybody.
const maxFailure = 500 // bytes

// fail makes the failure of a command.
func fail(sentinel error, format string, args ...any) error {
	text := fmt.Sprintf("%s: %s", sentinel, fmt.Sprintf(format, args...))
	if len(text) > maxFailure {
		text = strings.ToValidUTF8(text[:maxFailure], "")
	}
	for code, err := range failureCodes {
		if errors.Is(sentinel, err) {
			return &failure{Code: code, Text: text}
		}
	}
	panic(fmt.Sprintf("fsm: %q has no code", sentinel))
}
