package node

import (
	"maps"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// downPause is how long a collector that gossip calls dead is not given a new
// file to see whether it works all the same. It is longer than that of one that
// only failed: a file that meets a hung process stays with it for a while.
const downPause = 5 * time.Second

// reasonDown is why a collector ranks last although it did not fail.
const reasonDown = "its node is not in sight"

// setDown says whose nodes gossip holds for dead: ids replaces what was said
// before, and only entries that are true count. It never blocks, and the caller
// may change ids afterwards.
//
// Gossip only ranks, the transfer decides. Such a collector of a one or key
// cluster is chosen last, and what is bound to it and was surely not taken by it
// goes to another, as if it had refused a dial. What an all cluster owes to it
// stays owed. It is sent to as before; as soon as it answers it counts as well,
// until gossip has lost sight of it once more.
func (u *uploader) setDown(ids map[fsm.CollectorID]bool) {
	u.mu.Lock()
	before := u.down
	u.down = maps.Clone(ids)
	now := time.Now()
	for id, t := range u.targets {
		switch {
		case u.down[id] && !before[id]:
			t.lost(now)
		case !u.down[id] && before[id]:
			u.inSightLocked(t, now)
		}
	}
	u.mu.Unlock()
	poke(u.rearm) // timerLoop moves on what may move, and probes who is back
	poke(u.wake)
}

// lost notes that the collector's node is not in sight any more.
func (t *target) lost(now time.Time) { t.down, t.probe, t.probed = true, "", now }

// inSightLocked notes that a collector's node is back. If it failed meanwhile
// the rest of its back-off is forgone, since that was for the time before.
func (u *uploader) inSightLocked(t *target, now time.Time) {
	t.down, t.probed = false, time.Time{} // due at once
	if t.breaker.open() && t.breaker.until.After(now) {
		t.breaker.until = now
	}
	u.fruitless = false
}
