package membership

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// maxMetaBytes bounds encoded metadata. memberlist panics above 512.
const maxMetaBytes = 480

const (
	metaFormat   = 1
	metaRevision = 0
	metaFixed    = 53 // bytes before the name
	flagHasState = 1
)

// The positions are the numbers on the wire: append only.
var (
	roleCodes   = []Role{RoleNone, RoleLeader, RoleVoter, RoleNonvoter, RoleFollower}
	intentCodes = []Intent{IntentNone, IntentStop, IntentLeave}
)

// encode returns m in the form that doc.go draws.
//
// Errors: ErrMeta for what Validate refuses.
func (m Meta) encode() ([]byte, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	node, _ := parseUUID(m.NodeID)
	var network [16]byte
	if m.NetworkID != "" {
		network, _ = parseUUID(m.NetworkID)
	}
	b := make([]byte, 0, metaFixed+2+len(m.Name)+len(m.Advertise))
	b = append(b, metaFormat, metaRevision)
	b = append(append(b, node[:]...), network[:]...)
	b = binary.BigEndian.AppendUint64(b, m.Generation)
	for _, n := range []int{m.HTTPPort, m.RaftPort, m.Expect, m.Level} {
		b = binary.BigEndian.AppendUint16(b, uint16(n)) // Validate saw that it fits
	}
	var flags byte
	if m.HasState {
		flags |= flagHasState
	}
	b = append(b, flags, codeOf(roleCodes, m.Role), codeOf(intentCodes, m.Intent))
	b = append(append(b, byte(len(m.Name))), m.Name...)
	return append(append(b, byte(len(m.Advertise))), m.Advertise...), nil
}

// decodeMeta reads what another node tells of itself. It takes nothing on trust:
// every length is checked, and the result satisfies Validate. Of a later
// revision it reads the fields it knows.
//
// Errors: ErrFormat for another format, ErrMeta for anything else.
func decodeMeta(b []byte) (Meta, error) {
	if len(b) > 0 && b[0] != metaFormat {
		return Meta{}, fmt.Errorf("%w: format %d, this one reads %d", ErrFormat, b[0], metaFormat)
	}
	if len(b) < metaFixed+2 || len(b) > maxMetaBytes {
		return Meta{}, fmt.Errorf("%w: %d bytes", ErrMeta, len(b))
	}
	later := b[1] > metaRevision
	m := Meta{
		NodeID: formatUUID(b[2:18]), Generation: binary.BigEndian.Uint64(b[34:]),
		HTTPPort: uint16At(b, 42), RaftPort: uint16At(b, 44), Expect: uint16At(b, 46), Level: uint16At(b, 48),
		HasState: b[50]&flagHasState != 0,
	}
	if network := formatUUID(b[18:34]); network != zeroUUID {
		m.NetworkID = network
	}
	known := b[50]&^flagHasState == 0 && int(b[51]) < len(roleCodes) && int(b[52]) < len(intentCodes)
	if !known && !later {
		return Meta{}, fmt.Errorf("%w: unknown flags, role or intent", ErrMeta)
	}
	m.Role, m.Intent = valueOf(roleCodes, b[51]), valueOf(intentCodes, b[52])
	rest := b[metaFixed:]
	var err error
	if m.Name, rest, err = cutText(rest); err != nil {
		return Meta{}, err
	}
	if m.Advertise, rest, err = cutText(rest); err != nil {
		return Meta{}, err
	}
	if len(rest) > 0 && !later {
		return Meta{}, fmt.Errorf("%w: %d bytes too many", ErrMeta, len(rest))
	}
	return m, m.Validate()
}

// cutText takes a text with its length in one byte from the front of b.
func cutText(b []byte) (text string, rest []byte, err error) {
	if len(b) == 0 || len(b)-1 < int(b[0]) {
		return "", nil, fmt.Errorf("%w: cut short", ErrMeta)
	}
	end := 1 + int(b[0])
	return string(b[1:end]), b[end:], nil
}

func uint16At(b []byte, at int) int { return int(binary.BigEndian.Uint16(b[at:])) }

// codeOf is the number of a value on the wire, 0 for one that has none.
func codeOf[T comparable](codes []T, value T) byte { return byte(max(slices.Index(codes, value), 0)) }

// valueOf is the way back; a number from a later revision is taken as none.
func valueOf[T any](codes []T, code byte) T {
	if int(code) < len(codes) {
		return codes[code]
	}
	return codes[0]
}

const zeroUUID = "00000000-0000-0000-0000-000000000000"

// parseUUID reads a UUID as RFC 9562 §4 writes it, in lower case and no other way,
// so that equal ids are equal texts.
func parseUUID(s string) (id [16]byte, err error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != len(id) || formatUUID(raw) != s {
		return id, fmt.Errorf("%w: %q is not a UUID in lower case", ErrMeta, s)
	}
	return [16]byte(raw), nil
}

// formatUUID writes 16 bytes. It is called for every word of every node.
func formatUUID(b []byte) string {
	var out [len(zeroUUID)]byte
	for _, part := range []struct{ from, to, at int }{{0, 4, 0}, {4, 6, 9}, {6, 8, 14}, {8, 10, 19}, {10, 16, 24}} {
		hex.Encode(out[part.at:], b[part.from:part.to])
	}
	for _, at := range []int{8, 13, 18, 23} {
		out[at] = '-'
	}
	return string(out[:])
}

// nodeIDOf is the node id in a name of gossip, empty if there is none. The name
// is another node's word.
func nodeIDOf(gossipName string) string {
	id, _, _ := strings.Cut(gossipName, ".")
	if _, err := parseUUID(id); err != nil {
		return ""
	}
	return id
}
