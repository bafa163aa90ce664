package spool

import (
	"errors"
	"fmt"
	"io/fs"
)

// renameRounds bounds how often an item gets another name because the one it
// had was taken between the look and the rename.
const renameRounds = 8

// rename is S6: each prepared item moves from stage/ to its name in the inbox.
// When a name was taken meanwhile, another one is chosen and committed by write
// before the next try, so that the ledger always has the name of the receipt.
//
// done are in the inbox. failed are in stage/ for sure and have a refusal. An
// error means that neither is known of some item. between is called between
// two renames.
func (in *Inbox) rename(names *namer, jobs []*job, between func(), write func(ledgerWrite) error) (done, failed []*job, err error) {
	for round := 0; len(jobs) > 0; round++ {
		var taken []*job
		for i, j := range jobs {
			var stays bool
			stays, err = in.renameOne(j.row)
			switch {
			case err == nil:
				done = append(done, j)
			case errors.Is(err, fs.ErrExist) && round < renameRounds:
				taken = append(taken, j)
			case stays:
				j.refusal = err
				failed = append(failed, j)
			default:
				return done, failed, err
			}
			if i < len(jobs)-1 {
				between()
			}
		}
		w := ledgerWrite{now: in.cfg.seams.now()}
		jobs = nil
		for _, j := range taken {
			if j.refusal = names.choose(&j.row); j.refusal != nil {
				failed = append(failed, j)
				continue
			}
			w.prepare = append(w.prepare, j.row)
			jobs = append(jobs, j)
		}
		if len(jobs) == 0 {
			break
		}
		if err := write(w); err != nil {
			return done, failed, err
		}
	}
	return done, failed, nil
}

// renameOne moves one item. When that fails, stays reports that the stage file
// was seen to be still there, or that somebody else removed it; in both cases
// the item is not in the inbox.
func (in *Inbox) renameOne(r row) (stays bool, err error) {
	stage, root, from := in.dirs.stage, in.dirs.root, r.key.stageName()
	replace := in.cfg.OnConflict == ConflictReplace
	if replace {
		err = stage.Rename(from, root, r.publishedAs)
	} else {
		err = stage.RenameNew(from, root, r.publishedAs)
	}
	if err == nil {
		return false, nil
	}
	_, statErr := stage.Stat(from)
	gone := errors.Is(statErr, fs.ErrNotExist)
	if stays = statErr == nil || gone && errors.Is(err, fs.ErrNotExist); !stays {
		return false, fmt.Errorf("rename %s: %w", r.key, errors.Join(err, statErr))
	}
	if !replace && errors.Is(err, fs.ErrExist) {
		return true, fmt.Errorf("%w: %w", ErrNameTaken, err)
	}
	if st, statErr := root.Stat(r.publishedAs); replace && statErr == nil && st.Mode.IsDir() {
		return true, fmt.Errorf("%w: %q is a directory", ErrNameTaken, r.publishedAs)
	}
	return true, diskError(err)
}
