package consensus

import (
	"fmt"
	"slices"
	"time"
)

// Answer answers another node that wants to found a network with this one. A
// yes is a promise to it alone: for 30 s this node agrees with nobody else and
// founds no network of its own. It returns at once and is safe for concurrent use.
func (p *Peer) Answer(q Query) Answer { return p.former.answer(q) }

func (f *former) answer(q Query) Answer {
	s := f.look()
	a := Answer{HasState: f.hasState(), NetworkID: s.network, Expect: f.expect}
	if n := len(s.equal); n > 0 && !f.joinOnly {
		a.Members = ids(s.equal[:min(n, f.expect)])
	}
	switch asked := slices.Sorted(slices.Values(q.Members)); {
	case a.HasState || a.NetworkID != "":
		a.Reason = "it is part of a network already"
	case f.joinOnly:
		a.Reason = "it was told to join a network, not to form one"
	case q.Expect != f.expect:
		a.Reason = fmt.Sprintf("it expects %d, not %d", f.expect, q.Expect)
	case len(s.settled) > 0:
		a.Reason = "it sees the network of " + names(s.settled)
	case len(asked) == 0 || !slices.Equal(asked, a.Members):
		a.Reason = fmt.Sprintf("it sees %d of %d: %s", len(s.equal), f.expect, names(s.equal))
	case q.From != a.Members[0]:
		a.Reason = "another node has a lower id"
	default:
		a.Reason = f.promise(q.From)
	}
	a.OK = a.Reason == ""
	return a
}

// promise binds this node to the one that asks, unless it is bound to another.
// While it asks itself only a lower id comes first; its own asking is then void.
func (f *former) promise(to string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	bound := f.promised.to != "" && time.Now().Before(f.promised.until)
	switch {
	case f.founding:
		return "it is founding a network"
	case bound && f.promised.to == f.self && to > f.self:
		return "it is asking for itself"
	case bound && f.promised.to != f.self && f.promised.to != to:
		return "it is promised to node " + f.promised.to
	}
	f.promised = promise{to: to, until: time.Now().Add(promiseFor)}
	return ""
}

// begin binds this node to itself; it says why it cannot.
func (f *former) begin() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if to := f.promised.to; to != "" && to != f.self && time.Now().Before(f.promised.until) {
		return fmt.Sprintf("forming: promised to node %s", to)
	}
	f.promised = promise{to: f.self, until: time.Now().Add(promiseFor)}
	return ""
}

// commit is the point of no return: from here on nobody else is promised
// anything. It says why that is not possible any more.
func (f *former) commit() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.promised.to != f.self {
		return fmt.Sprintf("forming: promised to node %s in the meantime", f.promised.to)
	}
	if !time.Now().Before(f.promised.until) {
		// This process stood still: the others, asked later, may be bound no more.
		return "forming: asking the others took too long"
	}
	f.founding = true
	return ""
}

// release ends what begin and commit began.
func (f *former) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.founding = false
	if f.promised.to == f.self {
		f.promised = promise{}
	}
}
