package node

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Defaults that are named in more than one place.
const (
	// DefaultHTTP is where the admin API listens.
	DefaultHTTP = "127.0.0.1:10088"
	// DefaultRaft is where the node will talk to its peers.
	DefaultRaft = "127.0.0.1:10089"
	// DefaultGossip is where the node will gossip.
	DefaultGossip = "127.0.0.1:10090"
	// DefaultCronTime rescans an outbox every ten seconds.
	DefaultCronTime = "*/10 * * * * *"
	// DefaultCollectorAddress is where a collector listens that gives no address.
	DefaultCollectorAddress = "127.0.0.1"
)

// Config is all that a node is told: what it is called, where it listens, what
// it sends and what it receives. [Load] makes one that is complete and valid;
// after that nobody changes it. A Config is read by many goroutines at once.
type Config struct {
	// File is the configuration file as it was named, empty when there is none.
	File string
	// Name is what people call the node. It obeys fsm.CheckIdent. The default is
	// the host name, or "node" where that is no legal name.
	Name string
	// DataDir is where the node keeps what is its own. It is absolute and may
	// not exist yet. The default is $STATE_DIRECTORY, which systemd sets; else
	// /var/lib/bucket-relay for root and ~/.local/state/bucket-relay for others.
	DataDir string
	// HTTP is host:port of the admin API; port 0 takes any free one. An empty
	// host listens on every interface. The default is DefaultHTTP.
	HTTP string
	// Raft and Gossip are host:port likewise; only a KindMember opens them.
	Raft, Gossip string
	// Advertise is the IP address or DNS name by which other nodes reach this
	// one, without a port. Empty means the address that is listened on.
	Advertise string
	// Insecure permits listening off loopback without keys. The default is
	// false: then every listener must be on loopback.
	Insecure bool
	// Log says how the node writes its log.
	Log Log
	// Network says which network the node is part of.
	Network Network
	// Uploaders are the outboxes, in the order of the file.
	Uploaders []Uploader
	// Collectors are the inboxes, in the order of the file.
	Collectors []Collector
	// Tests say where named files should go. RunTests checks them.
	Tests []RouteTest
	// Table is the content of the static file, and then its Index is 1. In a
	// network it is empty: the node learns there who collects for which cluster.
	Table fsm.Table
	// Warnings are findings that do not keep the node from starting, in the order
	// of their lines.
	Warnings Problems

	where map[string]position // where each value was given, by path ("uploaders[0].spool")
}

// Log says how the node writes its log, which goes to standard error.
type Log struct {
	Format string     // "text" (default) or "json"
	Level  slog.Level // the lowest level that is written; the default is info
}

// Network says which network the node is part of; see [Config.Kind]. With
// nothing set the node is a network of one, which others may join.
type Network struct {
	// Join are the gossip addresses of nodes, host:port; this node's own may be
	// among them. Names are looked up again at every try. Without BootstrapExpect
	// the node waits to be taken in and never forms a network itself.
	Join []string
	// BootstrapExpect is how many nodes form a new network together, 1–99; all of
	// them must say the same number. 0, the default, is unset. A node that was in
	// a network before does not look at it.
	BootstrapExpect int
	// Servers are the URLs (http://host:port) of nodes to follow as a client,
	// without being one of them.
	Servers []string
	// Heartbeat is how often a client repeats its registration, at least 1s; the
	// network drops a collector that missed three. The default is 10s.
	Heartbeat time.Duration
	// Static is a file that lists all clusters and collectors, absolute; with it
	// there is no network to talk to. Empty means there is none.
	Static string
	// PortStart is the first port that the network gives to a collector of this
	// node without one, 1–65535. The default is fsm.DefaultPortStart.
	PortStart int
	// RaftMultiplier stretches the timeouts of raft, 1–10: more finds a dead leader
	// later, and bears slower disks and lines. The default is 1.
	RaftMultiplier int
	// MaxVoters is how many nodes vote at most; the others stand by or follow. Odd,
	// 1–9. The default is 5.
	MaxVoters int
	// DeadAfter is how long a node may be dead before the network removes it, at
	// least 1m. The default is 72h.
	DeadAfter time.Duration
}

// Uploader is one outbox and what becomes of the files in it.
type Uploader struct {
	// Name is how the outbox is called in status, rules and tests. The default is
	// the path of the outbox. No two uploaders share one.
	Name string
	// Spool is the outbox: an existing directory, absolute.
	Spool string
	// CronTime is when the outbox is scanned in any case, for ParseCron. The
	// default is DefaultCronTime.
	CronTime string
	// Watch also takes files as they appear, without waiting for the schedule.
	// The default is true.
	Watch bool
	// MaxConn is how many files are on their way to one collector at a time,
	// 1–1000. The default is 30.
	MaxConn int
	// Filter leaves alone what does not match; nil takes every name. A reload may
	// replace it.
	Filter *regexp.Regexp
	// Nexthop says where a file goes. A reload may replace it.
	Nexthop Rules
	// Archive is where a file is kept once it is delivered: an existing
	// directory, absolute. Empty, the default, deletes it.
	Archive string
	// Ready is how one knows that a file is complete: "auto" (default),
	// "done-file", "quiet" or "rename".
	Ready string
	// Settle is how long a file must be unchanged under "quiet", and under "auto"
	// where the system cannot tell who has it open. More than 0, at most 1h; the
	// default is 1s.
	Settle time.Duration
	// Window is how many files are claimed at a time, 1–1,000,000. More costs
	// memory, less costs throughput. The default is 4096.
	Window int
	// MaxAge sets a file aside that could not be delivered for so long; 0, the
	// default, tries for ever. At least 1s otherwise.
	MaxAge time.Duration
	// Line is where the file has it, 0 when it was not read from one.
	Line int
}

// Collector is one inbox and the address it takes files at.
type Collector struct {
	// ID names the collector within the network. Where the file gives none it is
	// the one that the static file has for this cluster and address; without a
	// static file it is empty, and the network gives one.
	ID fsm.CollectorID
	// Cluster is the routing target this collector is part of.
	Cluster fsm.ClusterName
	// Address is the IP address or host name to listen on. The default is what
	// the static file says of this id, else DefaultCollectorAddress.
	Address string
	// Port is 1–65535. The default is what the static file says of this id; without
	// a static file it is 0, and the network gives one.
	Port int
	// Spool is the inbox: an existing directory, absolute.
	Spool string
	// OnConflict is what happens to a file whose name is taken: "suffix"
	// (default), "reject" or "replace".
	OnConflict string
	// FileMode is the mode of published files, as the next service must be able
	// to read them. The default is 0640.
	FileMode fs.FileMode
	// FileGroup is the group of published files, by name or number. Empty, the
	// default, leaves it to the system.
	FileGroup string
	// MaxFileBytes refuses larger files for good; 0, the default, takes whatever
	// there is room for.
	MaxFileBytes int64
	// Line is where the file has it, 0 when it was not read from one.
	Line int
}

// RouteTest is one expectation of a configuration about its own rules.
type RouteTest struct {
	Name   string            // of the file
	Size   int64             // of the file, in bytes; 0 unless given
	Outbox string            // name or path of the uploader; may be empty when there is one
	Want   []fsm.ClusterName // in any order; empty means the file is left where it is
	Line   int               // where the file has it
}

// DefaultConfig returns a valid configuration of a node that neither sends nor
// receives.
func DefaultConfig() Config {
	return defaultConfig(os.Getenv)
}

func defaultConfig(env func(string) string) Config {
	return Config{
		Name:    defaultName(),
		DataDir: defaultDataDir(env, os.Geteuid()),
		HTTP:    DefaultHTTP,
		Raft:    DefaultRaft,
		Gossip:  DefaultGossip,
		Log:     Log{Format: "text", Level: slog.LevelInfo},
		Network: Network{
			Heartbeat: 10 * time.Second, PortStart: fsm.DefaultPortStart,
			RaftMultiplier: 1, MaxVoters: 5, DeadAfter: 72 * time.Hour,
		},
	}
}

// DefaultUploader returns the settings of an uploader that gives none. It is
// not valid without Spool and Nexthop.
func DefaultUploader() Uploader {
	return Uploader{
		CronTime: DefaultCronTime,
		Watch:    true,
		MaxConn:  30,
		Ready:    "auto",
		Settle:   time.Second,
		Window:   4096,
	}
}

// DefaultCollector returns the settings of a collector that gives none. It is
// not valid without Cluster, Address and Spool.
func DefaultCollector() Collector {
	return Collector{OnConflict: "suffix", FileMode: 0o640}
}

func defaultName() string {
	host, err := os.Hostname()
	if err != nil || fsm.CheckIdent(host) != nil {
		return "node"
	}
	return host
}

func defaultDataDir(env func(string) string, uid int) string {
	if list := filepath.SplitList(env("STATE_DIRECTORY")); len(list) > 0 && list[0] != "" {
		return list[0]
	}
	if uid == 0 {
		return "/var/lib/bucket-relay"
	}
	home := env("HOME")
	if home == "" {
		home, _ = os.UserHomeDir()
	}
	return absolute("", filepath.Join(home, ".local", "state", "bucket-relay"))
}
