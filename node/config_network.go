package node

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"
)

// NetworkKind is the way in which a node is in a network.
type NetworkKind string

// The kinds. Each node is of exactly one.
const (
	// KindStatic follows a file that lists all clusters; it talks to no network.
	KindStatic NetworkKind = "static"
	// KindClient follows the members that network.servers names, over HTTP.
	KindClient NetworkKind = "client"
	// KindMember carries the table itself, with raft and gossip, be it alone.
	KindMember NetworkKind = "member"
)

// Kind says how the node is in a network: by what of network: is set, and
// without any of it as a member of a network of one.
func (c Config) Kind() NetworkKind {
	switch {
	case c.Network.Static != "":
		return KindStatic
	case len(c.Network.Servers) > 0:
		return KindClient
	}
	return KindMember
}

// maxMemberName bounds the name of a member, in bytes: gossip carries it in
// every packet about the node.
const maxMemberName = 64

// maxExpect is the most nodes that can be told to form a network together. As
// many more as one likes may join it afterwards.
const maxExpect = 99

// checkNetwork judges the section network: and what others must know of a node
// to reach it.
func (c Config) checkNetwork(ps *Problems) {
	n := c.Network
	if n.Heartbeat < time.Second {
		ps.add(c.at("network.heartbeat"), "write at least 1s", "heartbeat is %s", n.Heartbeat)
	}
	if n.DeadAfter < time.Minute {
		ps.add(c.at("network.dead_after"), "write at least 1m; a node that is only being restarted must not be removed", "dead_after is %s", n.DeadAfter)
	}
	c.within(ps, "network", "collector_port_start", n.PortStart, 1, 65535)
	c.within(ps, "network", "raft_multiplier", n.RaftMultiplier, 1, 10)
	if n.MaxVoters < 1 || n.MaxVoters > 9 || n.MaxVoters%2 == 0 {
		ps.add(c.at("network.max_voters"), "write 1, 3, 5, 7 or 9: an even number survives no more failures than the odd one below it",
			"max_voters is %d", n.MaxVoters)
	}
	c.within(ps, "network", "bootstrap_expect", n.BootstrapExpect, 0, maxExpect)
	c.checkKind(ps)
	c.checkJoin(ps)
	c.checkServers(ps)
	if c.Kind() == KindMember && len(c.Name) > maxMemberName {
		ps.add(c.at("name"), fmt.Sprintf("write at most %d bytes", maxMemberName), "name has %d bytes, too many for gossip", len(c.Name))
	}
	c.checkReachable(ps)
}

// checkKind refuses keys that stand for different ways to be in a network.
func (c Config) checkKind(ps *Problems) {
	n := c.Network
	keys := []struct {
		name string
		set  bool
	}{{"static", n.Static != ""}, {"servers", len(n.Servers) > 0}, {"join", len(n.Join) > 0}, {"bootstrap_expect", n.BootstrapExpect != 0}}
	for i, first := range keys[:2] {
		if !first.set {
			continue
		}
		for _, other := range keys[i+1:] {
			if other.set {
				ps.add(c.at("network."+other.name), "remove one of the two", "network.%s cannot stand beside network.%s", other.name, first.name)
			}
		}
		return
	}
}

// checkJoin judges the addresses to join, and whether this node may form a
// network without them.
func (c Config) checkJoin(ps *Problems) {
	for i, address := range c.Network.Join {
		at := c.at(fmt.Sprintf("network.join[%d]", i), "network.join")
		host, port, err := splitAddress(address)
		switch {
		case err != nil:
			ps.add(at, "write the gossip address of a node: n1:10090", "join: %s: %v", quote(address), err)
		case port == 0 || isEveryInterface(host):
			ps.add(at, "write the gossip address of a node: n1:10090", "join: %s is no address that can be called", quote(address))
		case c.Network.BootstrapExpect == 1 && !c.isSelf(host, port):
			ps.add(at, "leave bootstrap_expect out to join that network, or join to form one alone; nodes that form one together all write how many they are",
				"bootstrap_expect is 1, a network of this node alone, but join names another node, %s", quote(address))
		}
	}
}

// isSelf reports whether a gossip address is this node's own, as far as that
// can be told without asking anybody.
func (c Config) isSelf(host string, port int) bool {
	own, ownPort, err := splitAddress(c.Gossip)
	if err != nil || port != ownPort {
		return false
	}
	machine, _ := os.Hostname()
	for _, name := range []string{own, c.Advertise, c.Name, machine} {
		if name != "" && strings.EqualFold(host, name) {
			return true
		}
	}
	// localhost and an address of it; every address of a machine that listens on all.
	return isLoopback(host) && (isEveryInterface(own) || isLoopback(own) && (strings.EqualFold(host, "localhost") || strings.EqualFold(own, "localhost")))
}

// checkServers judges the URLs of the members that a client follows.
func (c Config) checkServers(ps *Problems) {
	for i, server := range c.Network.Servers {
		at := c.at(fmt.Sprintf("network.servers[%d]", i), "network.servers")
		const remedy = "write the admin API of a node: http://n1:10088"
		u, err := url.Parse(server)
		switch {
		case err != nil:
			ps.add(at, remedy, "servers: %s is no URL", quote(server))
		case u.Scheme != "http" || u.Host == "":
			ps.add(at, remedy, "servers: %s does not begin with http:// and a host", quote(server))
		case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
			ps.add(at, remedy, "servers: %s has more than a host and a port", quote(server))
		case !isHost(u.Hostname()) || !isPort(u.Port()):
			ps.add(at, remedy, "servers: %s has no legal host and port", quote(server))
		}
	}
}

// isPort reports whether a URL's port is none or 1–65535.
func isPort(text string) bool {
	if text == "" {
		return true
	}
	_, port, err := splitAddress(":" + text)
	return err == nil && port > 0
}

// hasPeers reports whether other nodes are to reach this one: a member that
// joins others or forms a network with them.
func (c Config) hasPeers() bool {
	return c.Kind() == KindMember && (c.Network.BootstrapExpect > 1 || c.joinsOthers())
}

func (c Config) joinsOthers() bool {
	for _, address := range c.Network.Join {
		if host, port, err := splitAddress(address); err == nil && !c.isSelf(host, port) {
			return true
		}
	}
	return false
}

// checkReachable refuses a listener on every interface whose address nobody can
// be told: "every interface" is none that others can call. Those of a member
// matter to its peers, its collectors to every uploader.
func (c Config) checkReachable(ps *Problems) {
	if c.Advertise != "" || !c.hasPeers() && c.Kind() != KindClient {
		return
	}
	for _, l := range c.listeners() {
		if isEveryInterface(l.host) && (l.what != "http" || c.hasPeers()) {
			ps.add(l.at, "write advertise: and the IP address or DNS name by which others reach this machine",
				"%s listens on every interface, and without advertise the others are not told on which address", l.what)
		}
	}
}

// networkWarnings are what of network: is odd but may be meant.
func (c Config) networkWarnings(ps *Problems) {
	n := c.Network
	if n.BootstrapExpect > 0 && n.BootstrapExpect%2 == 0 {
		ps.add(c.at("network.bootstrap_expect"), "write an odd number",
			"bootstrap_expect is %d: that many voters survive no more failures than %d", n.BootstrapExpect, n.BootstrapExpect-1)
	}
	if n.BootstrapExpect > 9 {
		ps.add(c.at("network.bootstrap_expect"), "form the network with 3 or 5 nodes and let the others join",
			"bootstrap_expect is %d: every change waits for more than half of them", n.BootstrapExpect)
	}
	if n.BootstrapExpect > 1 && !c.joinsOthers() {
		ps.add(c.at("network.bootstrap_expect"), "write join: with the gossip addresses of the others",
			"bootstrap_expect is %d but join names nobody else: the network is formed only when the others join this node", n.BootstrapExpect)
	}
	if n.BootstrapExpect == 0 && len(n.Join) > 0 && !c.joinsOthers() {
		ps.add(c.at("network.join"), "name another node, or leave join out for a network of this node alone",
			"join names nobody else: until another node joins this one, it waits")
	}
	if c.callsAway() {
		c.loopbackWarnings(ps)
	}
}

// callsAway reports whether the node is in a network with other machines.
func (c Config) callsAway() bool {
	for _, address := range c.Network.Join {
		if host, port, err := splitAddress(address); err == nil && !c.isSelf(host, port) && !isLoopback(host) {
			return true
		}
	}
	for _, server := range c.Network.Servers {
		if u, err := url.Parse(server); err == nil && !isLoopback(u.Hostname()) {
			return true
		}
	}
	return false
}

// loopbackWarnings tell of what other machines cannot reach although they will
// be told to.
func (c Config) loopbackWarnings(ps *Problems) {
	if isLoopback(c.Advertise) {
		ps.add(c.at("advertise"), "write the IP address or DNS name by which others reach this machine",
			"advertise is %s, where other machines reach themselves", c.Advertise)
	}
	for _, l := range c.listeners() {
		if isLoopback(l.host) && (l.what != "http" || c.Kind() == KindMember) {
			ps.add(l.at, "listen on an address of this machine that others reach", "%s listens on %s, which no other machine of the network reaches", l.what, l)
		}
	}
}
