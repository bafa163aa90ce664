package membership

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Role is what a node is to raft.
type Role string

// The roles. A role that this program does not know is told as none.
const (
	RoleNone     Role = "" // not part of a network yet
	RoleLeader   Role = "leader"
	RoleVoter    Role = "voter"
	RoleNonvoter Role = "nonvoter" // has the log, does not vote
	RoleFollower Role = "follower" // follows the table without raft
)

// Intent is what a node is about to do. It is told before it happens, for
// gossip does not carry a reason when a node goes.
type Intent string

// The intents.
const (
	IntentNone  Intent = ""
	IntentStop  Intent = "stop"  // stops for now and stays a member
	IntentLeave Intent = "leave" // leaves the network for good
)

// Bounds of what a Meta holds.
const (
	MaxNameBytes      = 64
	MaxAdvertiseBytes = 253 // of a DNS name, RFC 1035 §2.3.4
)

// Meta is what a node tells the others of itself. Encoded it takes at most
// 372 bytes, of the 480 it may take; doc.go draws it.
type Meta struct {
	NodeID     string // UUID in lower case, made once; the identity of the node
	NetworkID  string // likewise; empty until it is known
	Name       string // for people; UTF-8 without control characters, at most MaxNameBytes
	Generation uint64 // grows at each start of the node
	HTTPPort   int    // 0 to 65535; 0 is "none"
	RaftPort   int    // likewise
	Advertise  string // IP or DNS name that others dial for HTTP and raft; empty: the gossip address
	Expect     int    // how many nodes are to form the network, 0 to 65535; 0 is "not told"
	HasState   bool   // has raft state on disk
	Role       Role
	Intent     Intent
	Level      int // highest level of replicated commands it understands, 0 to 65535
}

// Validate reports everything that is wrong with m, each problem an ErrMeta.
func (m Meta) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrMeta}, args...)...))
		}
	}
	bad(!isUUID(m.NodeID), "node id %q is not a UUID in lower case", m.NodeID)
	bad(m.NetworkID != "" && !isUUID(m.NetworkID), "network id %q is not a UUID in lower case", m.NetworkID)
	bad(!isName(m.Name), "name %q is not 1 to %d bytes of plain text", m.Name, MaxNameBytes)
	bad(!isHostText(m.Advertise), "advertised host %q is neither an IP address nor a DNS name", m.Advertise)
	for _, n := range []struct {
		what  string
		value int
	}{{"HTTP port", m.HTTPPort}, {"raft port", m.RaftPort}, {"expect", m.Expect}, {"level", m.Level}} {
		bad(n.value < 0 || n.value > math.MaxUint16, "%s %d is not from 0 to 65535", n.what, n.value)
	}
	return errors.Join(errs...)
}

// gossipName is the name of this start of the node in gossip.
func (m Meta) gossipName() string { return m.NodeID + "." + strconv.FormatUint(m.Generation, 10) }

// isUUID reports whether s is a UUID in lower case, and not the one of zeros.
func isUUID(s string) bool {
	_, err := parseUUID(s)
	return err == nil && s != zeroUUID
}

// isName reports whether s may be shown to a person as the name of a node.
func isName(s string) bool {
	return s != "" && len(s) <= MaxNameBytes && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// isHostText reports whether s consists of what IP addresses and DNS names
// consist of. Whether it leads anywhere is seen when it is dialled.
func isHostText(s string) bool {
	return len(s) <= MaxAdvertiseBytes && !strings.ContainsFunc(s, func(r rune) bool {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !plain && !strings.ContainsRune(".-_:", r)
	})
}
