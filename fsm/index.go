package fsm

import (
	"cmp"
	"slices"
)

const maxPort = 65535

// index finds collectors by what a registration says of them. It is derived
// from the clusters: a snapshot does not hold it.
type index struct {
	home  map[CollectorID]ClusterName
	hosts map[string][]slot // by plain host, sorted; a port stands once
	nodes map[string][]slot // by node id, sorted; not of collectors without a node
}

// slot is a port in use.
type slot struct {
	port    int
	id      CollectorID
	cluster ClusterName
	node    string
}

func newIndex() index {
	return index{home: map[CollectorID]ClusterName{}, hosts: map[string][]slot{}, nodes: map[string][]slot{}}
}

func slotOf(c Collector) slot { return slot{c.Port, c.ID, c.Cluster, c.Node} }

func (a slot) compare(b slot) int {
	return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.id, b.id))
}

func (x *index) add(c Collector) {
	x.home[c.ID] = c.Cluster
	insertSlot(x.hosts, plainHost(c.Address), slotOf(c))
	if c.Node != "" {
		insertSlot(x.nodes, c.Node, slotOf(c))
	}
}

func (x *index) remove(c Collector) {
	delete(x.home, c.ID)
	removeSlot(x.hosts, plainHost(c.Address), slotOf(c))
	removeSlot(x.nodes, c.Node, slotOf(c))
}

func insertSlot(m map[string][]slot, key string, s slot) {
	at, _ := slices.BinarySearchFunc(m[key], s, slot.compare)
	m[key] = slices.Insert(m[key], at, s)
}

func removeSlot(m map[string][]slot, key string, s slot) {
	at, found := slices.BinarySearchFunc(m[key], s, slot.compare)
	if !found {
		return
	}
	if m[key] = slices.Delete(m[key], at, at+1); len(m[key]) == 0 {
		delete(m, key)
	}
}

// from gives the slots with a port of at least p.
func from(slots []slot, p int) []slot {
	at, _ := slices.BinarySearchFunc(slots, p, func(s slot, p int) int { return cmp.Compare(s.port, p) })
	return slots[at:]
}

// at finds the collector at a plain host and port.
func (x *index) at(host string, port int) (CollectorID, bool) {
	if s := from(x.hosts[host], port); len(s) > 0 && s[0].port == port {
		return s[0].id, true
	}
	return "", false
}

// freePort gives the lowest port from start on that nobody has at the host or
// on the node and that is not to be skipped; 0 when there is none.
func (x *index) freePort(host, node string, start int, skip map[int]bool) int {
	there, own := from(x.hosts[host], start), from(x.nodes[node], start)
	for p := start; p <= maxPort; p++ {
		taken := skip[p]
		for len(there) > 0 && there[0].port == p {
			there, taken = there[1:], true
		}
		for len(own) > 0 && own[0].port == p {
			own, taken = own[1:], true
		}
		if !taken {
			return p
		}
	}
	return 0
}

// registered finds the collector of a cluster and a node at a plain host, and
// at a port unless that is 0; of several, the one with the lowest id.
func (x *index) registered(cluster ClusterName, node, host string, port int) (CollectorID, bool) {
	var found CollectorID
	for _, s := range from(x.hosts[host], port) {
		if port != 0 && s.port != port {
			break
		}
		if s.cluster == cluster && s.node == node && (found == "" || s.id < found) {
			found = s.id
		}
	}
	return found, found != ""
}
