package consensus

import (
	"crypto/rand"
	"encoding/hex"
)

// maxID is the most bytes that a node id or a network id may have.
const maxID = 64

// randomID draws 16 random bytes, in hex.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
