package consensus

import (
	"context"
	"sync"
	"time"
)

// rumours is gossip as each node has it: a node sees those that it is connected
// with, both ways, directly or by way of others. What changes in the network is
// noticed within spreadEvery. Safe for concurrent use.
type rumours struct {
	net *MemoryNetwork

	mu       sync.Mutex
	held     bool // nothing spreads
	truth    map[string]Member
	outlooks map[string]*outlook
}

// outlook is what one node sees. Rumours guard it.
type outlook struct {
	all     *rumours
	members map[string]Member
	changed chan struct{}
}

// spreadEvery is about as long as gossip takes to find a node dead.
const spreadEvery = time.Second

func newRumours(net *MemoryNetwork) *rumours {
	return &rumours{net: net, truth: make(map[string]Member), outlooks: make(map[string]*outlook)}
}

// join makes the eyes of a node that starts: they have seen nothing yet.
func (r *rumours) join(id string) *outlook {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := &outlook{all: r, members: make(map[string]Member), changed: make(chan struct{})}
	r.outlooks[id] = o
	return o
}

// of is what the node of that id, which has joined, sees.
func (r *rumours) of(id string) *outlook {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outlooks[id]
}

// Members implements Members.
func (o *outlook) Members() []Member {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	all := make([]Member, 0, len(o.members))
	for _, id := range sortedKeys(o.members) {
		all = append(all, o.members[id])
	}
	return all
}

// Changed implements Members.
func (o *outlook) Changed() <-chan struct{} {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	return o.changed
}

// sees reports whether the node sees another one alive.
func (o *outlook) sees(id string) bool {
	o.all.mu.Lock()
	defer o.all.mu.Unlock()
	return o.members[id].Alive
}

// say puts a node in that has just started. Those connected with it see it at once.
func (r *rumours) say(m Member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Generation = r.truth[m.ID].Generation + 1
	r.truth[m.ID] = m
	r.spreadLocked()
}

// amend changes what a node says of itself. Those that see it learn it at once.
func (r *rumours) amend(id string, how func(*Member)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.truth[id]
	how(&m)
	r.truth[id] = m
	if !m.Alive {
		return // it says nothing any more
	}
	for _, o := range r.outlooks {
		if known := o.members[id]; known.Alive && known.Generation == m.Generation {
			o.take(m)
		}
	}
}

// hold has nobody notice anything for a while, so that many can start at once.
func (r *rumours) hold(held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = held
	r.spreadLocked()
}

// spreadLoop has everybody notice what has changed in the network.
func (r *rumours) spreadLoop(ctx context.Context) {
	for pause(ctx, spreadEvery) {
		r.mu.Lock()
		r.spreadLocked()
		r.mu.Unlock()
	}
}

func (r *rumours) spreadLocked() {
	if r.held {
		return
	}
	whole := r.livingLocked()
	for id, o := range r.outlooks {
		if !r.truth[id].Alive {
			continue
		}
		near := whole
		if !r.net.whole() {
			near = r.connectedLocked(id)
		}
		for other, m := range r.truth {
			known, ok := o.members[other]
			switch {
			case near[other]:
				o.take(m)
			case ok && known.Alive:
				known.Alive = false
				o.take(known)
			}
		}
	}
}

// take notes a member, if anything is new.
func (o *outlook) take(m Member) {
	known, ok := o.members[m.ID]
	m.Since = known.Since
	if ok && m == known {
		return
	}
	if !ok || m.Alive != known.Alive || m.Generation != known.Generation {
		m.Since = time.Now()
	}
	o.members[m.ID] = m
	close(o.changed)
	o.changed = make(chan struct{})
}

// livingLocked are the nodes that run.
func (r *rumours) livingLocked() map[string]bool {
	living := make(map[string]bool)
	for id, m := range r.truth {
		if m.Alive {
			living[id] = true
		}
	}
	return living
}

// connectedLocked are the nodes that run and that a node is connected with, and itself.
func (r *rumours) connectedLocked(id string) map[string]bool {
	near := map[string]bool{id: true}
	for found := []string{id}; len(found) > 0; found = found[1:] {
		for other := range r.livingLocked() {
			if !near[other] && r.net.joined(found[0], other) {
				near[other] = true
				found = append(found, other)
			}
		}
	}
	return near
}

// whole reports whether all ways are open.
func (n *MemoryNetwork) whole() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.cuts) == 0
}

// joined reports whether both ways between two hosts are open.
func (n *MemoryNetwork) joined(a, b string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cuts[way{a, b}] && !n.cuts[way{b, a}]
}
