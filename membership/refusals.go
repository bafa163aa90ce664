package membership

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	keepRefusal = 2 * time.Minute // a node that keeps trying does so every 30 s
	maxRefusals = 64              // others are dropped: whoever sends so many has no good intent
)

// refusals is who was not let in lately. Plain data: the pool guards it.
type refusals map[refusalKey]Refusal

// refusalKey tells refusals apart. The address belongs to it, since two nodes
// with one id are a reason to refuse.
type refusalKey struct{ nodeID, address, reason string }

// note keeps a refusal, or the time of one that is known, and reports whether it
// is new. Beyond maxRefusals nothing new is kept.
func (rs refusals) note(r Refusal) bool {
	key := refusalKey{r.NodeID, r.Address, r.Reason}
	_, known := rs[key]
	if !known && len(rs) >= maxRefusals {
		return false
	}
	rs[key] = r
	return !known
}

// expire forgets the refusals that were not repeated for a while.
func (rs refusals) expire(now time.Time) (changed bool) {
	for key, r := range rs {
		if now.Sub(r.At) > keepRefusal {
			delete(rs, key)
			changed = true
		}
	}
	return changed
}

// list returns them sorted by name, node id and address, and with them the
// clashes of names.
func (rs refusals) list(clashes []Refusal) []Refusal {
	out := slices.Clone(clashes)
	for _, r := range rs {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Refusal) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.NodeID, b.NodeID),
			cmp.Compare(a.Address, b.Address), cmp.Compare(a.Reason, b.Reason))
	})
	return out
}

// clashes returns a refusal for every member that is there and has the name of
// an elder one, in whatever case. All nodes that see the same members return the same ones.
func (t *table) clashes() []Refusal {
	eldest := make(map[string]Member)
	all := t.members()
	for _, m := range all {
		name := strings.ToLower(m.Name)
		if first, ok := eldest[name]; m.there() && (!ok || elder(m, first)) {
			eldest[name] = m
		}
	}
	var out []Refusal
	for _, m := range all {
		first := eldest[strings.ToLower(m.Name)]
		if !m.there() || first.NodeID == m.NodeID {
			continue
		}
		at := m.Since
		if first.Since.After(at) {
			at = first.Since
		}
		out = append(out, Refusal{
			NodeID: m.NodeID, Name: m.Name, Address: m.Address, At: at, Fatal: m.NodeID == t.self.NodeID,
			Reason: fmt.Sprintf("the name %q is that of node %s at %s: give node %s another one, or stop it",
				m.Name, first.NodeID, first.Address, m.NodeID),
		})
	}
	return out
}

// elder reports whether a has the better right to a name that b claims too: who
// has raft state over who has none, then who was started more often, then the
// lower node id. Times do not decide: each of two nodes sees itself first.
func elder(a, b Member) bool {
	if a.HasState != b.HasState {
		return a.HasState
	}
	return cmp.Or(cmp.Compare(b.Generation, a.Generation), cmp.Compare(a.NodeID, b.NodeID)) < 0
}
