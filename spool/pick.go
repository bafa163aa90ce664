package spool

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"sync"
	"time"
)

// pickLimits bound the memory and the time of a Pick.
type pickLimits struct {
	looks   int // entries looked at in one Pick
	chunk   int // names read from the directory at a time
	observe int // files observed until they are ready
	events  int // names from events
	notes   int // names with a reason why they were not taken
	count   int // entries counted ahead of a pass in one Pick
	held    int // claims waiting for the next Pick
}

var defaultLimits = pickLimits{
	looks: 8192, chunk: 1024, observe: 4096, events: 16384, notes: 16384, count: 16384, held: 4096,
}

// Candidate is a file that could be taken: regular, one link, a legal name that
// passes the filter.
type Candidate struct {
	Name  string
	Size  int64
	MTime time.Time
}

// Verdict is what the owner of the rules says to a candidate.
type Verdict struct {
	// Take it, as soon as it is ready. Else it stays, for Reason in words.
	Take   bool
	Reason string
	// Pause, of a file that stays, ends the pass's part of this Pick in front of
	// it: whoever has the queues is full for the moment, and would rather be
	// asked again about this file and those behind it than have them passed by.
	Pause bool
	// Stream is whose epoch the claim's id is drawn from: claims of one stream
	// are settled in their own order and never wait for those of another.
	Stream string
	// Bind is the collector the claim is bound to from the beginning, or "".
	Bind string
}

// Picked is the answer of Pick.
type Picked struct {
	// Items are claimed, durably, and nobody was told of them before.
	Items []Item
	// More says that a Pick right now would find work. When it is false, wait
	// for Wake.
	More bool
	// Paused says that a verdict paused the pass. Pick again when there is room.
	Paused bool
}

// picker is the state between two Picks.
type picker struct {
	mu    sync.Mutex // held by Pick from end to end; guards all below
	pass  *pass      // nil between passes
	obs   observedSet
	timer *time.Timer // wakes when the first observed file is due; nil until needed
	// moved are the inodes of files given back: the event of that is no news.
	moved map[string]uint64
	// markersOwed says that done/ holds records to be tidied first.
	markersOwed bool
	err         error // of a Pick that had items to hand out; the next one returns it
}

func (p *picker) init(observe int) {
	p.obs.init(observe)
	p.moved = map[string]uint64{}
}

// movedBack notes that a file was given back. At most as many are kept as are
// observed; an event that is not recognised costs one more claim.
func (p *picker) movedBack(name string, ino uint64) {
	if len(p.moved) >= p.obs.max {
		clear(p.moved)
	}
	p.moved[name] = ino
}

// ownMove reports, once, whether a move into the outbox was movedBack's.
func (p *picker) ownMove(name string, ino uint64) bool {
	if p.moved[name] != ino {
		return false
	}
	delete(p.moved, name)
	return true
}

// readyFile is a file about to be claimed.
type readyFile struct {
	name    string
	st      fileStat // as readiness saw it
	verdict Verdict
	kind    hintKind
	key     claimKey
	item    Item
}

func (rf *readyFile) claimName() string { return claimName(rf.key.epoch, rf.key.seq, rf.name) }

// round is one Pick.
type round struct {
	ctx   context.Context
	admit func(Candidate) Verdict
	room  int // claims it may still make
	looks int // entries it may still look at
	ready []*readyFile
	names map[string]struct{} // of ready: an event and the pass may tell of one file
	// inPass says that the entry looked at came from the pass.
	inPass bool
	paused bool // a verdict asked for a pause in the pass
}

func (r *round) over() bool { return len(r.ready) >= r.room || r.looks <= 0 || r.ctx.Err() != nil }

// Pick finds up to max files that are ready and claims them: each is renamed
// into .relay under its id, and the directories touched are synced once, before
// it returns. Not a byte of a file may be offered before that.
//
// It looks first at claims that nobody was told of yet (retried dead letters,
// claims of a Pick whose sync failed), then at names from events, then at the
// pass over the directory. It looks at a bounded number of entries and returns
// early rather than wait for a file. admit is asked about every candidate, more
// than once if the file is not ready at first; it must not block.
//
// An error means that nothing was handed out; what was claimed all the same
// comes with a later Pick. A file that can't be taken is never an error: it is
// counted, with the reason, in Stats.
func (o *Outbox) Pick(ctx context.Context, max int, admit func(Candidate) Verdict) (Picked, error) {
	if err := o.enter(); err != nil {
		return Picked{}, err
	}
	defer o.leave()
	o.picker.mu.Lock()
	defer o.picker.mu.Unlock()
	if err := errors.Join(o.picker.err, ctx.Err()); err != nil {
		o.picker.err = nil
		return Picked{}, err
	}
	r := &round{ctx: ctx, admit: admit, looks: o.cfg.limits.looks, names: map[string]struct{}{}}
	items, more, err := o.pick(r, max)
	if err != nil && len(items) > 0 {
		o.picker.err, err = err, nil
		more = true
	}
	o.armTimer()
	return Picked{Items: items, More: more, Paused: r.paused}, err
}

func (o *Outbox) pick(r *round, max int) ([]Item, bool, error) {
	items, err := o.releaseHeld(r.ctx, max)
	if err != nil {
		return nil, false, err
	}
	r.room = max - len(items)
	if o.watch != nil {
		o.watch.drain()
	}
	if o.hints.takeLost() {
		o.wantPass.Store(true)
		o.picker.obs.distrust()
	}
	// A quarter is kept for the pass, so that a busy producer does not starve
	// what lies there from before.
	all := r.room
	if o.picker.pass != nil || o.wantPass.Load() {
		r.room -= r.room / 4
	}
	o.lookAtDue(r)
	o.lookAtEvents(r)
	r.room = all
	passErr := o.lookAtPass(r)
	o.lookAtEvents(r)
	claimed, err := o.claimAll(r)
	return append(items, claimed...), o.more(), errors.Join(passErr, err)
}

// more reports whether a Pick right now would find work.
func (o *Outbox) more() bool {
	p := &o.picker
	if ob := p.obs.first(); ob != nil && !ob.due.After(time.Now()) {
		return true
	}
	return o.hints.len() > 0 || ((p.pass != nil || o.wantPass.Load()) && !o.passWaits())
}

// lookAtDue looks at the observed files whose time has come.
func (o *Outbox) lookAtDue(r *round) {
	now := time.Now()
	for !r.over() {
		ob := o.picker.obs.first()
		if ob == nil || ob.due.After(now) {
			return
		}
		ob.looks++
		o.look(r, ob.name, ob.kind)
	}
}

// lookAtEvents looks at the names that events told of.
func (o *Outbox) lookAtEvents(r *round) {
	for !r.over() {
		name, kind, ok := o.hints.next()
		if !ok {
			return
		}
		name, _ = o.subject(name)
		if ob := o.picker.obs.get(name); ob != nil {
			ob.looks = 0
		}
		o.look(r, name, kind)
	}
}

// look decides about one name: it becomes ready, or is observed, or stays.
func (o *Outbox) look(r *round, name string, kind hintKind) {
	r.looks--
	if _, twice := r.names[name]; twice || silentName(name) {
		return
	}
	st, err := o.root.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		o.forget(name)
		return
	}
	if why, rejected := o.refuse(name, st, err); why != "" {
		o.leaveIt(r, name, st, answer{why: why, rejected: rejected})
		return
	}
	if kind == hintMoved && o.picker.ownMove(name, st.Ino) {
		return
	}
	v := r.admit(Candidate{Name: name, Size: st.Size, MTime: st.MTime})
	if !v.Take {
		switch {
		case v.Pause && r.inPass:
			r.paused = true
		case v.Pause: // an event is told once; a pass finds the file again
			o.wantPass.Store(true)
		}
		o.leaveIt(r, name, st, answer{why: cmp.Or(v.Reason, whyRefused)})
		return
	}
	ob := o.observe(name, kind, st)
	a := o.isReady(ob, st)
	if !a.ready {
		o.wait(r, ob, st, a)
		return
	}
	r.names[name] = struct{}{}
	r.ready = append(r.ready, &readyFile{name: name, st: st, verdict: v, kind: ob.kind})
	o.picker.obs.drop(name)
}

// refuse says why a name is no candidate, or "".
func (o *Outbox) refuse(name string, st fileStat, err error) (why string, rejected bool) {
	if err != nil {
		return whyUnread + errWords(err), true
	}
	if why, rejected = o.refuseName(name); why != "" {
		return why, rejected
	}
	return typeWords(st.Mode), true
}

// observe returns what is known of the file, or a fresh start.
func (o *Outbox) observe(name string, kind hintKind, st fileStat) *observed {
	ob := o.picker.obs.get(name)
	if ob == nil {
		return &observed{name: name, kind: kind, st: st, since: time.Now(), slot: -1}
	}
	ob.kind = kind
	return ob
}

// wait puts a file that is not ready among the observed ones if it is to be
// looked at again.
func (o *Outbox) wait(r *round, ob *observed, st fileStat, a answer) {
	if ob.looks >= maxLooks && o.picker.obs.full() {
		a.after = 0 // files that never come to rest must not hold up the pass
	}
	if a.after == 0 {
		o.leaveIt(r, ob.name, st, a)
		return
	}
	ob.due, ob.why = time.Now().Add(a.after), a.why
	if !o.picker.obs.put(ob) {
		o.wantPass.Store(true) // no room: a later pass finds it again
	}
	o.tally.put(ob.name, note{reason: a.why, at: st.changed()}, r.inPass)
}

// leaveIt notes why a file stays where it is. The next event or pass looks again.
func (o *Outbox) leaveIt(r *round, name string, st fileStat, a answer) {
	o.picker.obs.drop(name)
	o.tally.put(name, note{reason: a.why, rejected: a.rejected, at: st.changed()}, r.inPass)
}

func (o *Outbox) forget(name string) {
	o.picker.obs.drop(name)
	o.tally.forget(name)
}
