package membership

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// How long a member is shown after it went.
const (
	keepFailed = 72 * time.Hour // also those that stopped for now
	keepLeft   = time.Hour      // those that left for good
)

// entry is a member and the name of gossip that it has its news from.
type entry struct {
	Member
	gossip  string
	tcpOnly bool // the last probe that was answered was answered by TCP alone
}

// table is who is known: this node and one entry for each other node id, that
// of the newest start. It is plain data: the pool guards it and tells the time.
type table struct {
	self   Member
	others map[string]*entry // by node id
}

func newTable(self Member) *table { return &table{self: self, others: make(map[string]*entry)} }

// comes notes that a start of a node is alive, or what it now tells of itself.
// It reports whether the node was not there before.
func (t *table) comes(m Member, now time.Time) (came bool) {
	old := t.others[m.NodeID]
	m.State, m.Since = StateAlive, now
	if old != nil && old.gossip == m.gossipName() && old.there() {
		m.Since = old.Since
		t.others[m.NodeID] = &entry{Member: m, gossip: old.gossip, tcpOnly: old.tcpOnly}
		return false
	}
	t.others[m.NodeID] = &entry{Member: m, gossip: m.gossipName()}
	return true
}

// goes notes that a start of a node is gone. An older start of a node that is
// back does not matter. It returns the member, or false if nothing changed.
func (t *table) goes(gossip string, now time.Time) (Member, bool) {
	e := t.find(gossip)
	if e == nil || !e.there() {
		return Member{}, false
	}
	e.State, e.Since, e.tcpOnly = StateFailed, now, false
	if e.Intent != IntentNone {
		e.State = StateLeft
	}
	return e.Member, true
}

// newerStart reports whether a start of a node is known to be superseded: a
// later one is there. One that is gone does not count, or a node whose data
// directory was restored would not be let in for days.
func (t *table) newerStart(m Meta) bool {
	if m.NodeID == t.self.NodeID {
		return m.Generation < t.self.Generation
	}
	e := t.others[m.NodeID]
	return e != nil && e.there() && e.Generation > m.Generation
}

// suspect notes that a member did not answer this node's probe.
func (t *table) suspect(gossip string) bool {
	e := t.find(gossip)
	if e == nil || e.State != StateAlive {
		return false
	}
	e.State = StateSuspect
	return true
}

// answers notes that a member is not suspected any more: by its answer to a
// probe of this node (direct), or by what it had others tell.
func (t *table) answers(gossip string, direct bool) bool {
	e := t.find(gossip)
	if e == nil {
		return false
	}
	changed := e.State == StateSuspect || direct && e.tcpOnly
	if e.State == StateSuspect {
		e.State = StateAlive
	}
	e.tcpOnly = e.tcpOnly && !direct
	return changed
}

// answersByTCP notes that a member answered a probe by TCP and not by UDP.
func (t *table) answersByTCP(gossip string) bool {
	e := t.find(gossip)
	if e == nil || e.tcpOnly || !e.there() {
		return false
	}
	e.tcpOnly = true
	return true
}

// drop removes a start of a node that is refused from now on.
func (t *table) drop(gossip string) bool {
	e := t.find(gossip)
	if e != nil {
		delete(t.others, e.NodeID)
	}
	return e != nil
}

// forget removes a node that is gone. One that is there stays: it would only
// come back at its next word.
func (t *table) forget(nodeID string) bool {
	e := t.others[nodeID]
	if e == nil || e.there() {
		return false
	}
	delete(t.others, nodeID)
	return true
}

// expire removes the nodes that are gone for long enough.
func (t *table) expire(now time.Time) (changed bool) {
	for id, e := range t.others {
		keep := keepFailed
		if e.Intent == IntentLeave {
			keep = keepLeft
		}
		if !e.there() && now.Sub(e.Since) > keep {
			delete(t.others, id)
			changed = true
		}
	}
	return changed
}

// foreign returns the members of another network than this node's.
func (t *table) foreign() []Member {
	var out []Member
	for _, e := range t.others {
		if otherNetwork(t.self.NetworkID, e.NetworkID) {
			out = append(out, e.Member)
		}
	}
	return out
}

// otherNetwork reports whether two nodes belong to different networks. One that
// belongs to none yet is welcome everywhere.
func otherNetwork(a, b string) bool { return a != "" && b != "" && a != b }

// find returns the entry that has its news from a name of gossip, nil if there
// is none.
func (t *table) find(gossip string) *entry {
	id, _, _ := strings.Cut(gossip, ".")
	e := t.others[id]
	if e == nil || e.gossip != gossip {
		return nil
	}
	return e
}

// members returns a copy of all, this node included, sorted by node id.
func (t *table) members() []Member {
	out := make([]Member, 0, len(t.others)+1)
	out = append(out, t.self)
	for _, e := range t.others {
		m := e.Member
		if e.tcpOnly {
			m.Reason = fmt.Sprintf("it answers by TCP but not by UDP: something between us drops UDP to %s or its answers", m.Address)
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.NodeID, b.NodeID) })
	return out
}

// there counts the other members that are there.
func (t *table) there() (n int) {
	for _, e := range t.others {
		if e.there() {
			n++
		}
	}
	return n
}

// addresses returns the gossip addresses of the others: of those that are there,
// and, in random order, of those that are gone and may be back there.
func (t *table) addresses() (there map[string]bool, gone []string) {
	there = make(map[string]bool)
	for _, e := range t.others {
		switch {
		case e.there():
			there[e.Address] = true
		case e.Intent != IntentLeave:
			gone = append(gone, e.Address)
		}
	}
	rand.Shuffle(len(gone), func(i, j int) { gone[i], gone[j] = gone[j], gone[i] })
	return there, gone
}
