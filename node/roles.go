package node

import (
	"fmt"
	"net"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// checkUploader judges one uploader.
func (c Config) checkUploader(ps *Problems, i int) {
	u, path := c.Uploaders[i], fmt.Sprintf("uploaders[%d]", i)
	if u.Spool == "" {
		c.missing(ps, path, "spool", "write spool: DIR, the outbox")
	}
	if u.Nexthop.list == nil && u.Nexthop.expr == nil {
		c.missing(ps, path, "nexthop", "write nexthop: and below it - { match: '', cluster: NAME }")
	}
	c.checkOutboxName(ps, i)
	if _, err := ParseCron(u.CronTime); err != nil {
		ps.add(c.at(path+".cron_time", path), `write six fields, second first, in UTC: "*/10 * * * * *"`,
			"cron_time %s: %v", quote(u.CronTime), err)
	}
	c.oneOf(ps, path, "ready", u.Ready, "auto", "done-file", "quiet", "rename")
	c.within(ps, path, "max_conn", u.MaxConn, 1, 1000)
	c.within(ps, path, "window", u.Window, 1, 1_000_000)
	if u.Settle <= 0 || u.Settle > time.Hour {
		ps.add(c.at(path+".settle", path), "write more than 0 and at most 1h", "settle is %s", u.Settle)
	}
	if u.MaxAge != 0 && u.MaxAge < time.Second {
		ps.add(c.at(path+".max_age", path), "write at least 1s, or 0 to try for ever", "max_age is %s", u.MaxAge)
	}
}

// checkOutboxName judges the name of an uploader. One that is the path may
// have any form.
func (c Config) checkOutboxName(ps *Problems, i int) {
	u, path := c.Uploaders[i], fmt.Sprintf("uploaders[%d]", i)
	if u.Name != u.Spool {
		c.legal(ps, path, "name", u.Name)
	}
	for j := range i {
		if u.Name == c.Uploaders[j].Name && u.Name != u.Spool {
			at := c.at(fmt.Sprintf("uploaders[%d].name", j))
			ps.add(c.at(path+".name", path), "give each uploader a name of its own", "name %s is taken%s", quote(u.Name), onLine(at))
		}
	}
}

// checkCollector judges one collector.
func (c Config) checkCollector(ps *Problems, i int) {
	col, path := c.Collectors[i], fmt.Sprintf("collectors[%d]", i)
	if col.Cluster == "" {
		c.missing(ps, path, "cluster", "write cluster: NAME, the target that rules name")
	} else {
		c.legal(ps, path, "cluster", string(col.Cluster))
	}
	if col.Spool == "" {
		c.missing(ps, path, "spool", "write spool: DIR, the inbox")
	}
	if !isHost(col.Address) {
		ps.add(c.at(path+".address", path), "write an IP address or a name of this machine, without a port",
			"address %s is neither an IP address nor a name", quote(col.Address))
	}
	if col.Port < 0 || col.Port > 65535 || col.Port == 0 && c.given(path+".port") {
		c.within(ps, path, "port", col.Port, 1, 65535)
	}
	c.checkCollectorID(ps, i)
	c.checkListing(ps, i)
	c.oneOf(ps, path, "on_conflict", col.OnConflict, "suffix", "reject", "replace")
	if col.FileMode.Perm() != col.FileMode || col.FileMode&0o400 == 0 {
		ps.add(c.at(path+".file_mode", path), `write permission bits with read for the owner: "0640"`, "file_mode is %#o", col.FileMode)
	}
	if !groupExists(col.FileGroup) {
		ps.add(c.at(path+".file_group", path), "groupadd "+col.FileGroup+", or write the group's number",
			"file_group %s is unknown on this machine", quote(col.FileGroup))
	}
	if col.MaxFileBytes < 0 {
		ps.add(c.at(path+".max_file_size", path), "write 0 for no limit", "max_file_size is %d", col.MaxFileBytes)
	}
}

func (c Config) checkCollectorID(ps *Problems, i int) {
	id, path := c.Collectors[i].ID, fmt.Sprintf("collectors[%d]", i)
	if id == "" {
		return
	}
	c.legal(ps, path, "id", string(id))
	for j := range i {
		if id == c.Collectors[j].ID {
			other := fmt.Sprintf("collectors[%d]", j)
			ps.add(c.at(path+".id", path), "give each collector an id of its own",
				"id %s is taken%s", quote(string(id)), onLine(c.at(other+".id", other)))
		}
	}
}

// checkListing judges a collector against the static file, which must list it,
// since nobody would send to it otherwise.
func (c Config) checkListing(ps *Problems, i int) {
	col, path := c.Collectors[i], fmt.Sprintf("collectors[%d]", i)
	if c.Kind() != KindStatic {
		return // the network gives what is missing
	}
	if c.Table.Index == 0 || col.Cluster == "" {
		return // the static file, or the cluster, has problems of its own
	}
	entry := fmt.Sprintf("%s: [ { id: NAME, address: %s, port: %d } ]", col.Cluster, col.Address, max(col.Port, 10100))
	if col.ID == "" {
		if !c.given(path + ".id") {
			ps.add(c.at(path), "write id: NAME as the static file has it",
				"id is missing, and %s does not have just one collector of cluster %s like this one", c.Network.Static, col.Cluster)
		}
		return
	}
	listed, ok := c.Table.Collector(col.ID)
	switch {
	case !ok:
		ps.add(c.at(path+".id", path), "add it there: "+strings.Replace(entry, "NAME", string(col.ID), 1),
			"%s does not list collector %s", c.Network.Static, quote(string(col.ID)))
	case listed.Cluster != col.Cluster:
		ps.add(c.at(path+".cluster", path), "write the same cluster in both",
			"%s has collector %s in cluster %s, not in %s", c.Network.Static, col.ID, listed.Cluster, col.Cluster)
	case listed.Port != col.Port:
		ps.add(c.at(path+".port", path), "write the same port in both, or leave it out here",
			"%s has collector %s at port %d, not at %d", c.Network.Static, col.ID, listed.Port, col.Port)
	}
}

// listeners are the addresses that the node listens on.
func (c Config) listeners() []listener {
	var ls []listener
	add := func(what, address string) {
		if host, port, err := splitAddress(address); err == nil {
			ls = append(ls, listener{what: what, host: host, port: port, at: c.at(what)})
		}
	}
	add("http", c.HTTP)
	if c.Kind() == KindMember {
		add("raft", c.Raft)
		add("gossip", c.Gossip)
	}
	for i, col := range c.Collectors {
		if !isHost(col.Address) {
			continue
		}
		path := fmt.Sprintf("collectors[%d]", i)
		ls = append(ls, listener{what: "the collector", host: col.Address, port: col.Port,
			at: c.at(path+".address", path+".port", path)})
	}
	return ls
}

// checkListeners looks for ports that two want, and for listeners that others
// reach although nothing is secured.
func (c Config) checkListeners(ps *Problems) {
	ls := c.listeners()
	for i, l := range ls {
		for _, m := range ls[:i] {
			if l.clashes(m) {
				ps.add(l.at, "give each a port of its own", "port %d is taken by %s%s", l.port, m.what, onLine(m.at))
				break
			}
		}
		if !c.Insecure && !isLoopback(l.host) {
			ps.add(l.at, "write insecure: true if only machines that you trust reach it, or listen on 127.0.0.1",
				"%s listens on %s, which others can reach, and nothing is secured", l.what, l)
		}
	}
}

// String gives host:port.
func (l listener) String() string { return net.JoinHostPort(l.host, strconv.Itoa(l.port)) }

// onLine says where the other one is, when that is known.
func onLine(at position) string {
	if at.line == 0 {
		return ""
	}
	return fmt.Sprintf(" (line %d)", at.line)
}

// groupExists reports whether a group can be given to a file. Numbers are taken
// as they are; where groups have no numbers, as on Windows, so are names.
func groupExists(name string) bool {
	if _, err := strconv.ParseUint(name, 10, 31); err == nil || name == "" || runtime.GOOS == "windows" {
		return true
	}
	_, err := user.LookupGroup(name)
	return err == nil
}

// wordList gives "a, b or c".
func wordList(words []string) string {
	n := len(words) - 1
	return strings.Join(words[:n], ", ") + " or " + words[n]
}
