package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,62}))*\.?$`)

// isHost reports whether s is an IP address (without brackets) or a DNS name.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	// A name whose last label is a number is an IP address gone wrong (RFC 3696 §2).
	tail := s[strings.LastIndexByte(s, '.')+1:]
	if _, err := strconv.Atoi(tail); err == nil {
		return false
	}
	return len(s) <= 253 && dnsName.MatchString(s)
}

// isLoopback reports whether only this machine reaches a listener at host.
// Names other than localhost are not resolved: they count as reachable.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// isEveryInterface reports whether host stands for all addresses of a machine.
func isEveryInterface(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// splitAddress takes host:port apart. The host may be empty, the port 0–65535.
func splitAddress(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, errors.New("want host:port")
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %s is not a number from 0 to 65535", quote(text))
	}
	if host != "" && !isHost(host) {
		return "", 0, fmt.Errorf("host %s is neither an IP address nor a name", quote(host))
	}
	return host, int(n), nil
}

// splitList takes a list with commas apart; blanks and empty items go.
func splitList(s string) []string {
	var out []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	return out
}

// listener is an address that a node listens on, and what for.
type listener struct {
	what string
	host string
	port int
	at   position
}

// clashes reports whether two listeners cannot both have their port.
func (l listener) clashes(m listener) bool {
	if l.port != m.port || l.port == 0 {
		return false
	}
	if isEveryInterface(l.host) || isEveryInterface(m.host) {
		return true
	}
	return strings.EqualFold(l.host, m.host) || isLoopback(l.host) && isLoopback(m.host) &&
		(strings.EqualFold(l.host, "localhost") || strings.EqualFold(m.host, "localhost"))
}
