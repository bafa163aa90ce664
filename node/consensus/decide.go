package consensus

import (
	"fmt"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// step is what an action does.
type step string

// The steps. The first six change raft's configuration.
const (
	stepAddress         step = "set address"
	stepAdd             step = "add nonvoter"
	stepPromote         step = "promote"
	stepDemote          step = "demote"
	stepRemove          step = "remove"
	stepTransfer        step = "transfer leadership"
	stepInit            step = "name the network"
	stepPutNode         step = "put node"
	stepDeleteNode      step = "delete node"
	stepDeleteCollector step = "delete collector"
)

// action is one step that the leader takes.
type action struct {
	step   step
	server Server   // of a change of the configuration, as it is to be; of a transfer
	node   fsm.Node // stepPutNode; the ID for stepDeleteNode
	silent silentCollector
	reason string // for people
}

// subject is what the action is about; with the step it names the action.
func (a action) subject() string {
	switch a.step {
	case stepPutNode, stepDeleteNode:
		return a.node.ID
	case stepDeleteCollector:
		return string(a.silent.id)
	default:
		return a.server.ID
	}
}

// decide lists what the leader should do, the most urgent first. Each action is
// right on its own in this situation, and none is after another: the leader
// takes one, looks again and decides again. With nothing left to do the list is
// empty. It is a pure function; why each rule is as it is stands in
// DESIGN-reconcile.md.
func decide(s situation) []action { return newPicture(s).decide() }

func (p *picture) decide() []action {
	if p.networkID == "" {
		return []action{{step: stepInit, reason: "the network has no id yet"}}
	}
	rules := []func() []action{
		p.addresses, // first, since nothing else works with a server that cannot be reached
		p.putNodes,
		p.dropExcess, // before promotions: a swap does not pile voters up
		p.promotions,
		p.handOver,
		p.leaving,
		p.removals,
		p.additions,
		p.deleteNodes,
		p.silentCollectors,
	}
	var actions []action
	for _, rule := range rules {
		actions = append(actions, rule()...)
	}
	return actions
}

// addresses gives servers the addresses that gossip knows. Raft allows no two
// servers one address; a server that no longer has the one in its entry makes
// way for the one that does, with an address that nobody can have.
func (p *picture) addresses() []action {
	var direct, freed []action
	for _, id := range p.everybody() {
		server, in := p.server[id]
		m := p.member[id]
		if !in || !m.Alive || m.Raft == "" || m.Raft == server.Address || p.foreign(m) != "" {
			continue
		}
		if way := p.makeWay(id, m.Raft); way != nil {
			freed = append(freed, way...)
			continue
		}
		server.Address = m.Raft
		direct = append(direct, action{step: stepAddress, server: server, reason: "gossip knows it at another address"})
	}
	return append(direct, freed...) // most chains come loose without
}

// makeWay lists what frees an address for a node: nil when it is free, and
// nothing to do when the server that has it is alive and well there.
func (p *picture) makeWay(id, address string) []action {
	for _, other := range p.servers {
		if other.ID == id || other.Address != address {
			continue
		}
		if m := p.member[other.ID]; p.alive(other.ID) && (m.Raft == address || m.Raft == "") {
			return []action{}
		}
		other.Address = nowhere(other.ID)
		return []action{{step: stepAddress, server: other, reason: "its address has passed to node " + id}}
	}
	return nil
}

// nowhere is an address that resolves to nothing (RFC 2606), one for each server.
func nowhere(id string) string { return id + ".invalid:1" }

// additions brings nodes into the configuration that are to be nonvoters.
func (p *picture) additions() []action {
	var actions []action
	for _, id := range p.keep {
		m := p.member[id]
		if _, in := p.server[id]; in {
			continue
		}
		if way := p.makeWay(id, m.Raft); way != nil {
			actions = append(actions, way...)
			continue
		}
		actions = append(actions, action{
			step: stepAdd, server: Server{ID: id, Address: m.Raft},
			reason: "a node that may become a voter",
		})
	}
	return actions
}

// removals takes out nonvoters that are not needed or gone for good, and voters
// that have been dead for DeadAfter. A nonvoter that is not needed goes only
// while it listens and has the whole log, so that it learns of it: raft does not
// send the entry that removes a server to one that is still catching up, and one
// that was away would stand for election with the configuration it remembers.
func (p *picture) removals() []action {
	var actions []action
	remove := func(s Server, why string) {
		actions = append(actions, action{step: stepRemove, server: s, reason: why})
	}
	wanted := make(map[string]bool)
	for _, id := range p.keep {
		wanted[id] = true
	}
	for _, s := range p.servers {
		dead := p.deadFor(s.ID)
		switch {
		case p.member[s.ID].Leaving: // see leaving
		case s.Voter && dead >= p.timing.DeadAfter && p.safe(without(p.voters, s.ID)):
			remove(s, fmt.Sprintf("dead for %s", p.timing.DeadAfter))
		case s.Voter:
		case p.replaced(s.ID):
			remove(s, "a new node has its name")
		case dead >= p.timing.DeadAfter:
			remove(s, fmt.Sprintf("dead for %s", p.timing.DeadAfter))
		case !wanted[s.ID] && p.healthy(s.ID) && p.replication[s.ID].lag == 0:
			remove(s, "there are voters and spare voters enough")
		}
	}
	return actions
}

// handOver gives the leadership away when the leader itself leaves: only its
// successor can take it out.
func (p *picture) handOver() []action {
	if !p.member[p.self].Leaving {
		return nil
	}
	for _, id := range p.live {
		if p.keepsUp(id) {
			return []action{{step: stepTransfer, server: p.server[id], reason: "the leader leaves"}}
		}
	}
	return nil
}

// leaving takes out the servers that said that they leave for good.
func (p *picture) leaving() []action {
	var actions []action
	for _, s := range p.servers {
		if s.ID == p.self || !p.member[s.ID].Leaving || (s.Voter && !p.safe(without(p.voters, s.ID))) {
			continue
		}
		actions = append(actions, action{step: stepRemove, server: s, reason: "it leaves"})
	}
	return actions
}
