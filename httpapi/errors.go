package httpapi

import (
	"errors"
	"fmt"
)

// Errors of a delivery. An Inbox returns them, or errors that wrap them; the
// table in problem.go gives each its status and code.
var (
	// ErrBadName is returned when a name is not one a file may have. Final.
	ErrBadName = errors.New("bad name")
	// ErrDigest is returned when the bytes do not have the digest that was
	// announced: the file changed, or the bytes did on their way. Nothing is
	// kept. The sender hashes again and sends again.
	ErrDigest = errors.New("digest mismatch")
	// ErrDigestConflict is returned when a known id comes with another digest or
	// another name. Final.
	ErrDigestConflict = errors.New("known id with other content")
	// ErrNameTaken is returned when the inbox holds a file of that name and its
	// policy is to refuse. Final, unless someone removes the file.
	ErrNameTaken = errors.New("name is taken")
	// ErrTooLarge is returned for more bytes than the collector takes. Final.
	ErrTooLarge = errors.New("too large")
	// ErrFull is returned when space or inodes run short. Worth retrying.
	ErrFull = errors.New("no space left")
	// ErrUnderWay is returned when another request is delivering the same id
	// now. Worth retrying soon: the answer will then be its receipt.
	ErrUnderWay = errors.New("delivery of the same id is under way")
	// ErrUnavailable is returned while the inbox is closed or being reopened.
	ErrUnavailable = errors.New("inbox is not available")
	// ErrIO is returned when the disk failed. Nothing was published.
	ErrIO = errors.New("input/output error")
	// ErrInDoubt is returned when the disk failed where it cannot be said whether
	// the file is published: it may yet be. The sender asks the same collector
	// again and offers the file to no other.
	ErrInDoubt = errors.New("it is not known whether the file is published")
	// ErrShort is returned when fewer bytes came than were announced.
	ErrShort = errors.New("short body")
	// ErrUnknownUpload is returned when nothing is known of an upload: it is to
	// be sent from its beginning.
	ErrUnknownUpload = errors.New("unknown upload")
)

// Errors of a request, found before it reaches an inbox or a node.
var (
	// ErrBadHeader is returned when a header, or the framing of a batch, cannot
	// be read. Final.
	ErrBadHeader = errors.New("bad header")
	// ErrEncodedBody is returned for a Content-Encoding: nothing is unpacked here.
	ErrEncodedBody = errors.New("encoded body")
	// ErrWrongCluster is returned when the collector does not serve the cluster
	// that the sender meant. The sender looks at its table again.
	ErrWrongCluster = errors.New("not a collector of this cluster")
	// ErrTooManyHops is returned when a file has passed too many nodes: it is
	// going round in circles. Final.
	ErrTooManyHops = errors.New("too many hops")
	// ErrTooSlow is returned when a body arrives below the minimum rate.
	ErrTooSlow = errors.New("body arrives too slowly")
	// ErrBusy is returned when a limit on concurrent work is reached.
	ErrBusy = errors.New("too many connections")
	// ErrNotFound is returned when there is nothing of that name.
	ErrNotFound = errors.New("not found")
	// ErrMethod is returned when the path does not know the method.
	ErrMethod = errors.New("method not allowed")
	// ErrStaticNetwork is returned for what only a network can do, by a node
	// that takes its table from a file.
	ErrStaticNetwork = errors.New("static network")
	// ErrForbiddenHost is returned when the Host of a request is none of ours:
	// a web page may have pointed its own name at this address.
	ErrForbiddenHost = errors.New("forbidden host")
	// ErrCrossOrigin is returned when a browser sends a change from a page of
	// another origin.
	ErrCrossOrigin = errors.New("cross-origin request")
)

// Errors of a network of several nodes.
var (
	// ErrNoLeader is returned when no node leads, or none is known: the network
	// is choosing one, or has lost its majority. Worth retrying. Whether a change
	// that was under way is made is not known.
	ErrNoLeader = errors.New("no leader")
	// ErrNoQuorum is returned when the leader reached no majority in time;
	// likewise.
	ErrNoQuorum = errors.New("no quorum")
	// ErrNotInNetwork is returned by a node that is in no network yet, or no more.
	ErrNotInNetwork = errors.New("not in a network")
	// ErrClientOnly is returned by a node that only follows a network, for what a
	// member can do.
	ErrClientOnly = errors.New("only a client of the network")
	// ErrConflict is returned when something belongs to somebody else, or is in use.
	ErrConflict = errors.New("conflict")
	// ErrInvalid is returned for values that make no sense.
	ErrInvalid = errors.New("invalid")
	// ErrNoPort is returned when a collector can't be given a port.
	ErrNoPort = errors.New("no free port")
	// ErrQuorumRisk is returned for a change that would leave no majority.
	ErrQuorumRisk = errors.New("would leave no majority")
	// ErrWrongNetwork is returned for what belongs to another network.
	ErrWrongNetwork = errors.New("another network")
	// ErrBadSnapshot is returned for a snapshot that is damaged, cut or too new.
	ErrBadSnapshot = errors.New("bad snapshot")
	// ErrForeign is returned by a client for an answer that is not of this API.
	ErrForeign = errors.New("not an answer of bucket-relay")
)

// DeliveredError is returned by an Inbox for an id that it has published
// before. It is no failure: the collector answers 200 with the receipt.
type DeliveredError struct {
	Receipt Receipt // Settled, and then without size and digest, at or below the mark
}

// Error says which item it was.
func (e *DeliveredError) Error() string {
	return fmt.Sprintf("item %s was delivered before", e.Receipt.ID)
}

// OffsetError is returned when an upload is continued at another offset than
// the one the inbox holds. The sender goes on from Have.
type OffsetError struct {
	Have int64 // bytes that are on stable storage
}

// Error names the offset to go on from.
func (e *OffsetError) Error() string {
	return fmt.Sprintf("offset mismatch: continue at %d", e.Have)
}
