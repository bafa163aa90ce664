package node

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Remedies that several checks give.
const (
	remedyIdent = "write 1-100 letters, digits, '.', '_', ':' or '-', beginning with a letter or digit"
	remedyLevel = "write debug, info, warn or error"
	remedyAfter = `write delete, or archive and a directory: "archive: DIR"`
)

// Validate reports everything that is wrong with the configuration at once, as
// an error of type Problems, or nil. It looks at directories and changes
// nothing. Load has called it already; it is for a Config made by a program,
// whose Table must then be filled.
func (c Config) Validate() error {
	return c.check().sorted(c.File).err()
}

// check is everything that can be judged from the values, each on its own and
// one against another.
func (c Config) check() Problems {
	ps := &Problems{}
	c.checkNode(ps)
	c.checkNetwork(ps)
	for i := range c.Uploaders {
		c.checkUploader(ps, i)
	}
	for i := range c.Collectors {
		c.checkCollector(ps, i)
	}
	c.checkListeners(ps)
	c.checkTests(ps)
	c.checkDirectories(ps)
	return *ps
}

func (c Config) checkNode(ps *Problems) {
	c.legal(ps, "", "name", c.Name)
	if c.DataDir == "" {
		ps.add(c.at("data_dir"), "write data_dir: /var/lib/bucket-relay", "data_dir is missing")
	}
	addresses := []struct{ key, value, example string }{
		{"http", c.HTTP, DefaultHTTP}, {"raft", c.Raft, DefaultRaft}, {"gossip", c.Gossip, DefaultGossip},
	}
	for _, a := range addresses {
		if _, _, err := splitAddress(a.value); err != nil {
			ps.add(c.at(a.key), "write it like "+a.example, "%s: %s: %v", a.key, quote(a.value), err)
		}
	}
	if c.Advertise != "" && (!isHost(c.Advertise) || isEveryInterface(c.Advertise)) {
		ps.add(c.at("advertise"), "write an IP address or a DNS name, without a port",
			"advertise: %s is no address that others can call", quote(c.Advertise))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		ps.add(c.at("log_format"), "write text or json", "log_format %s is unknown", quote(c.Log.Format))
	}
}

func (c Config) checkTests(ps *Problems) {
	for i, t := range c.Tests {
		path := fmt.Sprintf("tests[%d]", i)
		if t.Name == "" && !c.given(path+".name") {
			ps.add(c.at(path), "write { name: a.json, cluster: NAME }", "the test lacks name")
		}
		if c.where != nil && !c.given(path+".cluster") && c.given(path) {
			ps.add(c.at(path), "write { name: a.json, cluster: NAME }; cluster: null is a file that stays", "the test lacks cluster")
		}
		switch {
		case len(c.Uploaders) == 0:
			ps.add(c.at(path), "write uploaders:, or remove the test", "there is no outbox for the test to be about")
		case t.Outbox == "" && len(c.Uploaders) > 1:
			ps.add(c.at(path), "write outbox: NAME, the name or the spool of an uploader", "the test does not say which of %d outboxes", len(c.Uploaders))
		case t.Outbox != "" && c.outbox(t.Outbox) < 0:
			ps.add(c.at(path+".outbox", path), "write the name or the spool of an uploader", "there is no outbox %s", quote(t.Outbox))
		}
	}
}

// outbox finds an uploader by name or path, or by "" the only one. It returns
// -1 when there is none.
func (c Config) outbox(name string) int {
	if name == "" && len(c.Uploaders) == 1 {
		return 0
	}
	return slices.IndexFunc(c.Uploaders, func(u Uploader) bool {
		return name != "" && (u.Name == name || u.Spool == absolute(filepath.Dir(c.File), name))
	})
}

// given reports whether the file has a value at a path, be it a wrong one,
// which has its problem already.
func (c Config) given(path string) bool {
	_, ok := c.where[path]
	return ok
}

// missing notes that a value is needed and was not given.
func (c Config) missing(ps *Problems, path, key, remedy string) {
	if !c.given(path + "." + key) {
		ps.add(c.at(path), remedy, "%s is missing", key)
	}
}

// legal notes a name that is none.
func (c Config) legal(ps *Problems, path, key, value string) {
	if fsm.CheckIdent(value) != nil {
		ps.add(c.at(join(path, key), path), remedyIdent, "%s %s is no legal name", key, quote(value))
	}
}

// oneOf notes a value that is not among those a key can have.
func (c Config) oneOf(ps *Problems, path, key, value string, options ...string) {
	if !slices.Contains(options, value) {
		ps.add(c.at(path+"."+key, path), "write "+wordList(options), "%s %s is unknown", key, quote(value))
	}
}

// within notes a number that is out of range.
func (c Config) within(ps *Problems, path, key string, value, low, high int) {
	if value < low || value > high {
		ps.add(c.at(path+"."+key, path), fmt.Sprintf("write a number from %d to %d", low, high), "%s is %d", key, value)
	}
}

// warnings are what is odd but may be meant.
func (c Config) warnings() Problems {
	var ps Problems
	if len(c.Uploaders) == 0 && len(c.Collectors) == 0 {
		ps.add(position{file: c.File}, "write uploaders: or collectors:", "nothing to do: there are no uploaders and no collectors")
	}
	c.networkWarnings(&ps)
	for i, u := range c.Uploaders {
		matchesAll := 0
		for j, r := range u.Nexthop.list {
			path := fmt.Sprintf("uploaders[%d].nexthop[%d]", i, j)
			if matchesAll > 0 {
				ps.add(c.at(path), "put it before that one", "rule %d is never reached: rule %d matches every name", j+1, matchesAll)
			} else if r.match.String() == "" {
				matchesAll = j + 1
			}
			for _, name := range r.clusters {
				// Which clusters a network has is not known before it is asked.
				if _, ok := c.Table.Clusters[name]; !ok && c.Kind() == KindStatic {
					ps.add(c.at(path+".cluster"), "its files wait in the outbox until it exists", "cluster %s is unknown: the static file does not have it", name)
				}
			}
		}
	}
	return ps
}

// Exposed returns the addresses of the admin API, of a member's raft and gossip,
// and of the collectors that other machines can reach, host:port, in the order of
// the file. Names other than localhost count as reachable. The port of a collector
// that the network gives one is 0.
func (c Config) Exposed() []string {
	var out []string
	for _, l := range c.listeners() {
		if !isLoopback(l.host) {
			out = append(out, l.String())
		}
	}
	return out
}
