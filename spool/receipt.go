package spool

import "fmt"

// Receipt says that an item is in the inbox for good: its bytes, its name and
// what the ledger knows of it were on stable storage before it was made out.
type Receipt struct {
	// ID is the key of the arrival; of a plain arrival the key made for it.
	ID string
	// Name is the name that was asked for, PublishedAs the one it got.
	Name        string
	PublishedAs string
	// Size is in bytes.
	Size   int64
	SHA256 Digest
	// Duplicate reports that this arrival added nothing: the item had been
	// published before, and this is its first receipt again.
	Duplicate bool
}

// Progress is what an inbox has of an item so far.
type Progress struct {
	// Offset counts the bytes on stable storage, Size those of the whole item,
	// or -1 when nobody said.
	Offset, Size int64
	// Receipt is set when the item was published.
	Receipt *Receipt
	// Settled is set when the item is over and only its mark is remembered.
	Settled bool
}

// DeliveredError is returned instead of a Staging when the key was published
// before. It is good news: the caller answers with the receipt.
type DeliveredError struct{ Receipt Receipt }

// Error names the item.
func (e *DeliveredError) Error() string {
	return fmt.Sprintf("item %s was delivered before as %q", e.Receipt.ID, e.Receipt.PublishedAs)
}

// SettledError is returned instead of a Staging when the sender itself has said
// that the item is over. Size and digest are no longer known.
type SettledError struct{ ID string }

// Error names the item.
func (e *SettledError) Error() string { return fmt.Sprintf("item %s is settled", e.ID) }

// OffsetError is returned when a part does not continue where the kept bytes
// end. The sender goes on from Have, a count of bytes on stable storage.
type OffsetError struct{ Have int64 }

// Error gives the offset to go on from.
func (e *OffsetError) Error() string { return fmt.Sprintf("the upload continues at byte %d", e.Have) }
