package node

// drain is what an uploader knows of a collector that takes nothing new. What
// was claimed before it began to drain is owed to it all the same, and delivered.
// A claim tells by its place in the order of claims, since the table has no
// times. Guarded by the uploader's mutex.
type drain struct {
	on       bool
	upTo     claimKey // the newest claim from before; zero: none of this run
	newcomer bool     // it came into its cluster draining, so nothing is owed to it
}

// set takes over from the table whether the collector drains. Before says that it
// was in this cluster before, or may have been, since the uploader only begins:
// then every claim of earlier runs is older, as far as anybody can tell.
func (d *drain) set(on, before bool, newest claimKey) {
	switch {
	case !on:
		*d = drain{}
	case !before:
		*d = drain{on: true, newcomer: true}
	case !d.on:
		*d = drain{on: true, upTo: newest}
	}
}

// covers reports whether a claim is from before the drain began. Newest is any
// claim of this run: epochs have no order, but only one is the present one.
func (d *drain) covers(k, newest claimKey) bool {
	switch {
	case d.newcomer || k == claimKey{}:
		return false
	case k.epoch != newest.epoch:
		return true
	}
	return d.upTo.epoch == k.epoch && k.seq <= d.upTo.seq
}

// owedBeforeLocked reports whether a file is owed to a collector that drains: it
// is bound to it, or, where claims are not bound, was claimed before.
func (u *uploader) owedBeforeLocked(t *target, f facts, unbound bool) bool {
	return f.bound != "" && f.bound == t.id || unbound && t.drain.covers(f.claim, u.newest)
}

// claimedLocked notes a claim that this run made, with the plan that it was
// admitted with. If a collector began to drain meanwhile the file still is for it.
func (u *uploader) claimedLocked(k claimKey, p plan) {
	if k.epoch != u.newest.epoch || k.seq > u.newest.seq {
		u.newest = k
	}
	for _, d := range p.debts {
		if t := d.to; t.drain.on && !t.drain.newcomer && (t.drain.upTo.epoch != k.epoch || k.seq > t.drain.upTo.seq) {
			t.drain.upTo = k
		}
	}
}
