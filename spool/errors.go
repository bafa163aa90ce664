package spool

import "errors"

// Errors of names and ids.
var (
	// ErrName is returned when a file name breaks CheckName's rule. It is final.
	ErrName = errors.New("bad name")
	// ErrID is returned when a text is not an id in canonical form.
	ErrID = errors.New("bad id")
)

// Errors of opening a directory.
var (
	// ErrLocked is returned when another process has the directory open.
	ErrLocked = errors.New("directory is in use by another process")
	// ErrUnsafe is returned when a directory of ours is not what it must be: a
	// symbolic link, not a directory, or on another file system.
	ErrUnsafe = errors.New("unsafe directory")
	// ErrNotRegular is returned when a name is a symbolic link, a FIFO, a
	// directory or a device where a regular file is wanted.
	ErrNotRegular = errors.New("not a regular file")
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("spool is closed")
)

// errNoLease is returned where it can't be known whether a file has a writer.
var errNoLease = errors.New("leases do not work here")

// Errors of an inbox: of opening it.
var (
	// ErrLedgerLost is returned when the inbox had a ledger that is gone or is
	// another inbox's. What was delivered before is then unknown, so a person
	// must decide: the message says how.
	ErrLedgerLost = errors.New("ledger is lost")
	// ErrLedgerCorrupt is returned when ledger.db can't be read.
	ErrLedgerCorrupt = errors.New("ledger is corrupt")
	// ErrLedgerVersion is returned when a newer version wrote the ledger.
	ErrLedgerVersion = errors.New("ledger has an unknown version")
)

// Errors of an inbox: of an arrival. Unless it says otherwise, nothing was and
// nothing will be published under the key until it is sent again.
var (
	// ErrKey is returned when a key is not 1–128 printable ASCII characters. It is final.
	ErrKey = errors.New("bad key")
	// ErrTooLarge is returned when an item is larger than MaxFileBytes. It is final.
	ErrTooLarge = errors.New("file is too large")
	// ErrFull is returned when the file system has no room. Try again later.
	ErrFull = errors.New("no space left for the file")
	// ErrUnderWay is returned when the same key is being received right now. Try again soon.
	ErrUnderWay = errors.New("the same item is under way")
	// ErrDigestConflict is returned when the key is known with another name,
	// size or digest. It is final.
	ErrDigestConflict = errors.New("the same id came with another name, size or digest")
	// ErrNameTaken is returned when the name is in use and may not be: under
	// ConflictReject, or by a directory under ConflictReplace. It is final.
	ErrNameTaken = errors.New("name is taken")
	// ErrShort is returned when fewer bytes came than were announced. What came
	// is kept as by Keep.
	ErrShort = errors.New("body is shorter than announced")
	// ErrDigest is returned when the bytes do not have the announced digest. It is final.
	ErrDigest = errors.New("digest does not match")
	// ErrIO is returned when the disk failed under the item; its bytes are dropped. Send it again.
	ErrIO = errors.New("disk failed")
	// ErrUnavailable is returned while the inbox can't publish at all; its
	// Stats say why. It tries by itself to come back.
	ErrUnavailable = errors.New("inbox is unavailable")
	// ErrInDoubt is returned when a disk failed in the one place where it can't
	// be said whether the item is published: it may yet be, also after a
	// restart. The sender must not be told that it was refused; it asks the
	// same inbox again.
	ErrInDoubt = errors.New("it is not known whether the file is published")
	// ErrUnknown is returned when nothing is known of a key.
	ErrUnknown = errors.New("unknown item")
)

// Errors of an outbox.
var (
	// ErrChanged is returned when a claimed file is no longer what the Item
	// says: it was written to. What was sent of it must not count; Reclaim
	// gives the new bytes a new id, or Refresh the old one if nothing was accepted.
	ErrChanged = errors.New("file changed after it was claimed")
	// ErrBusy is returned by Finish when the file is what was sent but some
	// process still has it open for writing. Call Finish again later.
	ErrBusy = errors.New("file is still open for writing")
	// ErrCollectorID is returned when a text can't be the id of a collector.
	ErrCollectorID = errors.New("bad collector id")
	// ErrSpoolID is returned when an outbox has claims but its spool-id is lost
	// or damaged. With a new one, files delivered before would be delivered again.
	ErrSpoolID = errors.New("spool-id lost")
	// ErrNoDead is returned when no dead letter has that id.
	ErrNoDead = errors.New("no such dead letter")
	// ErrObituary is returned by Retry when the reason file beside a dead letter
	// is missing or damaged, so nobody knows who has the file already.
	ErrObituary = errors.New("reason file missing or damaged")
)
