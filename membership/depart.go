package membership

import (
	"context"
	"log/slog"
	"time"
)

const (
	departTimeout = time.Second      // for each of the two last words to be sent
	updatePause   = time.Second / 10 // between two words of an ever changing node
	expireEvery   = 10 * time.Second // how exactly times to keep things are kept
)

// updateLoop tells the others what changed about this node, and forgets what is
// old enough to be forgotten.
func (p *Pool) updateLoop() {
	defer close(p.updated)
	ticker := time.NewTicker(expireEvery)
	defer ticker.Stop()
	clashes := make(map[string]bool)
	for {
		select {
		case <-p.loops.Done():
			return
		case <-p.dirty:
			p.tell()
		case <-ticker.C:
			p.expire(time.Now())
			clashes = p.logClashes(clashes)
		}
	}
}

// tell has the library send this node's metadata to the others. Changes that
// come within the pause after it are told together.
func (p *Pool) tell() {
	_ = p.list.UpdateNode(time.Millisecond) // its error is that it goes on sending
	timer := time.NewTimer(updatePause)
	defer timer.Stop()
	select {
	case <-p.loops.Done():
	case <-timer.C:
	}
}

func (p *Pool) expire(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	members, refused := p.table.expire(now), p.refused.expire(now)
	if members || refused {
		p.changedLocked()
	}
}

// logClashes logs the clashes of names that were not there before.
func (p *Pool) logClashes(known map[string]bool) map[string]bool {
	p.mu.Lock()
	clashes := p.table.clashes()
	p.mu.Unlock()
	now := make(map[string]bool, len(clashes))
	for _, r := range clashes {
		now[r.Reason] = true
		if !known[r.Reason] {
			p.bridge.log(slog.LevelWarn, "name is taken", slog.String("node_id", r.NodeID), slog.String("reason", r.Reason))
		}
	}
	return now
}

// Leave tells the others that this node leaves the network for good, and then
// that it is gone. The pool goes on listening, and knows of the others, until
// Close; nothing is told of this node any more.
//
// It waits until some others were told, at most two seconds or until ctx ends.
// Idempotent. Errors: ErrClosed; the library's when nobody was told in time: then
// this node will be taken for failed, with or without the intent to leave.
func (p *Pool) Leave(ctx context.Context) error {
	p.exit <- struct{}{}
	defer func() { <-p.exit }()
	if p.closed {
		return ErrClosed
	}
	return p.depart(ctx, IntentLeave)
}

// Close tells the others that this node stops for now, unless it has left, and
// ends the pool. It waits for the pool's goroutines. Idempotent. That nobody
// could be told is logged and no error: they will see.
func (p *Pool) Close(ctx context.Context) error {
	p.exit <- struct{}{}
	defer func() { <-p.exit }()
	if p.closed {
		return nil
	}
	if err := p.depart(ctx, IntentStop); err != nil {
		p.bridge.log(slog.LevelWarn, "others not told of the stop", slog.Any("err", err))
	}
	p.closed = true
	err := p.list.Shutdown() // never before Leave, which panics after it; cuts the streams that the loops wait for
	p.wg.Wait()
	p.stopLog()
	p.logWait.Wait()
	return err
}

// depart says what this node is about to do and waits for that to be sent,
// since the word that it is gone takes its place where it is not; then says that
// it is gone. p.exit must be taken.
func (p *Pool) depart(ctx context.Context, intent Intent) error {
	if p.departed {
		return nil
	}
	p.departed = true
	p.stop() // or joinLoop would bring this node back
	p.Update(func(m *Meta) {
		if m.Intent == IntentNone {
			m.Intent = intent
		}
	})
	<-p.updated // or a word of updateLoop could take the place of the last ones; it takes a millisecond
	if err := p.list.UpdateNode(timeLeft(ctx, departTimeout)); err != nil {
		p.bridge.log(slog.LevelDebug, "intent not told in time", slog.Any("err", err))
	}
	return p.list.Leave(timeLeft(ctx, departTimeout))
}

// timeLeft is the time until ctx ends, at most limit and at least 1 ms: to the
// library, zero is for ever.
func timeLeft(ctx context.Context, limit time.Duration) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	if ctx.Err() != nil {
		limit = 0
	}
	return max(limit, time.Millisecond)
}
