package consensus

import (
	"cmp"
	"slices"
)

// staying are the voters that do not leave, dead or alive.
func (p *picture) staying() []string {
	return slices.DeleteFunc(slices.Clone(p.voters), func(id string) bool { return p.member[id].Leaving })
}

// readyStandbys are the nonvoters that can become voters now, best first.
func (p *picture) readyStandbys() []string {
	var ids []string
	for _, id := range p.keep {
		if _, in := p.server[id]; in && p.ready(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// target is how many voters there are to be: the largest odd number that the
// voters and the nonvoters that are ready make up, MaxVoters at most. From 1 it
// goes to 3 when two are ready, since with two voters the failure of either
// stops the network.
func (p *picture) target() int {
	n := min(p.timing.MaxVoters, len(p.staying())+len(p.readyStandbys()))
	if n%2 == 0 {
		n--
	}
	return max(1, n)
}

// promotions makes voters of nonvoters that are ready, as long as fewer than
// the target live. A dead voter is thus swapped by one more voter for a moment,
// and not by one fewer.
func (p *picture) promotions() []action {
	if len(p.live) >= p.target() || len(p.staying()) > p.target() {
		return nil // the excess goes first
	}
	var actions []action
	for _, id := range p.readyStandbys() {
		if !p.safeWith(id) {
			continue
		}
		server := p.server[id]
		server.Voter = true
		actions = append(actions, action{step: stepPromote, server: server, reason: "it is ready, and a voter is wanted"})
	}
	return actions
}

// safeWith is safe with one voter more, which is healthy.
func (p *picture) safeWith(id string) bool { return p.safe(append(slices.Clone(p.voters), id)) }

// dropExcess makes a nonvoter of one voter when there are more than the target:
// after a swap the dead one, which learns of it when it is back; when a voter
// has left for good one of the living, for an even number tolerates no more
// failures and loses more. A living one has to wait while things are unsettled.
func (p *picture) dropExcess() []action {
	staying := p.staying()
	if len(staying) <= p.target() {
		return nil
	}
	slices.SortFunc(staying, func(a, b string) int {
		return cmp.Or(cmp.Compare(p.worth(a), p.worth(b)), -cmp.Compare(a, b))
	})
	id := staying[0]
	if id == p.self || !p.safe(without(p.voters, id)) || (!p.gone(id) && !p.settled()) {
		return nil
	}
	server := p.server[id]
	server.Voter = false
	why := "an even number of voters tolerates no more failures"
	if p.gone(id) {
		why = "it is dead, and another has its place"
	}
	return []action{{step: stepDemote, server: server, reason: why}}
}

// worth says which voter to keep; the least is dropped first.
func (p *picture) worth(id string) int {
	switch {
	case id == p.self:
		return 9
	case p.replaced(id):
		return 0
	case p.gone(id):
		return 1
	default:
		return 2
	}
}

// settled reports whether nothing is under way that would change how many
// voters there should be: every voter is healthy or long dead, none is about to
// leave, and no nonvoter is about to be ready for a place that is free.
func (p *picture) settled() bool {
	for _, id := range p.voters {
		if p.member[id].Leaving || (!p.gone(id) && !p.healthy(id)) {
			return false
		}
	}
	if len(p.staying()) >= p.timing.MaxVoters {
		return true
	}
	for _, id := range p.keep {
		if !p.ready(id) && !p.hopeless(id) {
			return false
		}
	}
	return true
}
