package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// planPrefix begins the names of plans in dead/. A plan is written before the
// first claim of a retry is made, so that one cut short goes on with the same
// ids: those that were made are not made again.
const planPrefix = ".retry."

// retryPlan is the file .retry.<claim name>.
type retryPlan struct {
	Format int           `json:"format"`
	Dead   string        `json:"dead"` // the claim name of the dead letter
	Name   string        `json:"name"`
	Claims []plannedHeir `json:"claims"` // in the order in which they are made
}

// plannedHeir is one claim that a retry makes.
type plannedHeir struct {
	ID        string `json:"id"`
	Collector string `json:"collector,omitempty"`
}

// Retry makes a dead letter a claim again, under a new id; the next Pick hands
// it out (or Claimed, when very many wait). If nobody has it, it is routed anew. If some have it, there will be
// one claim bound to each collector it is still owed to, so that those that
// have it never get it twice.
//
//	T1 write the plan, durable      T2 link the file into claimed/@X/ for each but
//	the last, sync                  T3 rename it for the last, sync
//	T4 remove the reason, then the plan, sync dead/
//
// A crash in between is made good at the next open, a failure by the next
// Retry. Errors: ErrNoDead, ErrObituary, the disk's.
func (o *Outbox) Retry(ctx context.Context, id ID) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	o.retries.Lock()
	defer o.retries.Unlock()
	if err := o.retry(ctx, id); err != nil {
		return fmt.Errorf("retry %s: %w", id, err)
	}
	o.signal()
	return nil
}

func (o *Outbox) retry(ctx context.Context, id ID) error {
	claim, err := o.findDead(ctx, id)
	if err != nil {
		return err
	}
	plan, err := o.readPlan(planPrefix + claim)
	if errors.Is(err, fs.ErrNotExist) {
		plan, err = o.makePlan(claim)
	}
	if err != nil {
		return err
	}
	items, err := o.carryOut(plan, o.claims.hide)
	if err != nil {
		return err
	}
	for _, it := range items {
		if o.claims.hold(o.cfg.limits.held, heldClaim{item: it}) == 0 {
			o.claims.show(it.key()) // no room: Claimed finds it
		}
	}
	return nil
}

// makePlan is T1.
func (o *Outbox) makePlan(claim string) (retryPlan, error) {
	r, err := o.readReason(claim)
	if err != nil {
		return retryPlan{}, err
	}
	heirs := []string{""}
	if len(r.Delivered) > 0 {
		heirs = r.Owed
	}
	if len(heirs) == 0 {
		return retryPlan{}, errors.New("everybody has it; remove it instead")
	}
	plan := retryPlan{Format: obituaryFormat, Dead: claim, Name: r.Name}
	var keys []claimKey
	for _, collector := range heirs {
		if collector != "" && checkCollectorID(collector) != nil {
			return retryPlan{}, errors.Join(ErrObituary, checkCollectorID(collector))
		}
		key, err := o.nextKey(r.Cluster)
		if err != nil {
			o.claims.unused(keys...)
			return retryPlan{}, err
		}
		keys = append(keys, key)
		id := ID{o.id, key.epoch, key.seq}
		plan.Claims = append(plan.Claims, plannedHeir{ID: id.String(), Collector: collector})
	}
	text, err := json.Marshal(plan)
	if err == nil {
		err = replaceFile(o.dead, planPrefix+claim, append(text, '\n'))
	}
	if err != nil {
		// The plan may be there all the same: its ids stay pending, and the
		// next Retry or open goes by it or never uses them.
		return retryPlan{}, err
	}
	return plan, nil
}

func (o *Outbox) readPlan(name string) (retryPlan, error) {
	var p retryPlan
	text, err := readSmall(o.dead, name, 1<<20)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s: %w", name, err)
	}
	if p.Format != obituaryFormat || planPrefix+p.Dead != name || len(p.Claims) == 0 {
		return p, fmt.Errorf("%s: not a plan of this version", name)
	}
	return p, nil
}

// carryOut is T2 to T4, from wherever an earlier call stopped. Each claim is
// pending before it is made, and noted with take.
func (o *Outbox) carryOut(p retryPlan, take func(claimKey)) ([]Item, error) {
	items := make([]Item, len(p.Claims))
	last := len(p.Claims) - 1
	for i, heir := range p.Claims {
		it, cd, err := o.heir(p, heir)
		if err != nil {
			return nil, err
		}
		take(it.key())
		if i == last {
			err = renameOnce(o.dead, p.Dead, cd, it.claimName())
		} else {
			err = linkOnce(o.dead, p.Dead, cd, it.claimName())
		}
		if err == nil {
			crash(PointRetryLinked)
			err = o.syncDir(cd)
		}
		if err != nil {
			return nil, err
		}
		if items[i], err = o.itemAt(heir.Collector, it.key(), p.Name); err != nil {
			return nil, err
		}
	}
	if err := o.endRetry(p); err != nil {
		o.log.Warn("plan of a retry is left over, the next open removes it", "item", p.Name, "err", err)
	}
	return items, nil
}

// heir makes the claim of a plan pending.
func (o *Outbox) heir(p retryPlan, heir plannedHeir) (Item, *claimDir, error) {
	id, err := ParseID(heir.ID)
	if err != nil {
		return Item{}, nil, err
	}
	cd, err := o.claimDir(heir.Collector)
	if err != nil {
		return Item{}, nil, err
	}
	o.claims.mu.Lock()
	defer o.claims.mu.Unlock()
	o.claims.pending.Add(id.Epoch, id.Seq)
	return Item{ID: id, Name: p.Name, Bound: heir.Collector}, cd, nil
}

// endRetry is T4.
func (o *Outbox) endRetry(p retryPlan) error {
	if epoch, seq, _, ok := cutClaimID(p.Dead); ok {
		o.claims.setDead(claimKey{epoch, seq}, false)
	}
	if err := removeIfThere(o.dead, p.Dead+obituarySuffix); err != nil {
		return err
	}
	if err := removeIfThere(o.dead, planPrefix+p.Dead); err != nil {
		return err
	}
	return o.dead.Sync()
}

// linkOnce and renameOnce do nothing when the new name is there: ids are unique,
// so an earlier call made it.
func linkOnce(from dir, name string, to dir, newName string) error {
	if _, err := to.Stat(newName); err == nil {
		return nil
	}
	return from.Link(name, to, newName)
}

func renameOnce(from dir, name string, to dir, newName string) error {
	if _, err := to.Stat(newName); err == nil {
		return nil
	}
	return from.Rename(name, to, newName)
}

// restoreDead counts the dead letters and ends what a crash cut short.
func (o *Outbox) restoreDead(ctx context.Context) error {
	var plans, reasons []string
	err := eachEntry(o.dead, func(e entry) error {
		key, _, ok := parseClaim(e)
		switch {
		case strings.HasPrefix(e.name, newPrefix):
			return removeIfThere(o.dead, e.name) // half a reason or plan
		case strings.HasPrefix(e.name, planPrefix):
			plans = append(plans, e.name)
		case !ok:
		case !o.isReason(e.name):
			o.claims.setDead(key, true)
		case o.isOrphan(e.name):
			reasons = append(reasons, e.name)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	for _, name := range plans {
		plan, err := o.readPlan(name)
		if err != nil {
			return err
		}
		if err := o.restoreRetry(plan); err != nil {
			return fmt.Errorf("go on with a retry: %w", err)
		}
	}
	for _, name := range reasons {
		if err := removeIfThere(o.dead, name); err != nil {
			return err
		}
	}
	return nil
}

// restoreRetry ends a retry that a crash cut short. If the dead letter has
// left, T3 was done, and its claims may be finished by now.
func (o *Outbox) restoreRetry(p retryPlan) error {
	if _, err := o.dead.Stat(p.Dead); errors.Is(err, fs.ErrNotExist) {
		return o.endRetry(p)
	}
	_, err := o.carryOut(p, func(claimKey) {}) // Claimed finds them
	return err
}

// hide keeps a claim from Claimed until Pick hands it out.
func (t *claimTable) hide(k claimKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heldKeys[k] = struct{}{}
}

// show undoes hide.
func (t *claimTable) show(k claimKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.heldKeys, k)
}

// isOrphan reports whether a reason file has no payload: Bury or RemoveDead was
// cut short, or Retry, whose plan knows all that matters.
func (o *Outbox) isOrphan(reason string) bool {
	_, err := o.dead.Stat(strings.TrimSuffix(reason, obituarySuffix))
	return errors.Is(err, fs.ErrNotExist)
}
