package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// relayDir is the directory within an outbox or an inbox that is the spool's
// own. Nothing else may lie in it.
const relayDir = ".relay"

// use is a directory of a configuration and what it is used for.
type use struct {
	what string // "the outbox", "the inbox", "the archive", "data_dir"
	path string // as configured, absolute
	real string // with links resolved as far as it exists
	at   position
}

// checkDirectories looks at every directory that is named: it must be there,
// and no two roles may meet in one, under whatever names.
func (c Config) checkDirectories(ps *Problems) {
	uses := c.directories()
	for i, u := range uses {
		if u.what != "data_dir" {
			checkExists(ps, u)
		} else if info, err := os.Stat(u.path); err == nil && !info.IsDir() {
			ps.add(u.at, "name a directory", "data_dir %s is not a directory", u.path)
		}
		if slices.Contains(strings.Split(filepath.ToSlash(u.real), "/"), relayDir) {
			ps.add(u.at, "use another directory", "%s %s lies in a %s, which belongs to another spool", u.what, u.path, relayDir)
		}
		for _, v := range uses[:i] {
			if message, remedy := collision(u, v); message != "" {
				ps.add(u.at, remedy, "%s%s", message, onLine(v.at))
				break
			}
		}
	}
	c.checkOwnFiles(ps, uses)
}

// directories lists every directory that the configuration names.
func (c Config) directories() []use {
	var uses []use
	add := func(what, path string, at position) {
		if path != "" {
			uses = append(uses, use{what: what, path: path, real: resolve(path), at: at})
		}
	}
	add("data_dir", c.DataDir, c.at("data_dir"))
	for i, u := range c.Uploaders {
		path := fmt.Sprintf("uploaders[%d]", i)
		add("the outbox", u.Spool, c.at(path+".spool", path))
	}
	for i, col := range c.Collectors {
		path := fmt.Sprintf("collectors[%d]", i)
		add("the inbox", col.Spool, c.at(path+".spool", path))
	}
	for i, u := range c.Uploaders {
		path := fmt.Sprintf("uploaders[%d]", i)
		add("the archive", u.Archive, c.at(path+".after.archive", path+".after", path))
	}
	return uses
}

func checkExists(ps *Problems, u use) {
	info, err := os.Stat(u.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		ps.add(u.at, "mkdir -p "+u.path, "%s %s does not exist", u.what, u.path)
	case err != nil:
		ps.add(u.at, "make it readable for the user that runs the node", "%s %s: %v", u.what, u.path, cause(err))
	case !info.IsDir():
		ps.add(u.at, "name a directory", "%s %s is not a directory", u.what, u.path)
	}
}

// collision says why two uses cannot both have their directory, or "".
func collision(u, v use) (message, remedy string) {
	if u.what == "the archive" && v.what == "the archive" {
		return "", "" // files of two outboxes may be kept together
	}
	if u.what == "the archive" && v.what != "data_dir" && within(u, v) {
		// Equal, its files would be relayed again or taken for new ones; below, a
		// consumer that looks into directories would find them.
		return fmt.Sprintf("the archive %s is %s or lies in it", u.path, v.what), "archive to a directory outside of all spools"
	}
	if !sameDir(u, v) {
		return "", ""
	}
	if u.what == "the inbox" && v.what == "the outbox" {
		return fmt.Sprintf("the inbox %s is also an outbox: files would go round for ever", u.path), "use two directories"
	}
	return fmt.Sprintf("%s %s is also %s", u.what, u.path, v.what), "use two directories"
}

// within reports whether u is v or lies below it, by path and by what is on
// disk, which sees through bind mounts and file systems that ignore case.
func within(u, v use) bool {
	for dir := u.real; ; dir = filepath.Dir(dir) {
		if sameDir(use{real: dir}, v) {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

// sameDir reports whether u and v are one directory.
func sameDir(u, v use) bool {
	if u.real == v.real {
		return true
	}
	a, errA := os.Stat(u.real)
	b, errB := os.Stat(v.real)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// checkOwnFiles refuses an outbox that has the node's own files in it: they
// would be sent away.
func (c Config) checkOwnFiles(ps *Problems, uses []use) {
	for _, file := range []string{c.File, c.Network.Static} {
		if file == "" {
			continue
		}
		dir := use{real: resolve(filepath.Dir(absolute("", file)))}
		for _, u := range uses {
			if u.what == "the outbox" && sameDir(dir, u) {
				ps.add(u.at, "keep it elsewhere", "%s lies in the outbox and would be sent away", file)
			}
		}
	}
}

// resolve follows the links of a path as far as it exists.
func resolve(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path
	}
	return filepath.Join(resolve(parent), filepath.Base(path))
}
