package spool

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

func (o *Outbox) restoreEpochs(context.Context) error {
	if err := o.epochs.load(o.relay); err != nil {
		return err
	}
	o.claims.earlier = o.epochs.list()
	return nil
}

// oldestClaim is the claim with the lowest seq of an epoch.
type oldestClaim struct {
	cd   *claimDir
	seq  uint64
	name string
}

// restoreClaims makes every claim on disk pending. Only names are read; the age
// of an epoch is that of its oldest claim.
func (o *Outbox) restoreClaims(ctx context.Context) error {
	var keys []claimKey
	oldest := map[uint64]oldestClaim{}
	for _, bound := range o.claims.allDirs() {
		cd := o.claims.dirIfAny(bound)
		err := eachEntry(cd, func(e entry) error {
			key, _, ok := parseClaim(e)
			if !ok {
				o.noteForeign(cd, e)
				return ctx.Err()
			}
			keys = append(keys, key)
			if first, ok := oldest[key.epoch]; !ok || key.seq < first.seq {
				oldest[key.epoch] = oldestClaim{cd, key.seq, e.name}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	// Sorted, so that each one only lengthens the last range of the set.
	slices.SortFunc(keys, func(a, b claimKey) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.seq, b.seq))
	})
	for _, k := range keys {
		o.claims.pending.Add(k.epoch, k.seq)
	}
	for epoch, first := range oldest {
		if st, err := first.cd.Stat(first.name); err == nil {
			o.claims.ageOf(epoch).add(first.seq, st.changed())
		}
	}
	return nil
}

// parseClaim reads the name of an entry of claimed/.
func parseClaim(e entry) (claimKey, string, bool) {
	epoch, seq, name, ok := cutClaimID(e.name)
	if !ok || !e.typ.IsRegular() || CheckName(name) != nil {
		return claimKey{}, "", false
	}
	return claimKey{epoch, seq}, name, true
}

// noteForeign counts what lies in claimed/ and is not a claim. It is left there.
func (o *Outbox) noteForeign(cd *claimDir, e entry) {
	if cd.bound == "" && strings.HasPrefix(e.name, "@") && o.claims.dirIfAny(e.name[1:]) != nil {
		return
	}
	o.log.Warn("not a claim, left where it is", "dir", cd.Path(), "name", e.name)
	o.tally.foreign(e.name)
}
