package consensus

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// guard watches over writes to the disk. Safe for concurrent use.
//
// A write that takes longer than hang means that this node withdraws from raft:
// a leader whose main loop waits for its disk goes on sending heartbeats from
// other goroutines, and would never be replaced (hashicorp/raft#503). When the
// write ends after all, the node is back.
//
// A write that fails, or takes longer than fatal, poisons the store: what an
// fsync that failed has left on the disk is unknown, and the next one may succeed
// without having written it. No write is tried after that.
type guard struct {
	hang, fatal time.Duration
	withdraw    func(bool)  // called with the first hanging write and after the last, in turn; returns at once
	failed      func(error) // called once, when poisoned; returns at once

	mu       sync.Mutex
	hanging  int
	since    time.Time // when the first hanging write began
	poison   error
	lastGood time.Time // end of the last write that succeeded

	turn sync.Mutex // of withdraw; taken before mu
	gone bool       // what withdraw was told last
}

// hangParts is into how many parts hang is cut. A process that stood still finds
// every timer run out that it had: it counts one part of the time, and not all.
const hangParts = 8

// errPoisoned is returned for every write after one that failed.
var errPoisoned = errors.New("a write failed before")

// do runs the write and waits for its end, or until it has taken too long.
func (g *guard) do(what string, write func() error) error {
	if err := g.poisoned(); err != nil {
		return err
	}
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- write() }() // ends with the disk's answer, and has no other effect after fatal
	timer := time.NewTimer(g.slice(0))
	defer timer.Stop()
	for waited := time.Duration(0); ; {
		select {
		case err := <-done:
			if waited >= g.hang {
				g.recover()
			}
			return g.finish(what, err)
		case <-timer.C:
		}
		before := waited
		waited += g.slice(waited)
		switch {
		case waited >= g.fatal:
			return g.finish(what, fmt.Errorf("no answer for %s", g.fatal))
		case before < g.hang && waited >= g.hang:
			g.enter(start)
		}
		timer.Reset(g.slice(waited))
	}
}

// slice is how long to wait next after so long.
func (g *guard) slice(waited time.Duration) time.Duration {
	part := max(g.hang/hangParts, time.Nanosecond)
	if waited < g.hang {
		return min(part, g.hang-waited)
	}
	return min(part, g.fatal-waited)
}

// finish poisons the store when the write failed.
func (g *guard) finish(what string, err error) error {
	g.mu.Lock()
	if err == nil {
		g.lastGood = time.Now()
		g.mu.Unlock()
		return nil
	}
	err = fmt.Errorf("%w: %s: %w", ErrDisk, what, err)
	first := g.poison == nil
	if first {
		g.poison = err
	}
	g.mu.Unlock()
	if first {
		g.tell()
		g.failed(err)
	}
	return err
}

func (g *guard) enter(start time.Time) {
	g.mu.Lock()
	if g.hanging++; g.hanging == 1 {
		g.since = start
	}
	g.mu.Unlock()
	g.tell()
}

func (g *guard) recover() {
	g.mu.Lock()
	g.hanging--
	g.mu.Unlock()
	g.tell()
}

// tell has withdraw know how things are now. It looks in its turn: of two calls
// at the same time the one that knows less must not be the last.
func (g *guard) tell() {
	g.turn.Lock()
	defer g.turn.Unlock()
	gone := g.reason() != ""
	if gone != g.gone {
		g.gone = gone
		g.withdraw(gone)
	}
}

func (g *guard) poisoned() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.poison != nil {
		return errors.Join(errPoisoned, g.poison)
	}
	return nil
}

// reason says in words what is wrong with the disk, empty when nothing is.
func (g *guard) reason() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.poison != nil {
		return g.poison.Error()
	}
	if g.hanging > 0 {
		return "the disk has not answered since " + g.since.UTC().Format(time.RFC3339)
	}
	return ""
}

// quietFor tells how long ago a write last succeeded.
func (g *guard) quietFor() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Since(g.lastGood)
}
