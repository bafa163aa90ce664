package httpapi

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

const (
	maxSkipPorts = 1000
	minHeartbeat = time.Second
	maxHeartbeat = 24 * time.Hour
)

// check judges a registration by itself: ErrInvalid with words.
func (r Registration) check() error {
	if err := checkHost(r.Address); err != nil {
		return err
	}
	if r.Node != "" {
		if err := fsm.CheckIdent(r.Node); err != nil {
			return refusal(ErrInvalid, "node %v", err)
		}
	}
	switch {
	case r.Node == "" && !r.External:
		return refusal(ErrInvalid, "a collector without a node has to be external")
	case r.Port < 0 || r.Port > 65535:
		return refusal(ErrInvalid, "port %d: want 1 to 65535, or none to be given one", r.Port)
	case r.PortStart < 0 || r.PortStart > 65535:
		return refusal(ErrInvalid, "port_start %d: want 1 to 65535, or none", r.PortStart)
	case len(r.SkipPorts) > maxSkipPorts:
		return refusal(ErrInvalid, "%d ports to skip: want at most %d", len(r.SkipPorts), maxSkipPorts)
	case r.External != (r.Heartbeat != ""):
		return refusal(ErrInvalid, "external and heartbeat go together")
	}
	if r.External {
		every, err := time.ParseDuration(r.Heartbeat)
		if err != nil || every < minHeartbeat || every > maxHeartbeat {
			return refusal(ErrInvalid, "heartbeat %.40q: want a duration from %v to %v", r.Heartbeat, minHeartbeat, maxHeartbeat)
		}
	}
	return nil
}

// checkHost reports whether uploaders may be told to dial s: a DNS name, or an IP
// address that stands for one host wherever it is called from.
func checkHost(s string) error {
	ip, err := netip.ParseAddr(s)
	switch {
	case err == nil && (ip.IsUnspecified() || ip.IsMulticast() || ip.Zone() != ""):
		return refusal(ErrInvalid, "address %.100q means nothing elsewhere: want the one that uploaders reach it by", s)
	case err == nil, isDNSName(s):
		return nil
	}
	return refusal(ErrInvalid, "address %.100q: want an IP address or a DNS name, without a port", s)
}

// maxHost bounds an address in bytes, as DNS does.
const maxHost = 253

var labelForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// isDNSName reports whether s has the form of a name. One of digits and dots
// alone is a mistyped IP address: names do not end in a number (RFC 3696 2).
func isDNSName(s string) bool {
	if len(s) > maxHost {
		return false
	}
	last := ""
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if !labelForm.MatchString(label) {
			return false
		}
		last = label
	}
	return strings.Trim(last, "0123456789") != ""
}
