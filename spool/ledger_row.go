package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// row is what the ledger remembers of an item. Its layout is in the package comment.
type row struct {
	key         itemKey
	name        string
	publishedAs string
	size        int64
	digest      Digest
	expires     time.Time // whole seconds; zero: only a settled mark ends it
	text        string    // the key as it came, for receipts
}

const rowVersion = 1

// rowFixed is the length of a row without its names.
const rowFixed = 1 + 8 + 32 + 8 + 2 + 2 + 2 + crcBytes

const crcBytes = 4

var rowTable = crc32.MakeTable(crc32.Castagnoli)

var errRow = errors.New("broken row")

// encode returns the value of the row; the key is not part of it, but is
// covered by the checksum, so that a row under a wrong key is found out.
func (r row) encode() []byte {
	as, text := r.publishedAs, r.text
	if as == r.name {
		as = "" // the usual case, and a name is never empty
	}
	if r.key.kind == keyItem {
		text = "" // the key says it
	}
	b := make([]byte, 0, rowFixed+len(r.name)+len(as)+len(text))
	b = append(b, rowVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(r.size))
	b = append(b, r.digest[:]...)
	expires := int64(0)
	if !r.expires.IsZero() {
		expires = r.expires.Unix()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(expires))
	for _, s := range []string{r.name, as, text} {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint32(b, rowSum(r.key, b))
}

func rowSum(k itemKey, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(k.ledgerKey(), rowTable), rowTable, value)
}

// decodeRow reads a row back. Nothing of it refers to b.
func decodeRow(k itemKey, b []byte) (row, error) {
	if len(b) < rowFixed || b[0] != rowVersion {
		return row{}, fmt.Errorf("%w: %s: %d bytes of version %d", errRow, k, len(b), first(b))
	}
	body := b[:len(b)-crcBytes]
	if binary.BigEndian.Uint32(b[len(body):]) != rowSum(k, body) {
		return row{}, fmt.Errorf("%w: %s: checksum", errRow, k)
	}
	r := row{key: k, size: int64(binary.BigEndian.Uint64(b[1:]))}
	copy(r.digest[:], b[9:])
	if at := int64(binary.BigEndian.Uint64(b[41:])); at != 0 {
		r.expires = time.Unix(at, 0).UTC()
	}
	rest := body[49:]
	for _, s := range []*string{&r.name, &r.publishedAs, &r.text} {
		if len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
			return row{}, fmt.Errorf("%w: %s: lengths", errRow, k)
		}
		n := int(binary.BigEndian.Uint16(rest))
		*s, rest = string(rest[2:2+n]), rest[2+n:]
	}
	if r.publishedAs == "" {
		r.publishedAs = r.name
	}
	if k.kind == keyItem {
		r.text = k.id().String()
	}
	return r, nil
}

func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// receipt is the receipt of the row's item.
func (r row) receipt(duplicate bool) Receipt {
	return Receipt{ID: r.text, Name: r.name, PublishedAs: r.publishedAs, Size: r.size, SHA256: r.digest, Duplicate: duplicate}
}

// agrees reports whether an arrival can be the row's item. What the sender did
// not say does not matter.
func (r row) agrees(a Arrival) bool {
	return r.name == a.Name && (a.Size < 0 || a.Size == r.size) && (a.Digest == nil || *a.Digest == r.digest)
}

// ledgerKey is the key in the ledger: the kind, then the 32 bytes.
func (k itemKey) ledgerKey() []byte {
	return append([]byte{byte(k.kind)}, k.b[:]...)
}

func parseLedgerKey(b []byte) (itemKey, error) {
	k := itemKey{}
	if len(b) != 1+len(k.b) || (b[0] != byte(keyItem) && b[0] != byte(keyForeign) && b[0] != byte(keyPlain)) {
		return k, fmt.Errorf("%w: key %x", errRow, b)
	}
	k.kind = keyKind(b[0])
	copy(k.b[:], b[1:])
	return k, nil
}

// encodeMark returns the value of a settled mark: version, seq, checksum over
// key and value.
func encodeMark(e epochKey, seq uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{rowVersion}, seq)
	return binary.BigEndian.AppendUint32(b, crc32.Update(crc32.Checksum(e.bytes(), rowTable), rowTable, b))
}

func decodeMark(e epochKey, b []byte) (uint64, error) {
	if len(b) != 1+8+crcBytes || b[0] != rowVersion {
		return 0, fmt.Errorf("%w: mark of %s epoch %016x", errRow, e.spool, e.epoch)
	}
	seq := binary.BigEndian.Uint64(b[1:])
	if string(encodeMark(e, seq)) != string(b) {
		return 0, fmt.Errorf("%w: mark of %s epoch %016x: checksum", errRow, e.spool, e.epoch)
	}
	return seq, nil
}
