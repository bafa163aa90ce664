package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// recover brings inbox, stage/ and ledger to a state without doubt, at the
// start and after a failure. Keys that are under way are left to their owners,
// but for those that have a PREPARED row.
//
//  1. Sync stage/ and the inbox: what is seen next is what a power cut leaves.
//  2. A PREPARED row whose stage file is there: S6 did not happen. Rename.
//  3. A PREPARED row without: it was published, since only S6 removes a
//     prepared stage file. The inbox is not looked at; its reader may have
//     taken the file.
//  4. Sync the inbox, then note both as DELIVERED.
//  5. Stage files without a row: keep, remove or set aside.
//
// A rename that fails, for want of space say, is no reason not to start: the
// row stays, and the sender, who has had no answer, will ask again.
//
// published are the rows of steps 2 and 3.
func (in *Inbox) recover(ctx context.Context) (published map[itemKey]row, err error) {
	if err := errors.Join(in.dirs.stage.Sync(), in.dirs.root.Sync()); err != nil {
		return nil, err
	}
	rows, err := in.ledger.Load().prepared()
	if err != nil {
		return nil, err
	}
	staged, gone, err := in.sortPrepared(rows)
	if err != nil {
		return nil, err
	}
	owed, err := in.finishPrepared(staged, gone)
	if err != nil {
		return nil, err
	}
	lost, err := in.sortStage(ctx, owed)
	if err != nil {
		return nil, err
	}
	if err := in.publishAgain(lost); err != nil {
		return nil, err
	}
	published = map[itemKey]row{}
	for _, r := range gone {
		published[r.key] = r
	}
	for _, j := range staged {
		if _, ok := owed[j.row.key]; !ok && j.refusal == nil {
			published[j.row.key] = j.row
		}
	}
	return published, in.rebuildBook(owed)
}

// sortPrepared splits PREPARED rows by whether their stage file is there. One
// that is not what was prepared is set aside, and its row goes.
func (in *Inbox) sortPrepared(rows []row) (staged []*job, gone []row, err error) {
	var broken []itemKey
	for _, r := range rows {
		name := r.key.stageName()
		st, err := in.dirs.stage.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			gone = append(gone, r)
		case err != nil:
			return nil, nil, err
		case !st.Mode.IsRegular() || st.Size != r.size:
			why := fmt.Sprintf("it was synced as a file of %d bytes, but is %s of %d bytes", r.size, st.Mode, st.Size)
			if err := in.setAside(in.dirs.stage, name, why); err != nil {
				return nil, nil, err
			}
			broken = append(broken, r.key)
		default:
			staged = append(staged, newJob(r))
		}
	}
	if len(broken) > 0 {
		err = in.note(ledgerWrite{undo: broken})
	}
	return staged, gone, err
}

// finishPrepared is S6, S7 and S9 for what the last process, or the last
// group, left. owed are the rows whose stage files stay.
func (in *Inbox) finishPrepared(staged []*job, gone []row) (owed map[itemKey]row, err error) {
	done, failed, err := in.rename(newNamer(in), staged, func() { crash(PointRecovered) }, in.note)
	if err != nil {
		return nil, err
	}
	if len(done) > 0 {
		crash(PointRecovered)
		if err := in.dirs.root.Sync(); err != nil {
			return nil, err
		}
		in.count(done)
	}
	owed = map[itemKey]row{}
	w := ledgerWrite{delivered: gone}
	for _, j := range done {
		w.delivered = append(w.delivered, j.row)
	}
	for _, j := range failed {
		if errors.Is(j.refusal, ErrNameTaken) {
			w.undo = append(w.undo, j.row.key) // the sender will be told when it asks
			continue
		}
		in.log.Warn("prepared file can't be published yet", "item", j.row.key.String(), "err", j.refusal)
		owed[j.row.key] = j.row
	}
	return owed, in.note(w)
}

func (in *Inbox) count(done []*job) {
	for _, j := range done {
		in.counts.recovered.Add(1)
		in.counts.published.Add(1)
		in.counts.bytes.Add(j.row.size)
	}
}

// note commits a transaction of a recovery.
func (in *Inbox) note(w ledgerWrite) error {
	if w.empty() {
		return nil
	}
	w.now = in.cfg.seams.now()
	_, err := in.ledger.Load().write(w)
	return err
}

// publishAgain publishes files that are delivered by their row, but back in
// stage/, complete: the disk said that the rename was durable, and lost it.
func (in *Inbox) publishAgain(lost []row) error {
	if len(lost) == 0 {
		return nil
	}
	if err := in.note(ledgerWrite{prepare: lost}); err != nil {
		return err
	}
	var jobs []*job
	for _, r := range lost {
		in.log.Error("disk lost the name of a published file; it is published again", "item", r.key.String())
		jobs = append(jobs, newJob(r))
	}
	_, err := in.finishPrepared(jobs, nil)
	return err
}

// rebuildBook loads what the ledger knows.
func (in *Inbox) rebuildBook(owed map[itemKey]row) error {
	epochs, left, err := in.ledger.Load().epochs()
	if err != nil {
		return err
	}
	in.commit.sweeps = left
	in.book.rebuild(epochs, owed)
	return nil
}
