package fsm

import "errors"

// Errors of a command. All replicas return the same one, and the state is as it
// was. Apply returns them as the response, wrapped with what they are about.
var (
	// ErrInvalid is returned for a command that makes no sense, such as one with
	// a name that is none. Final.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound is returned when the cluster, collector or node is not there.
	ErrNotFound = errors.New("not found")
	// ErrTaken is returned when an id or an address belongs to somebody else.
	ErrTaken = errors.New("taken")
	// ErrInUse is returned when a cluster that has collectors is to be removed.
	ErrInUse = errors.New("in use")
	// ErrNoPort is returned when no port is left for a collector.
	ErrNoPort = errors.New("no free port")
	// ErrUnknownCommand is returned for a command of a newer version, or a damaged
	// one. The replica cannot go on: passing over it would make it differ from
	// the others for ever. The node stops.
	ErrUnknownCommand = errors.New("unknown command")
	// ErrBadSnapshot is returned when a snapshot is damaged, incomplete or of a
	// newer format. The state is as it was.
	ErrBadSnapshot = errors.New("bad snapshot")
)
