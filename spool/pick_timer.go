package spool

import "time"

// armTimer makes the outbox wake when the first observed file is due. With
// nothing to observe no timer runs.
func (o *Outbox) armTimer() {
	p := &o.picker
	due, any := o.claims.firstDue(o.cfg.Grace)
	if ob := p.obs.first(); ob != nil && (!any || ob.due.Before(due)) {
		due, any = ob.due, true
	}
	switch {
	case !any:
		p.stop()
	case p.timer == nil:
		p.timer = time.AfterFunc(time.Until(due), o.signal)
	default:
		p.timer.Reset(time.Until(due))
	}
}

func (p *picker) stop() {
	if p.timer != nil {
		p.timer.Stop()
	}
}
