package consensus

import (
	"fmt"
	"slices"
)

// reasons says of every member and server that is not what it could be why
// that is. The words do not change while nothing else does.
func (p *picture) reasons() map[string]string {
	reasons := make(map[string]string)
	for _, id := range p.everybody() {
		if why := p.why(id); why != "" {
			reasons[id] = why
		}
	}
	return reasons
}

func (p *picture) why(id string) string {
	server, in := p.server[id]
	m := p.member[id]
	switch {
	case p.refused[id] != "":
		return p.refused[id]
	case m.Leaving && in:
		return "it leaves, and stays a server until a majority of the others is healthy"
	case p.replaced(id):
		return "dead, and a new node has its name"
	case p.deadFor(id) > 0 && server.Voter:
		return fmt.Sprintf("dead; its vote goes to a spare voter after %s", p.timing.SwapAfter)
	case p.deadFor(id) > 0:
		return fmt.Sprintf("dead; removed after %s", p.timing.DeadAfter)
	case !p.alive(id) || m.Leaving || server.Voter:
		return ""
	case !in:
		return p.whyOutside(m)
	default:
		return p.whyNonvoter(m)
	}
}

func (p *picture) whyOutside(m Member) string {
	if m.Raft == "" {
		return "has not said where its raft listens"
	}
	if slices.Contains(p.keep, m.ID) {
		return "about to be added as a spare voter"
	}
	return fmt.Sprintf("follows the table: there are %d voters and spare voters already", p.timing.MaxVoters)
}

func (p *picture) whyNonvoter(m Member) string {
	switch {
	case !p.healthy(m.ID):
		return "gives the leader no answer over raft"
	case !p.keepsUp(m.ID):
		return "catching up with the log"
	case !p.stable(m):
		return fmt.Sprintf("not yet alive for %s", p.timing.StableFor)
	default:
		return fmt.Sprintf("spare: %d voters are enough for now", len(p.voters))
	}
}

// underWay reports whether time alone will change what is to be done.
func (p *picture) underWay() bool {
	for _, id := range p.everybody() {
		m := p.member[id]
		server, in := p.server[id]
		dead := p.deadFor(id)
		switch {
		case m.Alive && !p.stable(m):
			return true
		case dead > 0 && dead < max(p.timing.SwapAfter, p.timing.StableFor):
			return true
		case in && id != p.self && dead == 0 && (!p.keepsUp(id) || !server.Voter && !slices.Contains(p.keep, id)):
			return true
		case server.Voter && m.Leaving:
			return true
		}
	}
	return false
}
