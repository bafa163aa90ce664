package consensus

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// replaced reports whether a dead node's name has passed to a living one.
func (p *picture) replaced(id string) bool {
	holder, ok := p.claim[p.name(id)]
	return ok && holder != id && p.deadFor(id) > 0
}

// name is what gossip calls a node, or what the catalogue does when gossip has
// forgotten it.
func (p *picture) name(id string) string {
	return plainName(cmp.Or(p.member[id].Name, p.entry[id].Name))
}

// plainName makes names equal that differ in their letters' case only, as gossip
// takes them.
func plainName(name string) string { return strings.ToLower(name) }

// settleNames finds who holds each name. A living node that the network knows
// comes before one that it does not, then the one in sight for longer. A name
// passes from a dead node to a living one when both are so for StableFor.
func (p *picture) settleNames() {
	ids := p.everybody()
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(cmp.Compare(p.nameRank(a), p.nameRank(b)),
			p.member[a].Since.Compare(p.member[b].Since), cmp.Compare(a, b))
	})
	for _, id := range ids {
		name := p.name(id)
		if _, held := p.claim[name]; !held && name != "" {
			p.claim[name] = id
		}
	}
}

func (p *picture) nameRank(id string) int {
	m := p.member[id]
	_, server := p.server[id]
	_, entry := p.entry[id]
	switch dead := p.deadFor(id); {
	case id == p.self:
		return 0
	case m.Leaving || p.foreign(m) != "":
		return 9
	case dead >= p.timing.StableFor:
		return 5
	case dead > 0 && (server || entry): // not yet given up
		return 3
	case entry && p.entry[id].Name == m.Name:
		return 1
	case server:
		return 2
	case p.stable(m):
		return 4
	case m.Alive:
		return 6
	default:
		return 8
	}
}

// foreign says why a member belongs to something else.
func (p *picture) foreign(m Member) string {
	_, server := p.server[m.ID]
	switch {
	case m.NetworkID != "" && m.NetworkID != p.networkID && p.networkID != "":
		return fmt.Sprintf("belongs to another network, %s", m.NetworkID)
	case m.HasState && m.NetworkID == "" && !server:
		return "has raft state of a network of its own"
	}
	return ""
}

// refusal says why a member is not let in; empty when it may be.
func (p *picture) refusal(m Member) string {
	if why := p.foreign(m); why != "" {
		return why
	}
	if holder := p.claim[plainName(m.Name)]; holder != "" && holder != m.ID && m.Alive && !m.Leaving {
		return fmt.Sprintf("the name %s is held by node %s", m.Name, holder)
	}
	return ""
}
