package consensus

import "errors"

// Errors of a command, a linearizable read and a change of the configuration.
var (
	// ErrUnavailable is returned when the leader could not have it confirmed by a
	// quorum in time. Whether a command was committed is unknown: sent again with
	// the same ReqID it is answered, and not repeated.
	ErrUnavailable = errors.New("no quorum answered in time")
	// ErrQuorum is returned when a change would leave fewer healthy voters than a
	// majority. Nothing was changed.
	ErrQuorum = errors.New("would lose the quorum")
	// ErrUnknownServer is returned for the id of a server that is not in the configuration.
	ErrUnknownServer = errors.New("no such server")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("closed")
)

// Errors of the store and of snapshots.
var (
	// ErrRunning is returned when the store is locked: a node runs in that directory.
	ErrRunning = errors.New("a node is running in this directory")
	// ErrNoState is returned when there is no raft state to save, inspect or recover.
	ErrNoState = errors.New("no raft state")
	// ErrWrongNetwork is returned when a snapshot is of another network.
	ErrWrongNetwork = errors.New("of another network")
	// ErrBehind is returned by Recover when another node answers and has more of
	// the log, or the same: recover that one, or start it.
	ErrBehind = errors.New("another node answers and knows as much or more")
	// ErrTooLarge is returned by Load for a snapshot beyond what a table can grow to.
	ErrTooLarge = errors.New("snapshot too large")
)

// Errors that are sent to Failed.
var (
	// ErrDisk says that the disk does not answer or lost what was written.
	ErrDisk = errors.New("the disk of the raft log failed")
	// ErrWedged says that raft refuses commands because of a transfer of the
	// leadership that never ended (hashicorp/raft#696).
	ErrWedged = errors.New("stuck in a transfer of the leadership")
)

// NotLeaderError is returned by what only the leader can do. ID is the leader
// to go to, and Address where its raft is; both are empty when there is none.
type NotLeaderError struct {
	ID      string
	Address string
}

func (e *NotLeaderError) Error() string {
	if e.ID == "" {
		return "not the leader, and there is none"
	}
	return "not the leader, which is " + e.ID
}
