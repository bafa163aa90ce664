package spool

import (
	"errors"
	"fmt"
	"io"
)

// pass is one walk over the outbox, spread over as many Picks as it takes. It
// holds one chunk of names and two open directories, whatever their size.
type pass struct {
	list  lister
	chunk []entry
	// seen entries were looked at; a second lister counts what is still ahead.
	seen    int
	counter lister // nil before the first Pick has gone by, and at the end
	counted int
	ended   bool // the counter has come to the end
}

// lookAtPass goes on with the pass, or begins one that was asked for.
func (o *Outbox) lookAtPass(r *round) error {
	p := &o.picker
	r.inPass = true
	defer func() { r.inPass = false }()
	if p.pass == nil {
		if !o.wantPass.Load() || r.over() {
			return nil
		}
		if err := o.beginPass(); err != nil {
			return err
		}
	}
	for !r.over() {
		if o.passWaits() {
			break
		}
		e, err := p.pass.next(o.cfg.limits.chunk)
		if errors.Is(err, io.EOF) {
			o.endPass()
			o.tally.passEnds(o.log)
			return nil
		}
		if err != nil {
			o.endPass()
			o.wantPass.Store(true)
			return err
		}
		o.lookAtEntry(r, e)
		if r.paused {
			p.pass.unread(e)
			break
		}
	}
	return o.countAhead()
}

// passWaits reports whether the pass must wait for observed files to be ready.
func (o *Outbox) passWaits() bool { return o.picker.obs.full() }

// beginPass makes sure that the directory is still the one that was opened: a
// service that writes to a new directory of the same name must not go unheard.
func (o *Outbox) beginPass() error {
	d, err := o.cfg.openDir(o.cfg.Dir)
	if err != nil {
		return fmt.Errorf("outbox is gone: %w", err)
	}
	now, err := d.Self()
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	then, err := o.root.Self()
	if err != nil {
		return err
	}
	if now.Ino != then.Ino || now.Dev != then.Dev {
		return fmt.Errorf("%w: %s was replaced by another directory", ErrUnsafe, o.cfg.Dir)
	}
	l, err := o.root.List()
	if err != nil {
		return err
	}
	o.wantPass.Store(false)
	o.picker.pass = &pass{list: l}
	o.tally.passBegins()
	return nil
}

func (o *Outbox) endPass() {
	p := o.picker.pass
	o.picker.pass = nil
	_ = p.list.Close() // nothing was written
	if p.counter != nil {
		_ = p.counter.Close()
	}
}

// next returns the next entry, or io.EOF.
func (p *pass) next(chunk int) (entry, error) {
	for len(p.chunk) == 0 {
		es, err := p.list.Next(chunk)
		if err != nil {
			return entry{}, err
		}
		p.chunk = es
	}
	e := p.chunk[0]
	p.chunk = p.chunk[1:]
	if countedEntry(e) {
		p.seen++
	}
	return e, nil
}

// unread makes e the next entry again.
func (p *pass) unread(e entry) {
	p.chunk = append([]entry{e}, p.chunk...)
	if countedEntry(e) {
		p.seen--
	}
}

// countedEntry reports whether an entry counts as a file that waits.
func countedEntry(e entry) bool { return e.typ.IsRegular() && !silentName(e.name) }

// lookAtEntry looks at one entry of the directory.
func (o *Outbox) lookAtEntry(r *round, e entry) {
	if silentName(e.name) {
		r.looks--
		return
	}
	if words := typeWords(e.typ); words != "" {
		r.looks--
		o.leaveIt(r, e.name, fileStat{}, answer{why: words, rejected: true})
		return
	}
	name, marker := o.subject(e.name)
	if marker {
		o.lookAtMarker(r, e.name, name)
		return
	}
	if ob := o.picker.obs.get(name); ob != nil {
		r.looks--
		o.tally.put(name, note{reason: ob.why, at: ob.st.changed()}, true)
		return
	}
	o.look(r, name, hintNone)
}

// lookAtMarker counts a marker without a file; with one, the file's own entry
// is looked at.
func (o *Outbox) lookAtMarker(r *round, marker, name string) {
	r.looks--
	if _, err := o.root.Stat(name); err != nil {
		o.leaveIt(r, marker, fileStat{}, answer{why: whyNoFile})
	}
}

// countAhead counts some more of what the pass has not come to, so that Stats
// can tell how long a queue is long before the pass has seen all of it.
func (o *Outbox) countAhead() error {
	p := o.picker.pass
	if p.counter == nil && !p.ended {
		l, err := o.root.List()
		if err != nil {
			return err
		}
		p.counter = l
	}
	for left := o.cfg.limits.count; left > 0 && !p.ended; left -= o.cfg.limits.chunk {
		es, err := p.counter.Next(o.cfg.limits.chunk)
		for _, e := range es {
			if countedEntry(e) {
				p.counted++
			}
		}
		if errors.Is(err, io.EOF) {
			p.ended = true
			err = p.counter.Close()
			p.counter = nil
		}
		if err != nil {
			return err
		}
	}
	o.tally.setAhead(max(0, p.counted-p.seen))
	return nil
}
