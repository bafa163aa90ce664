package fsm

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// ClusterName names a group of collectors, the target of routing. It obeys
// [CheckIdent].
type ClusterName string

// CollectorID names one collector within the whole network. It obeys
// [CheckIdent].
type CollectorID string

// Mode says how the collectors of a cluster share its files.
type Mode string

// The modes of a cluster. The empty string means ModeAll.
const (
	// ModeAll gives every collector a copy of every file.
	ModeAll Mode = "all"
	// ModeOne gives each file to one collector, the least busy first.
	ModeOne Mode = "one"
	// ModeKey gives all files with one key to one collector, by rendezvous hash.
	ModeKey Mode = "key"
)

// DefaultFailoverAfter is how long an item of a one or key cluster whose
// outcome is unknown waits for the same collector before another gets it.
const DefaultFailoverAfter = 30 * time.Second

// State says whether a collector takes new files.
type State string

// The states of a collector. A draining collector gets nothing new.
const (
	StateActive   State = "active"
	StateDraining State = "draining"
)

// Collector is one receiver of files: an inbox behind an HTTP address.
type Collector struct {
	ID      CollectorID
	Cluster ClusterName
	Node    string // id or name of the node that runs it; empty if not known
	Address string // IP address or host name, without port
	Port    int    // 1–65535
	State   State
	// External is set when no member of the network runs it: the original's, and
	// those of nodes that are in the network as clients only.
	External bool
}

// HostPort returns the collector's address in the form that net.Dial takes.
func (c Collector) HostPort() string {
	return net.JoinHostPort(c.Address, strconv.Itoa(c.Port))
}

// Cluster is a named group of collectors.
type Cluster struct {
	Name          ClusterName
	Mode          Mode
	Key           *regexp.Regexp // ModeKey: the first group, else the whole match, is the key
	FailoverAfter time.Duration
	Collectors    []Collector // sorted by ID
}

// Table is an immutable view of all clusters. The zero value is an empty table
// at index 0. Nobody may change the map or the slices once it is shared.
type Table struct {
	Index    uint64 // grows with every change
	Clusters map[ClusterName]Cluster
}

// Names returns the names of all clusters, sorted.
func (t Table) Names() []ClusterName {
	return slices.Sorted(maps.Keys(t.Clusters))
}

// Collector finds a collector by its id.
func (t Table) Collector(id CollectorID) (Collector, bool) {
	for _, name := range t.Names() {
		for _, c := range t.Clusters[name].Collectors {
			if c.ID == id {
				return c, true
			}
		}
	}
	return Collector{}, false
}

// SortCollectors brings a cluster's collectors into the order of their ids.
func SortCollectors(cs []Collector) {
	slices.SortFunc(cs, func(a, b Collector) int { return cmp.Compare(a.ID, b.ID) })
}

var identForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$`)

// CheckIdent reports whether s can name a cluster, a collector or a node: 1–100
// letters, digits, dots, underscores, colons and hyphens, beginning with a
// letter or a digit. Such a name is safe in a path, a header and a URL.
func CheckIdent(s string) error {
	if !identForm.MatchString(s) {
		return fmt.Errorf("%.100q: want 1-100 letters, digits, '.', '_', ':' or '-', beginning with a letter or digit", s)
	}
	return nil
}
