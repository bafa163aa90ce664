package spool

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// keyKind says where a key comes from.
type keyKind byte

const (
	keyItem    keyKind = 'i' // an id of one of our outboxes
	keyForeign keyKind = 'f' // anybody else's idempotency key
	keyPlain   keyKind = 'p' // no key came: made here, forgotten once delivered
)

const (
	foreignPrefix = "foreign."
	plainPrefix   = "plain."
	maxKeyBytes   = 128
)

// itemKey is a key in the form that the ledger uses. It is comparable.
//
//	'i': spool (16) | epoch (8) | seq (8), big-endian, so that the ledger is
//	     sorted by spool, epoch and seq
//	'f': SHA-256 of the key
//	'p': 16 random bytes | 16 zeros
type itemKey struct {
	kind keyKind
	b    [32]byte
}

// parseKey reads the key of an arrival; "" draws one. Errors wrap ErrKey.
func parseKey(s string) (itemKey, error) {
	if s == "" {
		k := itemKey{kind: keyPlain}
		_, _ = rand.Read(k.b[:16]) // never fails, see crypto/rand
		return k, nil
	}
	if id, err := ParseID(s); err == nil {
		return idKey(id), nil
	}
	if len(s) > maxKeyBytes {
		return itemKey{}, fmt.Errorf("%w: %d bytes, more than %d", ErrKey, len(s), maxKeyBytes)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return itemKey{}, fmt.Errorf("%w: byte %#02x", ErrKey, s[i])
		}
	}
	return itemKey{kind: keyForeign, b: sha256.Sum256([]byte(s))}, nil
}

func idKey(id ID) itemKey {
	k := itemKey{kind: keyItem}
	copy(k.b[:16], id.Spool[:])
	binary.BigEndian.PutUint64(k.b[16:], id.Epoch)
	binary.BigEndian.PutUint64(k.b[24:], id.Seq)
	return k
}

// id is the inverse of idKey; only for keyItem.
func (k itemKey) id() ID {
	return ID{Spool: SpoolID(k.b[:16]), Epoch: k.epoch().epoch, Seq: binary.BigEndian.Uint64(k.b[24:])}
}

// epoch is the spool and epoch of a keyItem.
func (k itemKey) epoch() epochKey {
	return epochKey{spool: SpoolID(k.b[:16]), epoch: binary.BigEndian.Uint64(k.b[16:])}
}

// stageName is the name of the key's file in stage/: the id itself,
// foreign.<hex of 32 bytes> or plain.<hex of 16 bytes>.
func (k itemKey) stageName() string {
	switch k.kind {
	case keyItem:
		return k.id().String()
	case keyForeign:
		return foreignPrefix + hex.EncodeToString(k.b[:])
	default:
		return plainPrefix + hex.EncodeToString(k.b[:16])
	}
}

// String names the key in messages.
func (k itemKey) String() string { return k.stageName() }

// suffix is what makes a taken name free: the seq of an item, else a few
// characters of the key.
func (k itemKey) suffix() string {
	if k.kind == keyItem {
		return fmt.Sprintf("%x", k.id().Seq)
	}
	return hex.EncodeToString(k.b[:4])
}

// parseStageName is the inverse of stageName. It takes only what stageName
// writes, so that recovery never mistakes another's file for ours.
func parseStageName(name string) (itemKey, bool) {
	if id, err := ParseID(name); err == nil {
		return idKey(id), true
	}
	k := itemKey{kind: keyForeign}
	text, ok := strings.CutPrefix(name, foreignPrefix)
	if !ok {
		k.kind = keyPlain
		if text, ok = strings.CutPrefix(name, plainPrefix); !ok {
			return itemKey{}, false
		}
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) > len(k.b) {
		return itemKey{}, false
	}
	copy(k.b[:], raw)
	return k, k.stageName() == name
}

// epochKey is one epoch of one outbox.
type epochKey struct {
	spool SpoolID
	epoch uint64
}

// bytes is the prefix that the ledger keys of the epoch share.
func (e epochKey) bytes() []byte {
	return binary.BigEndian.AppendUint64(e.spool[:len(e.spool):len(e.spool)], e.epoch)
}

func parseEpochKey(b []byte) (epochKey, bool) {
	if len(b) < 24 {
		return epochKey{}, false
	}
	return epochKey{spool: SpoolID(b[:16]), epoch: binary.BigEndian.Uint64(b[16:])}, true
}
