package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// The headers of a delivery. Those that begin with Upload- are of the IETF
// draft "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload).
const (
	headerKey               = "Idempotency-Key"
	headerDigest            = "Repr-Digest" // RFC 9530
	headerMTime             = "Relay-Mtime"
	headerCluster           = "Relay-Cluster"
	headerHops              = "Relay-Hops"
	headerSettled           = "Relay-Settled"
	headerPossibleDuplicate = "Relay-Possible-Duplicate"

	headerOffset   = "Upload-Offset"
	headerComplete = "Upload-Complete"
	headerLength   = "Upload-Length"
)

// MaxHops is how many nodes a file may have passed before it is refused.
const MaxHops = 16

// Digest is the SHA-256 of a file's bytes.
type Digest = [32]byte

// Mark says that of one epoch everything up to and including Seq is over for
// its sender. math.MaxUint64 closes the epoch for good.
type Mark struct {
	Epoch uint64
	Seq   uint64
}

// Meta is what the headers of a PUT, of a PATCH or of a part of a batch say of
// a file. Every field is optional; the zero Meta is that of a plain PUT.
type Meta struct {
	Key               string    // 1–128 printable ASCII characters; "" for a plain PUT
	Digest            *Digest   // of the whole file
	MTime             time.Time // UTC; zero when unknown
	Cluster           string    // that the sender meant
	Hops              []string  // ids of the nodes passed, first to last
	Settled           []Mark    // of the outbox that Key belongs to
	PossibleDuplicate bool      // another collector of the cluster may have it
}

// set writes the headers of m into h, and leaves the others alone.
func (m Meta) set(h http.Header) {
	if m.Key != "" {
		h.Set(headerKey, formatKey(m.Key))
	}
	if m.Digest != nil {
		h.Set(headerDigest, formatDigest(*m.Digest))
	}
	if y := m.MTime.UTC().Year(); !m.MTime.IsZero() && y >= 0 && y <= 9999 {
		h.Set(headerMTime, formatMTime(m.MTime))
	}
	if m.Cluster != "" {
		h.Set(headerCluster, m.Cluster)
	}
	if len(m.Hops) > 0 {
		h.Set(headerHops, formatHops(m.Hops))
	}
	if len(m.Settled) > 0 {
		h.Set(headerSettled, formatMarks(m.Settled))
	}
	if m.PossibleDuplicate {
		h.Set(headerPossibleDuplicate, formatBool(true))
	}
}

// parseMeta reads what set writes. A header that is there and cannot be read is
// an error, never taken for absent: a misread digest would be a check that is
// skipped. Errors wrap ErrBadHeader and name the header.
func parseMeta(h http.Header) (Meta, error) {
	var m Meta
	var p headerParser
	p.read(h, headerKey, func(s string) (err error) { m.Key, err = parseKey(s); return })
	p.read(h, headerDigest, func(s string) (err error) { m.Digest, err = parseDigest(s); return })
	p.read(h, headerMTime, func(s string) (err error) { m.MTime, err = parseMTime(s); return })
	p.read(h, headerCluster, func(s string) error { m.Cluster = s; return fsm.CheckIdent(s) })
	p.read(h, headerHops, func(s string) (err error) { m.Hops, err = parseHops(s); return })
	p.read(h, headerSettled, func(s string) (err error) { m.Settled, err = parseMarks(s); return })
	p.read(h, headerPossibleDuplicate, func(s string) (err error) { m.PossibleDuplicate, err = parseBool(s); return })
	if p.err == nil && m.Settled != nil && m.Key == "" {
		p.err = fmt.Errorf("%w: %s needs %s", ErrBadHeader, headerSettled, headerKey)
	}
	if p.err != nil {
		return Meta{}, p.err
	}
	return m, nil
}

// Upload is what the Upload- headers say. The zero value of a field stands for
// an absent header, except for the numbers, which are then -1.
type upload struct {
	offset   int64 // where the body goes on
	length   int64 // of the whole file
	complete *bool // the body ends the file
}

func parseUpload(h http.Header) (upload, error) {
	u := upload{offset: -1, length: -1}
	var p headerParser
	p.read(h, headerOffset, func(s string) (err error) { u.offset, err = parseCount(s); return })
	p.read(h, headerLength, func(s string) (err error) { u.length, err = parseCount(s); return })
	p.read(h, headerComplete, func(s string) error {
		b, err := parseBool(s)
		u.complete = &b
		return err
	})
	return u, p.err
}

// headerParser reads headers one by one and keeps the first error.
type headerParser struct{ err error }

// lists may come as several lines, which are joined (RFC 9110, 5.3). Two lines
// of any other header contradict each other.
func isList(name string) bool {
	return name == headerHops || name == headerSettled || name == headerDigest
}

func (p *headerParser) read(h http.Header, name string, parse func(string) error) {
	lines := h[name]
	if p.err != nil || len(lines) == 0 {
		return
	}
	if len(lines) > 1 && !isList(name) {
		p.err = fmt.Errorf("%w: %s is there %d times", ErrBadHeader, name, len(lines))
		return
	}
	if err := parse(strings.Trim(strings.Join(lines, ","), " \t")); err != nil {
		p.err = fmt.Errorf("%w: %s: %w", ErrBadHeader, name, err)
	}
}
