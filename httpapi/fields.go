package httpapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

const (
	maxKeyBytes   = 128
	maxMarks      = 256 // an outbox tells of at most 64 earlier epochs and its live ones
	maxDigests    = 8   // algorithms in one Repr-Digest
	maxCountChars = 18  // so that no sum of two overflows
	maxCount      = 1e18 - 1
	mtimeForm     = "2006-01-02T15:04:05.000000000Z"
	digestPrefix  = "sha-256=:"
)

// Errors of parsing a field never repeat the field: it is a stranger's text.
var (
	errForm    = errors.New("not in the form expected")
	errTooLong = errors.New("too long")
)

// formatKey writes an Idempotency-Key as an sf-string (RFC 8941, 3.3.3).
func formatKey(key string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
}

// parseKey reads an sf-string, or the bare text that some clients send: 1–128
// printable ASCII characters.
func parseKey(s string) (string, error) {
	if len(s) > 2*maxKeyBytes+2 {
		return "", errTooLong
	}
	key := s
	if strings.HasPrefix(s, `"`) {
		var ok bool
		if key, ok = unquote(s); !ok {
			return "", errForm
		}
	} else if strings.ContainsAny(s, "\",;\\ ") {
		return "", errForm
	}
	if key == "" || len(key) > maxKeyBytes || strings.ContainsFunc(key, notPrintable) {
		return "", errForm
	}
	return key, nil
}

func notPrintable(r rune) bool { return r < 0x20 || r > 0x7e }

// unquote reads an sf-string: only the quote and the backslash are escaped.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			return "", false
		}
		if c == '\\' {
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", false
			}
			c = s[i]
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// formatDigest writes a Repr-Digest (RFC 9530) with one SHA-256.
func formatDigest(d Digest) string {
	return digestPrefix + base64.StdEncoding.EncodeToString(d[:]) + ":"
}

// parseDigest finds the SHA-256 in a Repr-Digest. Other algorithms are passed
// over, as RFC 9530 asks; nil means that there is none we know.
func parseDigest(s string) (*Digest, error) {
	fields := strings.Split(s, ",")
	if len(fields) > maxDigests {
		return nil, errTooLong
	}
	var found *Digest
	for _, field := range fields {
		field = strings.Trim(field, " \t")
		algorithm, value, ok := strings.Cut(field, "=")
		if !ok || algorithm == "" || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
			return nil, errForm
		}
		if algorithm != "sha-256" {
			continue
		}
		d, err := decodeDigest(value[1 : len(value)-1])
		if err != nil || found != nil {
			return nil, errForm
		}
		found = d
	}
	return found, nil
}

func decodeDigest(b64 string) (*Digest, error) {
	var d Digest
	if len(b64) != base64.StdEncoding.EncodedLen(len(d)) {
		return nil, errForm
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if err != nil || len(raw) != len(d) {
		return nil, errForm
	}
	copy(d[:], raw)
	return &d, nil
}

// formatMTime writes a time as RFC 3339 in UTC with nanoseconds.
func formatMTime(t time.Time) string { return t.UTC().Format(mtimeForm) }

func parseMTime(s string) (time.Time, error) {
	if len(s) > len("2006-01-02T15:04:05.000000000+00:00") {
		return time.Time{}, errTooLong
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errForm
	}
	return t.UTC(), nil
}

// formatHops writes the ids of the nodes that a file has passed.
func formatHops(hops []string) string { return strings.Join(hops, ", ") }

// parseHops reads the ids. How many there may be is for its caller to say.
func parseHops(s string) ([]string, error) {
	hops := strings.Split(s, ",")
	for i, hop := range hops {
		hops[i] = strings.Trim(hop, " \t")
		if fsm.CheckIdent(hops[i]) != nil {
			return nil, errForm
		}
	}
	return hops, nil
}

// formatMarks writes <epoch, 16 hex digits>=<seq, hex>, separated by commas.
func formatMarks(marks []Mark) string {
	texts := make([]string, len(marks))
	for i, m := range marks {
		texts[i] = fmt.Sprintf("%016x=%x", m.Epoch, m.Seq)
	}
	return strings.Join(texts, ", ")
}

// parseMarks reads what formatMarks writes, in this spelling only.
func parseMarks(s string) ([]Mark, error) {
	fields := strings.Split(s, ",")
	if len(fields) > maxMarks {
		return nil, errTooLong
	}
	marks := make([]Mark, 0, len(fields))
	for _, field := range fields {
		field = strings.Trim(field, " \t")
		epoch, seq, _ := strings.Cut(field, "=")
		e, err1 := strconv.ParseUint(epoch, 16, 64)
		n, err2 := strconv.ParseUint(seq, 16, 64)
		m := Mark{e, n}
		if err1 != nil || err2 != nil || formatMarks([]Mark{m}) != field {
			return nil, errForm
		}
		marks = append(marks, m)
	}
	return marks, nil
}

// formatBool writes an sf-boolean (RFC 8941, 3.3.6).
func formatBool(b bool) string {
	if b {
		return "?1"
	}
	return "?0"
}

func parseBool(s string) (bool, error) {
	switch s {
	case "?1":
		return true, nil
	case "?0":
		return false, nil
	}
	return false, errForm
}

// formatCount writes a number of bytes.
func formatCount(n int64) string { return strconv.FormatInt(n, 10) }

// parseCount reads a number of bytes: decimal digits, no sign.
func parseCount(s string) (int64, error) {
	if len(s) > maxCountChars {
		return 0, errTooLong
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' || s[0] == '-' {
		return 0, errForm
	}
	return n, nil
}
