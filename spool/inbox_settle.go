package spool

// Settle notes what the sender says is over. The ledger drops the rows of
// items up to each mark with the next group and answers for them with
// *SettledError from then on. Marks of epochs of which nothing is known here
// are ignored, as are marks lower than a known one. Settle does not wait.
func (in *Inbox) Settle(id SpoolID, marks []Mark) {
	for _, m := range marks {
		in.book.want(epochKey{spool: id, epoch: m.Epoch}, m.Seq)
	}
}

// dropSettled removes the kept partials of items that are over: nobody will
// go on with them.
func (in *Inbox) dropSettled() {
	for _, k := range in.book.idle(in.book.settledLocked) {
		_ = in.removeStage(k) // noted in the book; a later recovery tries again
		in.book.release(k)
	}
}
