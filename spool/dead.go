package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Obituary says why a file was set aside. It lies beside it as JSON.
type Obituary struct {
	// Code is short and stable, Reason is for people.
	Code      string `json:"code"`
	Reason    string `json:"reason"`
	Cluster   string `json:"cluster,omitempty"`
	Collector string `json:"collector,omitempty"` // who said so
	// Delivered have it. Owed are those a Retry is for when somebody has it.
	Delivered []string  `json:"delivered,omitempty"`
	Owed      []string  `json:"owed,omitempty"`
	Attempts  int       `json:"attempts"`
	At        time.Time `json:"at"` // UTC
}

// DeadItem is one file that was set aside.
type DeadItem struct {
	ID    ID
	Name  string
	Size  int64
	MTime time.Time
	// Obituary is empty, but for a Reason, when its file can't be read.
	Obituary Obituary
}

// obituaryFormat is the version of the reason file.
const obituaryFormat = 1

// obituarySuffix follows the claim name of a dead letter in the name of its
// reason file. A payload may end in it too; see isReason.
const obituarySuffix = ".json"

// reasonFile is <claim name>.json: the obituary and what it is about.
type reasonFile struct {
	Format int       `json:"format"`
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Size   int64     `json:"size"`
	MTime  time.Time `json:"mtime"`
	Obituary
}

// Bury sets a claimed file aside in .relay/dead, with the reason beside it; it
// is not sent any more until somebody retries it. Nothing is deleted.
//
//	B1 write <claim>.json, durable     a crash: a reason without its file, removed at open
//	B2 rename the file into dead/      a crash: claimed or dead, never neither
//	B3 sync dead/, then the directory it left
//
// After an error the file is still claimed or already dead; call it again.
func (o *Outbox) Bury(ctx context.Context, it Item, why Obituary) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if err := errors.Join(ctx.Err(), o.bury(it, why)); err != nil {
		return fmt.Errorf("set %s aside: %w", it.Name, err)
	}
	return nil
}

func (o *Outbox) bury(it Item, why Obituary) error {
	cd := o.claims.dirIfAny(it.Bound)
	if cd == nil {
		return fs.ErrNotExist
	}
	name := it.claimName()
	why.At = why.At.UTC()
	r := reasonFile{Format: obituaryFormat, ID: it.ID.String(), Name: it.Name, Size: it.Size, MTime: it.MTime, Obituary: why}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(o.dead, name+obituarySuffix, append(text, '\n')); err != nil {
		return err
	}
	crash(PointDeadReason)
	if err := cd.Rename(name, o.dead, name); err != nil && !o.isDead(name, err) {
		return err
	}
	crash(PointDeadMoved)
	if err := o.dead.Sync(); err != nil {
		return err
	}
	o.claims.setDead(it.key(), true)
	cd.leave(it.key())
	return o.syncDir(cd)
}

// isDead reports whether a rename failed because an earlier call did it.
func (o *Outbox) isDead(name string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = o.dead.Stat(name)
	return err == nil
}

func (t *claimTable) setDead(k claimKey, dead bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if dead {
		t.dead.Add(k.epoch, k.seq)
		return
	}
	t.dead.Remove(k.epoch, k.seq)
}

func (t *claimTable) isDead(k claimKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dead.Has(k.epoch, k.seq)
}

// Dead lists up to limit dead letters, in no order; limit 0 is all.
func (o *Outbox) Dead(ctx context.Context, limit int) ([]DeadItem, error) {
	if err := o.enter(); err != nil {
		return nil, err
	}
	defer o.leave()
	var items []DeadItem
	errEnough := errors.New("enough")
	err := eachEntry(o.dead, func(e entry) error {
		if limit > 0 && len(items) >= limit {
			return errEnough
		}
		d, err := o.deadItem(e)
		if err == nil {
			items = append(items, d)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, errEnough) {
		return items, fmt.Errorf("list dead letters: %w", err)
	}
	return items, nil
}

// deadItem reads one entry of dead/; fs.ErrNotExist when it is no dead letter.
func (o *Outbox) deadItem(e entry) (DeadItem, error) {
	key, name, ok := parseClaim(e)
	if !ok || o.isReason(e.name) {
		return DeadItem{}, fs.ErrNotExist
	}
	st, err := o.dead.Stat(e.name)
	if err != nil {
		return DeadItem{}, err
	}
	d := DeadItem{ID: ID{o.id, key.epoch, key.seq}, Name: name, Size: st.Size, MTime: st.MTime}
	r, err := o.readReason(e.name)
	if err != nil {
		d.Obituary.Reason = err.Error()
		return d, nil
	}
	d.Obituary = r.Obituary
	return d, nil
}

// isReason tells a reason file from a payload whose own name ends in .json. Of
// one id there is one payload: if the name without the suffix is there, that is
// it; if the name with one more suffix is there, this is the payload. A reason
// that is alone is told by what it says.
func (o *Outbox) isReason(name string) bool {
	payload, isJSON := strings.CutSuffix(name, obituarySuffix)
	if !isJSON {
		return false
	}
	if _, err := o.dead.Stat(payload); err == nil {
		return true
	}
	if _, err := o.dead.Stat(name + obituarySuffix); err == nil {
		return false
	}
	_, err := o.readReason(payload)
	return err == nil
}

// readReason reads the reason of a dead letter. Errors wrap ErrObituary.
func (o *Outbox) readReason(claim string) (reasonFile, error) {
	var r reasonFile
	text, err := readSmall(o.dead, claim+obituarySuffix, 1<<20)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("%w: %w", ErrObituary, err)
	}
	id, err := ParseID(r.ID)
	if err != nil || r.Format != obituaryFormat || claimName(id.Epoch, id.Seq, r.Name) != claim {
		return r, fmt.Errorf("%w: it is about another file, or of another version", ErrObituary)
	}
	return r, nil
}

// RemoveDead deletes a dead letter for good. ErrNoDead when there is none.
func (o *Outbox) RemoveDead(ctx context.Context, id ID) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	o.retries.Lock()
	defer o.retries.Unlock()
	claim, err := o.findDead(ctx, id)
	if err != nil {
		return err
	}
	// The file first: without its reason nobody could tell who has it.
	if err := removeIfThere(o.dead, claim); err != nil {
		return err
	}
	if err := removeIfThere(o.dead, claim+obituarySuffix); err != nil {
		return err
	}
	o.claims.setDead(claimKey{id.Epoch, id.Seq}, false)
	return o.dead.Sync()
}

// findDead returns the name of a dead letter in dead/.
func (o *Outbox) findDead(ctx context.Context, id ID) (string, error) {
	found := ""
	errFound := errors.New("found")
	want := claimKey{id.Epoch, id.Seq}
	if id.Spool != o.id || !o.claims.isDead(want) {
		return "", fmt.Errorf("%w: %s", ErrNoDead, id)
	}
	err := eachEntry(o.dead, func(e entry) error {
		// A retry that failed half-way may have left nothing but its plan.
		e.name = strings.TrimPrefix(e.name, planPrefix)
		if key, _, ok := parseClaim(e); ok && key == want && !o.isReason(e.name) {
			found = e.name
			return errFound
		}
		return ctx.Err()
	})
	switch {
	case errors.Is(err, errFound):
		return found, nil
	case err != nil:
		return "", err
	}
	return "", fmt.Errorf("%w: %s", ErrNoDead, id)
}
