package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"unicode/utf8"
)

// suffixTries bounds the search for a free name. Names with a random part are
// not taken by chance; somebody would have to take them on purpose.
const suffixTries = 8

// maxExtBytes is the longest part after the last dot that is kept in a cut name.
const maxExtBytes = 32

// namer chooses the names of one group.
type namer struct {
	in     *Inbox
	chosen map[string]bool // by the group, not yet in the inbox
}

func newNamer(in *Inbox) *namer { return &namer{in: in, chosen: map[string]bool{}} }

// choose sets the name that a row is published under. It only looks: a name
// may be taken before the rename, which notices that and asks again. Errors:
// ErrNameTaken, ErrIO.
func (n *namer) choose(r *row) error {
	if n.in.cfg.OnConflict == ConflictReplace {
		r.publishedAs = r.name // a directory of that name makes the rename fail
		return nil
	}
	for try := range suffixTries {
		name := r.name
		switch {
		case try == 1:
			name = suffixed(r.name, r.key.suffix())
		case try > 1: // another outbox had the same seq
			name = suffixed(r.name, r.key.suffix()+"-"+randomHex(4))
		}
		free, err := n.free(name)
		if err != nil {
			return err
		}
		if free {
			r.publishedAs = name
			n.chosen[name] = true
			return nil
		}
		if n.in.cfg.OnConflict == ConflictReject {
			break
		}
	}
	return fmt.Errorf("%w: %q", ErrNameTaken, r.name)
}

func (n *namer) free(name string) (bool, error) {
	if n.chosen[name] {
		return false, nil
	}
	_, err := n.in.dirs.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, diskError(err)
	}
	return false, nil
}

// suffixed puts ~ and a suffix before the last extension: a.json → a~5.json.
// The result is a legal name, so that the next node can relay it: a stem that
// is too long is cut.
func suffixed(name, suffix string) string {
	ext := path.Ext(name)
	if len(ext) > maxExtBytes {
		ext = ""
	}
	stem := name[:len(name)-len(ext)]
	most := MaxNameBytes - len(ext) - len(suffix) - 1
	for len(stem) > most {
		_, size := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-size]
	}
	return stem + "~" + suffix + ext
}
