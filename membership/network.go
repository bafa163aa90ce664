package membership

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Network carries the gossip of many pools in memory, for tests: packets and
// streams that can be cut, delayed and lost, and names. It works under
// testing/synctest: make it and its transports in the bubble. Let some seconds
// pass in the bubble after the last Close, for the library's last probe ends by
// time alone. Safe for concurrent use.
type Network struct {
	mu      sync.Mutex
	ends    map[netip.AddrPort]*endpoint
	names   map[string][]netip.Addr
	cuts    map[[2]string]bool // from, to: host:port or host
	delay   time.Duration
	loss    float64
	traffic Traffic
}

// Traffic counts what a Network has carried, or had to lose.
type Traffic struct {
	Packets, PacketBytes uint64 // without the headers of UDP and IP
	Streams, StreamBytes uint64
}

// NewNetwork returns a network without nodes, cuts, delay and loss.
func NewNetwork() *Network {
	return &Network{
		ends: make(map[netip.AddrPort]*endpoint), names: make(map[string][]netip.Addr), cuts: make(map[[2]string]bool),
	}
}

// Transport returns a transport at ip:port, for one pool. An address is free
// again when its pool is closed or killed; a pool at one that is taken, or is no
// address, does not open.
func (n *Network) Transport(addr string) Transport {
	e := &endpoint{
		net: n, packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn, 256), conns: make(map[*conn]bool),
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		e.broken = err
		return e
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ends[at] != nil {
		e.broken = fmt.Errorf("listen on %s: address already in use", addr)
		return e
	}
	e.at = at
	n.ends[at] = e
	return e
}

// SetName makes a name resolve to the given IP addresses; with none it is not
// resolved any more.
func (n *Network) SetName(name string, ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.names, name)
	for _, ip := range ips {
		n.names[name] = append(n.names[name], netip.MustParseAddr(ip))
	}
}

// Cut drops from now on what is sent from one address to another, and not the
// other way. Each is a host:port, or a host for all ports of it. What is lost on
// a stream is lost for good: its reader waits for its deadline.
func (n *Network) Cut(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[[2]string{from, to}] = true
}

// Part cuts both ways between every address of one group and every one of the
// other.
func (n *Network) Part(group, others []string) {
	for _, a := range group {
		for _, b := range others {
			n.Cut(a, b)
			n.Cut(b, a)
		}
	}
}

// Heal undoes all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// SetDelay makes everything arrive that much later.
func (n *Network) SetDelay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// SetLoss loses packets with the given probability, 0 to 1. Streams lose nothing.
func (n *Network) SetLoss(probability float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = probability
}

// Kill ends what is at an address as kill -9 does: its streams are cut, nobody
// is told, and the address is free. Its pool is to be closed all the same.
func (n *Network) Kill(addr string) {
	n.mu.Lock()
	at, _ := netip.ParseAddrPort(addr)
	e := n.ends[at]
	n.mu.Unlock()
	if e != nil {
		_ = e.Shutdown() // never fails
	}
}

// Traffic returns what was carried since the network was made.
func (n *Network) Traffic() Traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.traffic
}

// cutLocked reports whether what is sent from one address to another is dropped.
func (n *Network) cutLocked(from, to netip.AddrPort) bool {
	if len(n.cuts) == 0 {
		return false
	}
	for _, a := range []string{from.String(), from.Addr().String()} {
		for _, b := range []string{to.String(), to.Addr().String()} {
			if n.cuts[[2]string{a, b}] {
				return true
			}
		}
	}
	return false
}

// endpoint is one address of a Network.
type endpoint struct {
	net     *Network
	at      netip.AddrPort
	broken  error // why it cannot be used
	packets chan *memberlist.Packet
	streams chan net.Conn
	conns   map[*conn]bool // guarded by net.mu; open ones of this side
}

var errNotThere = errors.New("connection refused")

// FinalAdvertiseAddr implements memberlist.Transport.
func (e *endpoint) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	if e.broken != nil {
		return nil, 0, e.broken
	}
	return e.at.Addr().AsSlice(), int(e.at.Port()), nil
}

// Lookup implements Transport.
func (e *endpoint) Lookup(_ context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	if ips := e.net.names[host]; len(ips) > 0 {
		return slices.Clone(ips), nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// Own implements Transport.
func (e *endpoint) Own(addr netip.AddrPort) bool { return addr == e.at }

// WriteTo implements memberlist.Transport. Like UDP it says nothing of what is
// lost.
func (e *endpoint) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	n := e.net
	n.mu.Lock()
	n.traffic.Packets++
	n.traffic.PacketBytes += uint64(len(b))
	lost := n.ends[e.at] != e || n.cutLocked(e.at, to) || n.loss > 0 && rand.Float64() < n.loss
	delay := n.delay
	n.mu.Unlock()
	if lost {
		return now, nil
	}
	p := &memberlist.Packet{Buf: slices.Clone(b), From: net.UDPAddrFromAddrPort(e.at)}
	if delay > 0 {
		time.AfterFunc(delay, func() { n.deliver(to, p) })
	} else {
		n.deliver(to, p)
	}
	return now, nil
}

// deliver hands a packet over, unless nobody is there or its queue is full.
func (n *Network) deliver(to netip.AddrPort, p *memberlist.Packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.Timestamp = time.Now()
	if e := n.ends[to]; e != nil {
		select {
		case e.packets <- p:
		default:
		}
	}
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (e *endpoint) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	return e.WriteTo(b, addr.Addr)
}

// PacketCh implements memberlist.Transport.
func (e *endpoint) PacketCh() <-chan *memberlist.Packet { return e.packets }

// StreamCh implements memberlist.Transport.
func (e *endpoint) StreamCh() <-chan net.Conn { return e.streams }

// DialTimeout implements memberlist.Transport. Where a cut lies on the way, one
// way or the other, it waits for the timeout; where nobody listens it is refused.
func (e *endpoint) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	fail := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fail(err)
	}
	n := e.net
	n.mu.Lock()
	cut := n.cutLocked(e.at, to) || n.cutLocked(to, e.at)
	delay := 2 * n.delay // there and back
	n.mu.Unlock()
	if cut || delay > timeout {
		time.Sleep(timeout)
		return nil, fail(context.DeadlineExceeded)
	}
	time.Sleep(delay)
	n.mu.Lock()
	defer n.mu.Unlock()
	other := n.ends[to]
	if other == nil || n.ends[e.at] != e || len(other.streams) == cap(other.streams) {
		return nil, fail(fmt.Errorf("%s: %w", addr, errNotThere))
	}
	n.traffic.Streams++
	mine, theirs := newStream(e, other)
	other.streams <- theirs // there is room, and only mu's holder fills it
	return mine, nil
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (e *endpoint) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return e.DialTimeout(addr.Addr, timeout)
}

// Shutdown implements memberlist.Transport.
func (e *endpoint) Shutdown() error {
	e.net.mu.Lock()
	if e.net.ends[e.at] == e {
		delete(e.net.ends, e.at)
	}
	open := slices.Collect(maps.Keys(e.conns))
	e.net.mu.Unlock()
	for _, c := range open {
		_ = c.Close() // never fails
	}
	return nil
}
