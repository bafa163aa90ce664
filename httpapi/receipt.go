package httpapi

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// DurabilityGroup says that the bytes, the name and the record of the delivery
// were on stable storage before the receipt was written, in one group with the
// deliveries that waited at the same time.
const DurabilityGroup = "group"

// maxAnswerBytes bounds the receipts and problems that a client reads.
const maxAnswerBytes = 64 << 10

// Receipt says that a collector has published a file durably.
//
// Of an id at or below the settled mark nothing is left but the fact: Settled
// is then true, Size is 0, and SHA256 and PublishedAs are empty.
type Receipt struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	PublishedAs string `json:"published_as,omitempty"` // differs from Name where the name was taken
	Size        int64  `json:"size"`                   // bytes
	SHA256      string `json:"sha256,omitempty"`       // lower-case hex
	Collector   string `json:"collector"`
	Durability  string `json:"durability"`
	Settled     bool   `json:"settled,omitempty"`

	Duplicate bool `json:"-"` // delivered before: status 200 instead of 201
	Original  bool `json:"-"` // the peer is the original's collector and gives no receipts
}

// status is the HTTP status that goes with the receipt.
func (r Receipt) status() int {
	if r.Duplicate {
		return 200
	}
	return 201
}

// matches reports why r is not the receipt of the item that was sent, or nil. A
// settled receipt matches by its id alone.
func (r Receipt) matches(id string, size int64, digest [32]byte) error {
	switch {
	case r.ID != id:
		return fmt.Errorf("receipt is of item %.200q", r.ID)
	case r.Settled:
		return nil
	case r.Size != size:
		return fmt.Errorf("receipt says %d bytes, sent %d", r.Size, size)
	case r.SHA256 != hex.EncodeToString(digest[:]):
		return fmt.Errorf("receipt says digest %.80q, sent %x", r.SHA256, digest)
	}
	return nil
}

// parseReceipt reads a receipt from the body of an answer with the given
// status, 200 or 201. A body that is not one JSON object with an id is an error.
func parseReceipt(status int, body []byte) (Receipt, error) {
	var r Receipt
	if err := json.Unmarshal(body, &r); err != nil {
		return Receipt{}, fmt.Errorf("receipt: %w", err)
	}
	if r.ID == "" {
		return Receipt{}, fmt.Errorf("receipt: no id")
	}
	r.Duplicate = status == 200
	return r, nil
}
