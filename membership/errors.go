package membership

import "errors"

var (
	// ErrClosed is returned by calls on a closed pool.
	ErrClosed = errors.New("membership is closed")
	// ErrAdvertise is returned by Open when no address is found that the other
	// nodes could reach this one by. Set an address to advertise.
	ErrAdvertise = errors.New("no address to advertise")
	// ErrMeta is returned for metadata that breaks a rule of [Meta], and for bytes
	// from another node that are not metadata at all.
	ErrMeta = errors.New("bad metadata")
	// ErrFormat is returned for metadata of a format that this program does not
	// know: the other node is newer. Upgrade this one.
	ErrFormat = errors.New("metadata of a newer program")
)

// Reasons to refuse a node that is heard of, wrapped with the facts.
var (
	errOtherNetwork = errors.New("belongs to another network")
	errNewerStart   = errors.New("a newer start of the same node is known")
	errTwice        = errors.New("the node runs twice")
	errGossipName   = errors.New("its name in gossip and its metadata disagree")
)
