package membership

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// Transport carries gossip and finds out where it goes. There are two: sockets,
// and those of a [Network].
type Transport interface {
	memberlist.NodeAwareTransport
	// Lookup returns all addresses of a name.
	Lookup(ctx context.Context, host string) ([]netip.Addr, error)
	// Own reports whether what is sent to an address comes back to this transport.
	Own(addr netip.AddrPort) bool
}

// sockets is the transport of real nodes: UDP for packets, TCP for streams, one
// port for both. Streams that it dialled are cut when it shuts down, so that
// nothing waits for a peer that hangs.
type sockets struct {
	*memberlist.NetTransport
	listen netip.AddrPort
	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
}

// listenTries is how often a free port is drawn: one that is free for TCP may be
// taken for UDP.
const listenTries = 10

// openSockets listens on host:port.
func openSockets(ctx context.Context, address string, bridge *bridge) (*sockets, error) {
	host, port, err := splitPort(address, -1)
	if err != nil {
		return nil, err
	}
	ip := netip.IPv4Unspecified()
	if host != "" {
		ips, err := lookup(ctx, host)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", address, err)
		}
		ip = ips[0]
	}
	config := &memberlist.NetTransportConfig{BindAddrs: []string{ip.String()}, BindPort: port, Logger: bridge.logger()}
	var inner *memberlist.NetTransport
	for range listenTries {
		if inner, err = memberlist.NewNetTransport(config); err == nil || port != 0 {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	s := &sockets{NetTransport: inner, listen: netip.AddrPortFrom(ip, uint16(inner.GetAutoBindPort()))}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Lookup implements Transport.
func (s *sockets) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return lookup(ctx, host)
}

// Own implements Transport.
func (s *sockets) Own(addr netip.AddrPort) bool {
	if addr.Port() != s.listen.Port() {
		return false
	}
	if !s.listen.Addr().IsUnspecified() {
		return addr.Addr() == s.listen.Addr()
	}
	if addr.Addr().IsLoopback() {
		return true
	}
	mine, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(mine, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr() == addr.Addr()
	})
}

// DialTimeout implements memberlist.Transport.
func (s *sockets) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: timeout}
	conn, err := dialer.DialContext(s.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &dialled{Conn: conn, stop: context.AfterFunc(s.ctx, func() { _ = conn.Close() })}, nil
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (s *sockets) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return s.DialTimeout(addr.Addr, timeout)
}

// Shutdown implements memberlist.Transport.
func (s *sockets) Shutdown() error {
	s.cancel()
	return s.NetTransport.Shutdown()
}

// dialled is a stream that is cut when its transport shuts down.
type dialled struct {
	net.Conn
	stop func() bool
}

// Close implements net.Conn.
func (d *dialled) Close() error {
	d.stop()
	return d.Conn.Close()
}

// lookup returns the addresses of an IP address or a name, IPv4 first.
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("lookup %s: no addresses", host)
	}
	for i, ip := range found {
		found[i] = ip.Unmap()
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return found, nil
}

// advertise returns the IP address that gossip tells for this node, empty to
// leave it to the transport. A name that cannot be resolved yet must not keep
// the node down: then it is what is listened on, and the problem is returned too.
func advertise(ctx context.Context, t Transport, name string) (ip string, problem error) {
	if name == "" {
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	ips, err := t.Lookup(ctx, name)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(ips, dialable)
	if i < 0 {
		return "", fmt.Errorf("%w: nobody can dial an address of %s", ErrAdvertise, name)
	}
	return ips[i].String(), nil
}

// lookupTimeout bounds each resolution of a name.
const lookupTimeout = 3 * time.Second

// plain makes the library's errors, which have several lines, one of bounded
// length.
func plain(err error) string {
	var parts []string
	for part := range strings.SplitSeq(err.Error(), "\n") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "* ")
		if part != "" && !strings.HasSuffix(part, "occurred:") {
			parts = append(parts, part)
		}
	}
	const most = 400
	text := strings.Join(parts, "; ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
