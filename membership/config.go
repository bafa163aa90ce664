package membership

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// DefaultPort is that of a seed that names none.
const DefaultPort = 10090

// Config is what a pool is opened with.
type Config struct {
	// Meta is what this node tells of itself at first.
	Meta Meta
	// Listen is the host:port for packets (UDP) and streams (TCP). The host is an
	// IP address or a name; empty, it stands for every IPv4 address of the machine.
	// Port 0 takes a free one. Not used with a Transport.
	Listen string
	// Advertise is the IP address or DNS name by which the others reach this
	// node's gossip. Gossip carries IP addresses only, so a name is resolved once,
	// here. Empty: the address that is listened on, or a private address of the
	// machine if that is every address.
	Advertise string
	// Seeds are the nodes to join through, as host:port or host. Names are
	// resolved anew at every try, all their addresses are tried, and this node's
	// own address among them is skipped.
	Seeds []string
	// Logger is told of members that come and go and of what the gossip library
	// has to say. Nil discards.
	Logger *slog.Logger
	// Transport carries the gossip. Nil: sockets. Tests take one of a Network.
	Transport Transport
	// Profile is how fast failures are found, at what price. The zero value is
	// DefaultProfile.
	Profile Profile
}

// Profile is how fast failures are found. A node is suspected when it did not
// answer within ProbeInterval, and fails when nobody heard of it for another
// SuspicionMult to twice that many intervals (more from ten members on: times
// log10 of their number).
type Profile struct {
	ProbeInterval    time.Duration // between the probes of a node, each of one other
	ProbeTimeout     time.Duration // until others are asked to probe as well; above the usual round trip
	GossipInterval   time.Duration // between packets with news
	PushPullInterval time.Duration // between full exchanges with one other; grows from 32 members on
	SuspicionMult    int
}

// DefaultProfile finds a dead node in about a second where memberlist's own
// profile for a LAN takes seven. DESIGN.md tells what it costs.
func DefaultProfile() Profile {
	return Profile{
		ProbeInterval:    200 * time.Millisecond,
		ProbeTimeout:     100 * time.Millisecond,
		GossipInterval:   50 * time.Millisecond,
		PushPullInterval: 12 * time.Second,
		SuspicionMult:    3,
	}
}

// validate reports everything that is wrong with c.
func (c Config) validate() error {
	errs := []error{c.Meta.Validate()}
	if c.Transport == nil {
		if _, _, err := splitPort(c.Listen, -1); err != nil {
			errs = append(errs, fmt.Errorf("listen address: %w", err))
		}
	}
	if ip, err := netip.ParseAddr(c.Advertise); err == nil && !dialable(ip) {
		errs = append(errs, fmt.Errorf("%w: nobody can dial %s", ErrAdvertise, ip))
	}
	for _, seed := range c.Seeds {
		if _, _, err := splitPort(seed, DefaultPort); err != nil {
			errs = append(errs, fmt.Errorf("seed: %w", err))
		}
	}
	p := c.Profile
	if p.ProbeInterval <= 0 || p.ProbeTimeout <= 0 || p.GossipInterval <= 0 || p.PushPullInterval <= 0 || p.SuspicionMult <= 0 {
		errs = append(errs, errors.New("profile: every field must be positive"))
	}
	if p.ProbeTimeout >= p.ProbeInterval {
		errs = append(errs, fmt.Errorf("profile: probe timeout %v leaves no time for others in the probe interval %v", p.ProbeTimeout, p.ProbeInterval))
	}
	return errors.Join(errs...)
}

// splitPort takes host:port apart. Without a port it takes the given one, unless
// that is negative.
func splitPort(s string, port int) (host string, n int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err == nil {
		value, err := strconv.ParseUint(text, 10, 16)
		if err != nil {
			return "", 0, fmt.Errorf("%q: port %q is not a number from 0 to 65535", s, text)
		}
		return host, int(value), nil
	}
	if port < 0 || s == "" {
		return "", 0, fmt.Errorf("%q is not host:port", s)
	}
	if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") {
		return "", 0, fmt.Errorf("%q is neither host:port nor host", s)
	}
	return s, port, nil
}

// dialable reports whether an address means one machine.
func dialable(ip netip.Addr) bool { return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() }

// listConfig is the library's configuration for this profile. Compression is
// off: ids do not compress, and each packet would cost a fresh dictionary.
func (p Profile) listConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.ProbeInterval, c.ProbeTimeout = p.ProbeInterval, p.ProbeTimeout
	c.GossipInterval, c.PushPullInterval = p.GossipInterval, p.PushPullInterval
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = p.SuspicionMult, 2
	c.TCPTimeout = streamTimeout
	// A node that did not hear of others in time takes itself for slow, and probes
	// less often: here no more than half as often, where the library has an
	// eighth. With timeouts this short a single death makes it think so.
	c.AwarenessMaxMultiplier = 2
	c.RetransmitMult = retransmitMult
	c.EnableCompression = false
	return c
}

// streamTimeout bounds dialling a stream and each exchange on it.
const streamTimeout = 5 * time.Second

// retransmitMult is how often each node passes a piece of news on, times the
// digits of the number of nodes. The library's 4 left one of nine nodes without
// the news in 6 of 100 trials, until the next full exchange; 8 in 1 of 1000.
const retransmitMult = 8
