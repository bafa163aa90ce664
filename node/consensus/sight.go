package consensus

import (
	"cmp"
	"slices"
)

// sight is what a node without a network sees of the others, sorted by id. Only
// living members count.
type sight struct {
	self    Member
	network string   // the network that this node knows to be its own
	others  []Member // all but this node
	settled []Member // others that have raft state or a network
	equal   []Member // this node and those that expect the same number
	odd     Member   // the first that expects another number
	twice   string   // a name that two of equal have
}

// look sorts what gossip shows.
func (f *former) look() sight {
	s := sight{self: Member{ID: f.self}}
	members := slices.Clone(f.members.Members())
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	taken := make(map[string]bool)
	for _, m := range members {
		if m.ID == f.self {
			s.self = m
		} else if !m.Alive || m.Leaving {
			continue
		} else {
			s.others = append(s.others, m)
		}
		switch {
		case m.ID != f.self && (m.HasState || m.NetworkID != ""):
			s.settled = append(s.settled, m)
		case m.ID == f.self || m.Expect == f.expect:
			s.equal = append(s.equal, m)
			if taken[m.Name] && s.twice == "" {
				s.twice = m.Name
			}
			taken[m.Name] = true
		case m.Expect != 0 && s.odd.ID == "":
			s.odd = m
		}
	}
	s.network = cmp.Or(f.networkID(), s.self.NetworkID)
	return s
}

// waitForOwn says why a node that knows its network has no part in it yet;
// empty when it sees it, and so follows it.
func (s sight) waitForOwn() string {
	for _, m := range s.settled {
		if m.HasState && m.NetworkID == s.network {
			return ""
		}
	}
	return "waiting for a node of network " + s.network + ": none is in sight"
}
