package node

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Overrides are the settings that flags give; nil is not given. Each wins over
// its environment variable, which wins over the file.
type Overrides struct {
	Name            *string // --name, BUCKET_RELAY_NAME
	DataDir         *string // --data-dir, BUCKET_RELAY_DATA_DIR
	HTTP            *string // --http, BUCKET_RELAY_HTTP
	Raft            *string // --raft, BUCKET_RELAY_RAFT
	Gossip          *string // --gossip, BUCKET_RELAY_GOSSIP
	Advertise       *string // --advertise, BUCKET_RELAY_ADVERTISE
	Join            *string // --join, BUCKET_RELAY_JOIN; with commas between
	BootstrapExpect *string // --bootstrap-expect, BUCKET_RELAY_BOOTSTRAP_EXPECT
	LogFormat       *string // --log-format, BUCKET_RELAY_LOG_FORMAT
	LogLevel        *string // --log-level, BUCKET_RELAY_LOG_LEVEL
}

// setting is one value that may come from a flag or the environment.
type setting struct {
	flag, env string
	path      string // of the same value in a file
	remedy    string // when set fails
	flagValue func(Overrides) *string
	set       func(*Config, string) error
}

var settings = []setting{
	{"--name", "BUCKET_RELAY_NAME", "name", "", func(o Overrides) *string { return o.Name },
		func(c *Config, v string) error { c.Name = v; return nil }},
	{"--data-dir", "BUCKET_RELAY_DATA_DIR", "data_dir", "", func(o Overrides) *string { return o.DataDir },
		func(c *Config, v string) error { c.DataDir = absolute("", v); return nil }},
	{"--http", "BUCKET_RELAY_HTTP", "http", "", func(o Overrides) *string { return o.HTTP },
		func(c *Config, v string) error { c.HTTP = v; return nil }},
	{"--raft", "BUCKET_RELAY_RAFT", "raft", "", func(o Overrides) *string { return o.Raft },
		func(c *Config, v string) error { c.Raft = v; return nil }},
	{"--gossip", "BUCKET_RELAY_GOSSIP", "gossip", "", func(o Overrides) *string { return o.Gossip },
		func(c *Config, v string) error { c.Gossip = v; return nil }},
	{"--advertise", "BUCKET_RELAY_ADVERTISE", "advertise", "", func(o Overrides) *string { return o.Advertise },
		func(c *Config, v string) error { c.Advertise = v; return nil }},
	{"--join", "BUCKET_RELAY_JOIN", "network.join", "", func(o Overrides) *string { return o.Join },
		func(c *Config, v string) error { c.Network.Join = splitList(v); return nil }},
	{"--bootstrap-expect", "BUCKET_RELAY_BOOTSTRAP_EXPECT", "network.bootstrap_expect", "write a whole number",
		func(o Overrides) *string { return o.BootstrapExpect }, setBootstrapExpect},
	{"--log-format", "BUCKET_RELAY_LOG_FORMAT", "log_format", "", func(o Overrides) *string { return o.LogFormat },
		func(c *Config, v string) error { c.Log.Format = v; return nil }},
	{"--log-level", "BUCKET_RELAY_LOG_LEVEL", "log_level", remedyLevel, func(o Overrides) *string { return o.LogLevel },
		func(c *Config, v string) error { return parseLevel(&c.Log.Level, v) }},
}

// Load makes the configuration of a node: the defaults, then the file at path,
// then the environment, then the flags. An empty path means the file that
// BUCKET_RELAY_CONFIG names, or none. A relative path in a file starts from the
// directory of that file. An empty environment variable counts as not set.
//
// The error is of type Problems and lists every mistake at once; the Config is
// of no use then. Files are read and directories looked at, but nothing is
// created, opened for writing or changed. A reload calls Load again and takes
// over what Reloadable does not object to.
func Load(path string, env func(string) string, flags Overrides) (Config, error) {
	if path == "" {
		path = env("BUCKET_RELAY_CONFIG")
	}
	c := defaultConfig(env)
	c.File = path
	r := &reader{file: path, where: map[string]position{}}
	c.where = r.where
	if path != "" {
		c.readFile(r)
	}
	r.problems = append(r.problems, c.override(env, flags)...)
	r.problems = append(r.problems, c.loadTable()...)
	r.problems = append(r.problems, c.check()...)
	if len(r.problems) > 0 {
		return Config{}, r.problems.sorted(path)
	}
	c.Warnings = c.warnings().sorted(path)
	return c, nil
}

// readFile reads the configuration file.
func (c *Config) readFile(r *reader) {
	data, err := os.ReadFile(c.File)
	if err != nil {
		r.problems.add(position{file: c.File}, "name an existing file with --config", "cannot be read: %v", cause(err))
		return
	}
	sections{reader: r, base: filepath.Dir(c.File), c: c}.read(r.document(data))
}

// override applies the environment and the flags.
func (c *Config) override(env func(string) string, flags Overrides) Problems {
	var ps Problems
	for _, s := range settings {
		source, value := s.env, env(s.env)
		if v := s.flagValue(flags); v != nil {
			source, value = s.flag, *v
		}
		if value == "" {
			continue
		}
		at := position{file: source}
		maps.DeleteFunc(c.where, func(path string, _ position) bool { return strings.HasPrefix(path, s.path+"[") }) // items of the file's list
		c.where[s.path] = at
		if err := s.set(c, value); err != nil {
			ps.add(at, s.remedy, "%v", err)
		}
	}
	return ps
}

// loadTable reads the static file, if there is one, and gives the collectors
// what it knows of them. In a network the table comes from there.
func (c *Config) loadTable() Problems {
	if c.Network.Static == "" {
		c.defaultAddresses()
		return nil
	}
	table, ps := LoadStatic(c.Network.Static)
	if len(ps) > 0 {
		c.defaultAddresses()
		c.Table = fsm.Table{}
		return c.placeStatic(ps)
	}
	c.Table = table
	named := map[fsm.CollectorID]bool{}
	for _, col := range c.Collectors {
		named[col.ID] = true
	}
	for i := range c.Collectors {
		adopt(&c.Collectors[i], table, named)
	}
	c.defaultAddresses()
	return nil
}

// placeStatic points at the line that names the static file, where the problem
// is that it cannot be read.
func (c *Config) placeStatic(ps Problems) Problems {
	for i, p := range ps {
		if p.Line > 0 {
			continue
		}
		at := c.at("network.static")
		ps[i].File, ps[i].Line, ps[i].Col = at.file, at.line, at.col
		ps[i].Message = fmt.Sprintf("network.static: %s %s", p.File, p.Message)
	}
	return ps
}

// defaultAddresses gives an address to the collectors that have none.
func (c *Config) defaultAddresses() {
	for i := range c.Collectors {
		if c.Collectors[i].Address == "" {
			c.Collectors[i].Address = DefaultCollectorAddress
		}
	}
}

// at is where a value was given: its own place, else that of what it is part
// of, else the file as a whole.
func (c *Config) at(path ...string) position {
	for _, p := range path {
		if at, ok := c.where[p]; ok {
			return at
		}
	}
	return position{file: c.File}
}

func setBootstrapExpect(c *Config, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%s is not a whole number", quote(v))
	}
	c.Network.BootstrapExpect = n
	return nil
}

// parseLevel reads debug, info, warn or error.
func parseLevel(to *slog.Level, v string) error {
	switch v {
	case "debug", "info", "warn", "error":
		return to.UnmarshalText([]byte(v))
	}
	return fmt.Errorf("%s is no log level", quote(v))
}
