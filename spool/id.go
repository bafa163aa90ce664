package spool

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// SpoolID names one outbox for good: 128 random bits made when the outbox is
// first opened and kept in its file spool-id. Its text form is that of a UUID.
type SpoolID [16]byte

// NewSpoolID draws a random id in the form of a version 4 UUID (RFC 9562).
func NewSpoolID() SpoolID {
	var id SpoolID
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String returns the id in the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx.
func (id SpoolID) String() string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ParseSpoolID reads the form that String writes, in lower case only, so that
// one id has one text. Errors wrap ErrID.
func ParseSpoolID(s string) (SpoolID, error) {
	var id SpoolID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, fmt.Errorf("%w: %q is not a spool id", ErrID, s)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(id) {
		return id, fmt.Errorf("%w: %q is not a spool id", ErrID, s)
	}
	copy(id[:], raw)
	if id.String() != s {
		return id, fmt.Errorf("%w: %q is not in canonical form", ErrID, s)
	}
	return id, nil
}

// ID names one claim, and so one item, for ever: the outbox, the epoch drawn
// when that outbox was opened, and a count within the epoch, from 1 on.
//
// The text form is <spool uuid>.<epoch, 16 hex digits>.<seq, hex>.
type ID struct {
	Spool SpoolID
	Epoch uint64
	Seq   uint64
}

// String returns the canonical text form.
func (id ID) String() string {
	return id.Spool.String() + "." + formatClaimID(id.Epoch, id.Seq)
}

// ParseID reads the canonical text form. Errors wrap ErrID.
func ParseID(s string) (ID, error) {
	uuid, rest, ok := strings.Cut(s, ".")
	if !ok {
		return ID{}, fmt.Errorf("%w: %q", ErrID, s)
	}
	sp, err := ParseSpoolID(uuid)
	if err != nil {
		return ID{}, err
	}
	epoch, seq, tail, ok := cutClaimID(rest + ".")
	if !ok || tail != "" {
		return ID{}, fmt.Errorf("%w: %q", ErrID, s)
	}
	return ID{Spool: sp, Epoch: epoch, Seq: seq}, nil
}

func formatClaimID(epoch, seq uint64) string {
	return fmt.Sprintf("%016x.%x", epoch, seq)
}

// claimName is the name of a claimed file: <epoch>.<seq>.<name>.
func claimName(epoch, seq uint64, name string) string {
	return formatClaimID(epoch, seq) + "." + name
}

// cutClaimID splits <epoch>.<seq>.<rest>. Only the canonical spelling is
// taken: two texts of one id would be two ids to a reader that compares text.
func cutClaimID(s string) (epoch, seq uint64, rest string, ok bool) {
	e, s, ok1 := strings.Cut(s, ".")
	q, rest, ok2 := strings.Cut(s, ".")
	if !ok1 || !ok2 || len(e) != 16 || len(q) == 0 || len(q) > 16 {
		return 0, 0, "", false
	}
	epoch, err1 := strconv.ParseUint(e, 16, 64)
	seq, err2 := strconv.ParseUint(q, 16, 64)
	if err1 != nil || err2 != nil || seq == 0 || formatClaimID(epoch, seq) != e+"."+q {
		return 0, 0, "", false
	}
	return epoch, seq, rest, true
}
