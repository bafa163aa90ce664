package consensus

import (
	"fmt"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// putNodes enters living members in the catalogue, and what changed of them.
func (p *picture) putNodes() []action {
	var actions []action
	for _, m := range p.members {
		want := fsm.Node{ID: m.ID, Name: m.Name, HTTP: m.HTTP}
		if !p.alive(m.ID) || m.Leaving || m.HTTP == "" || p.refused[m.ID] != "" || p.entry[m.ID] == want {
			continue
		}
		actions = append(actions, action{step: stepPutNode, node: want, reason: "a member is new or has changed"})
	}
	return actions
}

// deleteNodes removes nodes from the catalogue that will not come back, with
// their collectors, once raft's configuration is without them.
func (p *picture) deleteNodes() []action {
	var actions []action
	for _, n := range p.nodes {
		if _, in := p.server[n.ID]; in {
			continue
		}
		why := ""
		switch {
		case p.member[n.ID].Leaving:
			why = "it leaves"
		case p.replaced(n.ID):
			why = "a new node has its name"
		case p.deadFor(n.ID) >= p.timing.DeadAfter:
			why = fmt.Sprintf("dead for %s", p.timing.DeadAfter)
		default:
			continue
		}
		actions = append(actions, action{step: stepDeleteNode, node: n, reason: why})
	}
	return actions
}

// silentCollectors drops external collectors that missed their heartbeats.
func (p *picture) silentCollectors() []action {
	var actions []action
	for _, c := range p.silent {
		actions = append(actions, action{step: stepDeleteCollector, silent: c, reason: "three heartbeats are missing"})
	}
	return actions
}
