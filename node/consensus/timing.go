package consensus

import (
	"errors"
	"fmt"
	"time"
)

// Timing is how long everything may take. Zero fields have the defaults named.
type Timing struct {
	// Multiplier stretches every timeout of raft: 1 (the default) for a local
	// network, up to 10 for slow disks or long ways.
	Multiplier int

	// Raft's own timeouts, before Multiplier. Heartbeat: a follower that hears
	// nothing for so long, and up to twice that, stands for election (300 ms).
	// Election: how long a candidate waits (Heartbeat). Lease: a leader that
	// reaches no quorum for so long steps down (Heartbeat). Commit: how
	// often an idle leader tells the others its commit index (30 ms).
	Heartbeat, Election, Lease, Commit time.Duration
	// RPC is how long one request to another server may take, and Dial how long
	// it may take to get a connection (1 s and 500 ms, before Multiplier).
	RPC, Dial time.Duration

	// Propose is how long a command or a linearizable read may wait for a quorum (750 ms).
	Propose time.Duration
	// Transfer is how long handing over the leadership may take (5 s). Wedged is
	// how long a leader may refuse commands because of a transfer before the node
	// gives up (30 s).
	Transfer, Wedged time.Duration
	// Shutdown is how long raft may take to stop (5 s).
	Shutdown time.Duration

	// Probe is how often an idle disk is tried (1 s), Hang how long it may take until
	// the node withdraws from raft (3 s), and HangFatal how long until it gives
	// up (60 s).
	Probe, Hang, HangFatal time.Duration

	// Every is how often the leader compares gossip with the configuration when
	// nothing happens (10 s). StableFor is how long a non-voter must have been
	// healthy to become a voter (10 s), SwapAfter how long a voter must be dead
	// to be swapped for a standby (30 s), and DeadAfter how long to be removed (72 h).
	Every, StableFor, SwapAfter, DeadAfter time.Duration
	// MaxVoters is the most voters there are to be; odd (5).
	MaxVoters int
}

func (t Timing) withDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if t.Multiplier == 0 {
		t.Multiplier = 1
	}
	if t.MaxVoters == 0 {
		t.MaxVoters = 5
	}
	def(&t.Heartbeat, 300*time.Millisecond)
	def(&t.Election, t.Heartbeat)
	def(&t.Lease, t.Heartbeat)
	def(&t.Commit, 30*time.Millisecond)
	def(&t.RPC, time.Second)
	def(&t.Dial, 500*time.Millisecond)
	def(&t.Propose, 750*time.Millisecond)
	def(&t.Transfer, 5*time.Second)
	def(&t.Wedged, 30*time.Second)
	def(&t.Shutdown, 5*time.Second)
	def(&t.Probe, time.Second)
	def(&t.Hang, 3*time.Second)
	def(&t.HangFatal, time.Minute)
	def(&t.Every, 10*time.Second)
	def(&t.StableFor, 10*time.Second)
	def(&t.SwapAfter, 30*time.Second)
	def(&t.DeadAfter, 72*time.Hour)
	return t
}

// Validate reports everything that is wrong with t once its defaults are filled in.
func (t Timing) Validate() error {
	t = t.withDefaults()
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(t.Multiplier >= 1 && t.Multiplier <= 10, "multiplier %d is not between 1 and 10", t.Multiplier)
	require(t.MaxVoters >= 1, "max voters %d is below 1", t.MaxVoters)
	require(t.MaxVoters%2 == 1, "max voters %d is even: one more would not cost a failure that is tolerated", t.MaxVoters)
	require(t.Heartbeat >= 5*time.Millisecond, "heartbeat %s is below 5ms", t.Heartbeat)
	require(t.Election >= t.Heartbeat, "election %s is below the heartbeat of %s", t.Election, t.Heartbeat)
	require(t.Lease >= 5*time.Millisecond && t.Lease <= t.Heartbeat, "lease %s is not between 5ms and the heartbeat of %s", t.Lease, t.Heartbeat)
	require(t.Commit >= time.Millisecond && t.Commit < t.Heartbeat, "commit %s is not between 1ms and the heartbeat of %s", t.Commit, t.Heartbeat)
	require(t.HangFatal > t.Hang, "hang fatal %s is not above hang %s", t.HangFatal, t.Hang)
	for _, d := range []time.Duration{
		t.RPC, t.Dial, t.Propose, t.Transfer, t.Wedged, t.Shutdown, t.Probe, t.Hang,
		t.Every, t.StableFor, t.SwapAfter, t.DeadAfter,
	} {
		require(d > 0, "%s is no time to wait", d)
	}
	return errors.Join(errs...)
}

// times stretches one of raft's timeouts.
func (t Timing) times(d time.Duration) time.Duration { return d * time.Duration(t.Multiplier) }
