package consensus

import "sync"

// addresses tells where gossip sees each node's raft. It asks again only after
// a change, since raft looks an address up for every request. Safe for concurrent use.
type addresses struct {
	members Members

	mu      sync.Mutex
	changed <-chan struct{} // nil before the first look
	by      map[string]string
}

// of returns host:port, empty when gossip does not know the node.
func (a *addresses) of(id string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stale() {
		a.changed = a.members.Changed() // before the look, so that no change is missed
		a.by = make(map[string]string)
		for _, m := range a.members.Members() {
			a.by[m.ID] = m.Raft
		}
	}
	return a.by[id]
}

func (a *addresses) stale() bool {
	if a.changed == nil {
		return true
	}
	select {
	case <-a.changed:
		return true
	default:
		return false
	}
}
