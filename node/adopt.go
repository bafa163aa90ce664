package node

import "github.com/bucket-relay/bucket-relay/fsm"

// dialAddress is where a listener at an address is called from the same machine.
func dialAddress(address string) string {
	if address == "" || isEveryInterface(address) {
		return DefaultCollectorAddress
	}
	return address
}

// adopt gives a collector what its entry in the table says and it does not.
// One without an id is the only entry of its cluster that agrees with it, if
// there is just one that no other collector of this node names.
func adopt(c *Collector, t fsm.Table, named map[fsm.CollectorID]bool) {
	entry, ok := t.Collector(c.ID)
	if c.ID == "" {
		entry, ok = lone(*c, t.Clusters[c.Cluster].Collectors, named)
	}
	if !ok {
		return
	}
	c.ID = entry.ID
	named[c.ID] = true
	if c.Port == 0 {
		c.Port = entry.Port
	}
	if c.Address == "" {
		c.Address = entry.Address
	}
}

func lone(c Collector, entries []fsm.Collector, named map[fsm.CollectorID]bool) (fsm.Collector, bool) {
	var found []fsm.Collector
	for _, e := range entries {
		agrees := (c.Address == "" || c.Address == e.Address) && (c.Port == 0 || c.Port == e.Port)
		if agrees && !named[e.ID] {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		return fsm.Collector{}, false
	}
	return found[0], true
}
