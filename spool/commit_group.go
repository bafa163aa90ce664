package spool

// publishGroup is S4 to S8 for the items of a group, and S9 for those of the
// groups before. Each step is over for all before the next begins for any.
func (c *committer) publishGroup(group []*job) {
	in := c.in
	if err := in.dirs.inPlace(); err != nil {
		c.fail(err)
		tellAll(group, in.book.trouble())
		return
	}
	// S4: the entry of each file in stage/ must be durable before its row is, or
	// recovery would take a file that the disk forgot for one that was published.
	if len(group) > 0 {
		if err := in.dirs.stage.Sync(); err != nil {
			c.syncFailed(err)
			tellAll(group, diskError(err))
			return
		}
		crash(PointStageDir)
	}
	// S5: from here on the items are published, now or after a restart.
	names := newNamer(in)
	w, named := c.nextWrite(names, group)
	if err := c.writeGroup(w); err != nil {
		c.inDoubt(group, err)
		return
	}
	tellRefused(group)
	// S6
	done, failed, err := in.rename(names, named, func() { crash(PointPublishedSome) }, c.write)
	if err != nil {
		c.inDoubt(group, err)
		return
	}
	if len(done) > 0 {
		crash(PointPublished)
		// S7: until the inbox is synced, a power cut may take the names back.
		if err := in.dirs.root.Sync(); err != nil {
			in.counts.syncFailures.Add(1)
			c.inDoubt(group, err)
			return
		}
		crash(PointInboxSynced)
		// S8
		c.answer(done)
		crash(PointAnswered)
	}
	c.giveUp(failed)
}

// nextWrite chooses the names of a group and makes its transaction. Items that
// can't have a name get a refusal, and those of them with a row lose it.
func (c *committer) nextWrite(names *namer, group []*job) (w ledgerWrite, named []*job) {
	w = ledgerWrite{delivered: c.published, marks: c.in.book.takeMarks(), sweep: c.sweeps, now: c.in.cfg.seams.now()}
	for _, j := range group {
		if j.refusal = names.choose(&j.row); j.refusal == nil {
			named = append(named, j)
			w.prepare = append(w.prepare, j.row)
		} else if j.owed {
			w.undo = append(w.undo, j.row.key)
		}
	}
	return w, named
}

// writeGroup commits the transaction of a group: S5, and S9 for those before.
func (c *committer) writeGroup(w ledgerWrite) error {
	if w.empty() {
		return nil
	}
	left, err := c.in.ledger.Load().write(w)
	if err != nil {
		return err
	}
	c.published, c.sweeps = nil, left
	c.in.book.committed(w)
	if len(w.marks) > 0 {
		c.in.dropSettled()
	}
	if len(w.prepare) > 0 {
		c.in.counts.groups.Add(1)
		crash(PointPrepared)
	}
	if len(w.delivered) > 0 {
		crash(PointDelivered)
	}
	return nil
}

// write commits a transaction within a group: other names, or rows taken back.
func (c *committer) write(w ledgerWrite) error {
	if _, err := c.in.ledger.Load().write(w); err != nil {
		return err
	}
	c.in.book.committed(w)
	return nil
}

// answer is S8. The rows stay PREPARED until the next group: recovery knows
// them for published by their stage files being gone.
func (c *committer) answer(done []*job) {
	for _, j := range done {
		c.published = append(c.published, j.row)
		c.in.book.forget(j.row.key)
		c.in.book.noLongerOwed(j.row.key)
		c.in.counts.published.Add(1)
		c.in.counts.bytes.Add(j.row.size)
		if j.row.publishedAs != j.row.name {
			c.in.counts.renamed.Add(1)
		}
		j.tell(j.row.receipt(false), nil)
	}
}

// giveUp answers for items that could not be renamed. First their rows go: a
// sender that is told "not published" may hand the item to somebody else, and
// then no restart here may publish it.
func (c *committer) giveUp(failed []*job) {
	if len(failed) == 0 {
		return
	}
	w := ledgerWrite{now: c.in.cfg.seams.now()}
	for _, j := range failed {
		w.undo = append(w.undo, j.row.key)
	}
	if err := c.write(w); err != nil {
		c.inDoubt(failed, err)
		return
	}
	tellRefused(failed)
}

// lastWrite brings the ledger up to date before it is closed. It may fail:
// recovery finds out the same.
func (c *committer) lastWrite() {
	w, _ := c.nextWrite(nil, nil)
	if err := c.writeGroup(w); err != nil {
		c.in.log.Warn("ledger is behind at the end", "err", err)
	}
}
