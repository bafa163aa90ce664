package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

const (
	// maxLooks bounds how often a file that stays unready is looked at without
	// an event; after that the next event or pass brings it back.
	maxLooks = 8
	// longestLook is the longest pause between two such looks.
	longestLook = time.Second
)

// Reasons in words, as they stand in OutboxStats.
const (
	whySettling  = "not ready: changed a moment ago"
	whyWriter    = "not ready: open for writing"
	whyLinks     = "has more than one hard link"
	whyNoMarker  = "not ready: waits for its .done file"
	whyNoFile    = "a .done file without its file"
	whyRefused   = "no rule takes it"
	whyFilter    = "does not match the filter"
	whyUnclaimed = "can't be claimed: "
	whyUnread    = "can't be read: "
	doneSuffix   = ".done"
)

// silentName reports whether a name is passed over without a word: names that
// begin with a dot, and those that programs give to unfinished files.
func silentName(name string) bool {
	if name == "" || name[0] == '.' {
		return true
	}
	for _, suffix := range []string{".tmp", ".part", ".partial", "~"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// refuseName says why a name can't be a candidate, or "".
func (o *Outbox) refuseName(name string) (why string, rejected bool) {
	if err := CheckName(name); err != nil {
		return err.Error(), true
	}
	if f := o.cfg.Filter; f != nil && !f.MatchString(name) {
		return whyFilter, false
	}
	return "", false
}

// answer is what isReady found.
type answer struct {
	ready    bool
	after    time.Duration // when to look again; 0: when something happens
	why      string        // it is not ready
	rejected bool          // it never will be
}

func again(after time.Duration, why string) answer { return answer{after: after, why: why} }

// isReady decides by the config's mode. ob is what was seen of the file so far,
// or fresh; it is brought up to date.
func (o *Outbox) isReady(ob *observed, st fileStat) answer {
	if st.Links > 1 {
		// sftp-server renames by link and unlink: it may be gone in a moment.
		return o.later(ob, answer{why: whyLinks, rejected: true})
	}
	quiet := ob.quietFor(st, time.Now())
	switch o.cfg.Ready {
	case ReadyRename:
		return o.readable(ob.name)
	case ReadyDoneFile:
		if a := o.hasMarker(ob.name); !a.ready {
			return a
		}
		return o.readable(ob.name)
	case ReadyQuiet:
		if quiet < o.cfg.Settle {
			return again(o.cfg.Settle-quiet, whySettling)
		}
		return answer{ready: true}
	}
	return o.autoReady(ob, st, quiet)
}

// autoReady is ReadyAuto. A file that was renamed in is claimed first and
// checked for a writer then, like every claim; see checkClaim.
func (o *Outbox) autoReady(ob *observed, st fileStat, quiet time.Duration) answer {
	if ob.kind == hintMoved {
		return answer{ready: true}
	}
	linked := ob.kind == hintCreated && st.Size > 0
	if !linked && quiet < o.cfg.Grace {
		return again(o.cfg.Grace-quiet, whySettling)
	}
	busy, err := o.hasWriter(o.root, ob.name)
	switch {
	case errors.Is(err, errNoLease):
		o.noteLeases(err)
		if quiet < o.cfg.Settle {
			return again(o.cfg.Settle-quiet, whySettling)
		}
	case err != nil:
		return answer{why: whyUnread + errWords(err), rejected: true}
	case busy:
		return o.later(ob, answer{why: whyWriter})
	case linked && !o.linkedIn(ob):
		return again(o.cfg.Grace, whySettling)
	}
	return answer{ready: true}
}

// readable makes sure before the claim that the file can be sent.
func (o *Outbox) readable(name string) answer {
	f, err := o.root.Open(name)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return answer{why: whyUnread + errWords(err), rejected: true}
	}
	return answer{ready: true}
}

// linkedIn tells a file that was linked into the outbox from one that was
// written there. Nobody has it open now, so a writer's close is in the event
// queue by now: fput(9) queues it before it gives up the right to write.
// Without such an event the bytes were there before the name was.
func (o *Outbox) linkedIn(ob *observed) bool {
	if o.watch == nil {
		return false
	}
	o.watch.drain()
	if o.hints.newsOf(ob.name) {
		ob.kind = hintNone
		return false
	}
	return true
}

// later puts off a look, twice as long each time, and after maxLooks gives up
// until something happens.
func (o *Outbox) later(ob *observed, a answer) answer {
	if ob.looks < maxLooks {
		a.after = min(o.cfg.Grace<<ob.looks, longestLook)
		a.rejected = false
	}
	return a
}

// hasWriter reports whether some process has the file open for writing.
func (o *Outbox) hasWriter(d dir, name string) (bool, error) {
	f, err := d.Open(name)
	if err != nil {
		return false, err
	}
	busy, err := f.Writer()
	return busy, errors.Join(err, f.Close())
}

func (o *Outbox) noteLeases(err error) {
	words := fmt.Sprintf("%v: files are taken when they did not change for %v", err, o.cfg.Settle)
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		words = fmt.Sprintf("%v: %v: files are taken when they did not change for %v", errNoLease, pe.Err, o.cfg.Settle)
	}
	if o.tally.fallback("lease", words) {
		o.log.Warn("can't see who writes to a file, waiting for quiet instead", "dir", o.cfg.Dir, "settle", o.cfg.Settle, "err", err)
	}
}
