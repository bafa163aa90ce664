package consensus

import (
	"cmp"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Limits of what counts as a server that keeps up, as Consul's autopilot has
// them, with more room for a contact, since ours is judged on busy machines.
const (
	contactLimit = 500 * time.Millisecond // times Timing.Multiplier
	lagLimit     = 250                    // log entries
	// hopelessAfter is how long a nonvoter that never answers keeps another
	// node from being tried in its place.
	hopelessAfter = time.Minute
)

// situation is all that decide looks at: what the leader sees at one moment.
type situation struct {
	now         time.Time
	self        string // the leader's node id
	timing      Timing
	networkID   string // as committed; empty until NetworkInit
	members     []Member
	servers     []Server // the latest configuration
	replication map[string]replication
	nodes       []fsm.Node // the catalogue
	// What the loop remembers, since none of the above tells it (see memory).
	deadSince    map[string]time.Time
	unheardSince map[string]time.Time
	silent       []silentCollector
}

// replication is how far a server is behind the leader.
type replication struct {
	contact time.Duration // since its last answer; negative: none yet
	lag     uint64        // log entries
}

// silentCollector is an external collector that missed its heartbeats.
type silentCollector struct {
	id     fsm.CollectorID
	lastMS int64 // the last heartbeat that was heard, Unix milliseconds
}

// picture is a situation with everything at hand that the rules ask for again
// and again.
type picture struct {
	situation
	member  map[string]Member
	server  map[string]Server
	entry   map[string]fsm.Node
	claim   map[string]string // name → id of the node that holds it
	voters  []string          // ids, sorted
	live    []string          // of voters: those that count (see gone)
	keep    []string          // ids that are to be nonvoters, best first
	refused map[string]string // id → why it is not let in
}

func newPicture(s situation) *picture {
	p := indexed(s)
	p.settleNames()
	for _, m := range s.members {
		if why := p.refusal(m); why != "" {
			p.refused[m.ID] = why
		}
	}
	for _, v := range s.servers {
		if v.Voter {
			p.voters = append(p.voters, v.ID)
		}
	}
	slices.Sort(p.voters)
	for _, id := range p.voters {
		if !p.gone(id) {
			p.live = append(p.live, id)
		}
	}
	p.keep = p.standbys()
	return p
}

// indexed is a picture of nothing but what is in s.
func indexed(s situation) *picture {
	p := &picture{
		situation: s,
		member:    make(map[string]Member), server: make(map[string]Server),
		entry: make(map[string]fsm.Node), claim: make(map[string]string), refused: make(map[string]string),
	}
	for _, m := range s.members {
		p.member[m.ID] = m
	}
	for _, v := range s.servers {
		p.server[v.ID] = v
	}
	for _, n := range s.nodes {
		p.entry[n.ID] = n
	}
	return p
}

// alive reports what gossip says; the leader itself is alive.
func (p *picture) alive(id string) bool { return id == p.self || p.member[id].Alive }

// deadFor is how long neither gossip nor raft has heard of a server; 0 while
// one of them does.
func (p *picture) deadFor(id string) time.Duration {
	since, ok := p.deadSince[id]
	if !ok || p.alive(id) {
		return 0
	}
	return max(1, p.now.Sub(since))
}

// healthy reports whether a server takes part in a quorum now: gossip sees it
// and it answered raft a moment ago. The leader is.
func (p *picture) healthy(id string) bool {
	if id == p.self {
		return true
	}
	return p.alive(id) && p.inContact(id)
}

// inContact reports whether a server answered raft a moment ago.
func (p *picture) inContact(id string) bool {
	r, ok := p.replication[id]
	return ok && r.contact >= 0 && r.contact <= p.timing.times(contactLimit)
}

// keepsUp reports whether a server is healthy and has nearly the whole log.
func (p *picture) keepsUp(id string) bool {
	return p.healthy(id) && (id == p.self || p.replication[id].lag <= lagLimit)
}

// ready reports whether a nonvoter that is wanted may become a voter.
func (p *picture) ready(id string) bool { return p.keepsUp(id) && p.stable(p.member[id]) }

// stable reports whether a member has been alive for long enough to be trusted.
func (p *picture) stable(m Member) bool {
	return m.Alive && p.now.Sub(m.Since) >= p.timing.StableFor
}

// hopeless reports whether a nonvoter has been silent for so long that another
// node should have its place.
func (p *picture) hopeless(id string) bool {
	since, ok := p.unheardSince[id]
	return ok && p.now.Sub(since) >= hopelessAfter
}

// gone reports whether a voter is to be replaced: it leaves, it has been dead
// for long enough, or a new node has its name.
func (p *picture) gone(id string) bool {
	return p.member[id].Leaving || p.deadFor(id) >= p.timing.SwapAfter || p.replaced(id)
}

// safe reports whether a majority of the voters is healthy after a change that
// leaves the given ones.
func (p *picture) safe(voters []string) bool {
	healthy := 0
	for _, id := range voters {
		if p.healthy(id) {
			healthy++
		}
	}
	return healthy >= len(voters)/2+1
}

func without(ids []string, id string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(other string) bool { return other == id })
}

// everybody is the ids of all that gossip, raft or the catalogue knows, sorted.
func (p *picture) everybody() []string {
	var ids []string
	for id := range p.member {
		ids = append(ids, id)
	}
	for id := range p.server {
		ids = append(ids, id)
	}
	for id := range p.entry {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// standbys are the nodes that are to be nonvoters: as many as voters are
// wanting. Those that are so already stay, unless they never answer.
func (p *picture) standbys() []string {
	var ids []string
	for id, m := range p.member {
		server, in := p.server[id]
		brief := in && !m.Alive && p.deadFor(id) < p.timing.SwapAfter
		if id != p.self && !server.Voter && (m.Alive || brief) && !m.Leaving && m.Raft != "" && p.refused[id] == "" {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(p.standbyRank(a), p.standbyRank(b)),
			p.member[a].Since.Compare(p.member[b].Since), cmp.Compare(a, b))
	})
	return ids[:min(len(ids), max(0, p.timing.MaxVoters-len(p.live)))]
}

func (p *picture) standbyRank(id string) int {
	_, in := p.server[id]
	switch {
	case in && p.hopeless(id):
		return 2
	case in:
		return 0
	default:
		return 1
	}
}
