package spool

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// The buckets of ledger.db. The package comment draws what is in them.
var (
	bucketMeta      = []byte("meta")
	bucketPrepared  = []byte("prepared")
	bucketDelivered = []byte("delivered")
	bucketExpiry    = []byte("expiry")
	bucketMarks     = []byte("marks")
)

// sweepRows is how many rows one transaction deletes at most, so that settling
// a long epoch never holds up those who wait for a group.
const sweepRows = 10_000

// rowState is how far an item got, as the ledger has it.
type rowState int

const (
	rowNone      rowState = iota
	rowPrepared           // in stage/, or in the inbox
	rowDelivered          // was in the inbox for good
	rowSettled            // a mark covers it, its row is gone
)

// ledger is the memory of what was published. Reads may run at any time, also
// during a write; writes come from one goroutine.
type ledger struct {
	db   *bbolt.DB
	wrap func(write func() error) error
}

// ledgerWrite is one transaction. Its parts are applied in the order of the fields.
type ledgerWrite struct {
	prepare   []row               // put as PREPARED, or rewritten
	undo      []itemKey           // PREPARED no more, and not delivered either
	delivered []row               // S9: from PREPARED to DELIVERED
	marks     map[epochKey]uint64 // new settled marks, only higher ones
	sweep     []epochKey          // epochs that may have rows below their mark
	now       time.Time           // rows that expired before are dropped
}

func (w *ledgerWrite) empty() bool {
	return len(w.prepare)+len(w.undo)+len(w.delivered)+len(w.marks)+len(w.sweep) == 0
}

// write commits w and returns the epochs of w.sweep and w.marks that have rows
// left to drop. After an error it is not known what was committed: the caller
// closes the ledger, opens it again and looks.
func (l *ledger) write(w ledgerWrite) (left []epochKey, err error) {
	err = l.wrap(func() error {
		return l.db.Update(func(tx *bbolt.Tx) error {
			left, err = applyWrite(tx, w)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return left, nil
}

func applyWrite(tx *bbolt.Tx, w ledgerWrite) ([]epochKey, error) {
	prepared := tx.Bucket(bucketPrepared)
	for _, r := range w.prepare {
		if err := prepared.Put(r.key.ledgerKey(), r.encode()); err != nil {
			return nil, err
		}
	}
	for _, k := range w.undo {
		if err := prepared.Delete(k.ledgerKey()); err != nil {
			return nil, err
		}
	}
	for _, r := range w.delivered {
		if err := deliver(tx, r); err != nil {
			return nil, err
		}
	}
	for e, seq := range w.marks {
		if err := tx.Bucket(bucketMarks).Put(e.bytes(), encodeMark(e, seq)); err != nil {
			return nil, err
		}
		w.sweep = append(w.sweep, e)
	}
	if err := expire(tx, w.now); err != nil {
		return nil, err
	}
	return sweep(tx, w.sweep)
}

// deliver is S9. A plain arrival is forgotten: nobody can ask for it again. So
// is an item that was settled meanwhile.
func deliver(tx *bbolt.Tx, r row) error {
	key := r.key.ledgerKey()
	if err := tx.Bucket(bucketPrepared).Delete(key); err != nil {
		return err
	}
	switch r.key.kind {
	case keyPlain:
		return nil
	case keyItem:
		if seq, ok, err := getMark(tx, r.key.epoch()); err != nil || ok && r.key.id().Seq <= seq {
			return err
		}
	case keyForeign:
		if err := tx.Bucket(bucketExpiry).Put(expiryKey(r), nil); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketDelivered).Put(key, r.encode())
}

// expiryKey sorts the rows that expire by time: seconds (8) | ledger key.
func expiryKey(r row) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(r.expires.Unix())), r.key.ledgerKey()...)
}

// expire drops rows whose time is over. Rows that were put anew since have
// another entry and stay.
func expire(tx *bbolt.Tx, now time.Time) error {
	index := tx.Bucket(bucketExpiry)
	var over [][]byte
	c := index.Cursor()
	for k, _ := c.First(); len(k) > 8 && len(over) < sweepRows; k, _ = c.Next() {
		if int64(binary.BigEndian.Uint64(k)) > now.Unix() {
			break
		}
		over = append(over, bytes.Clone(k))
	}
	for _, k := range over {
		if err := index.Delete(k); err != nil {
			return err
		}
		key, err := parseLedgerKey(k[8:])
		if err != nil {
			return err
		}
		r, ok, err := getRow(tx, bucketDelivered, key)
		if err != nil {
			return err
		}
		if !ok || !bytes.Equal(expiryKey(r), k) {
			continue
		}
		if err := tx.Bucket(bucketDelivered).Delete(k[8:]); err != nil {
			return err
		}
	}
	return nil
}

// sweep drops delivered rows that a mark covers and returns the epochs in
// which it did not come to the end. PREPARED rows are in another bucket and
// never dropped here.
func sweep(tx *bbolt.Tx, epochs []epochKey) (left []epochKey, err error) {
	room := sweepRows
	for _, e := range epochs {
		seq, ok, err := getMark(tx, e)
		if err != nil {
			return left, err
		}
		if !ok {
			continue
		}
		over, done := covered(tx, e, seq, room)
		for _, k := range over {
			if err := tx.Bucket(bucketDelivered).Delete(k); err != nil {
				return left, err
			}
		}
		room -= len(over)
		if !done {
			left = append(left, e)
		}
	}
	return left, nil
}

// covered lists at most n delivered rows of an epoch up to seq.
func covered(tx *bbolt.Tx, e epochKey, seq uint64, n int) (keys [][]byte, done bool) {
	prefix := append([]byte{byte(keyItem)}, e.bytes()...)
	c := tx.Bucket(bucketDelivered).Cursor()
	for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Next() {
		if binary.BigEndian.Uint64(k[len(prefix):]) > seq {
			break
		}
		if len(keys) == n {
			return keys, false
		}
		keys = append(keys, bytes.Clone(k))
	}
	return keys, true
}

func getMark(tx *bbolt.Tx, e epochKey) (seq uint64, ok bool, err error) {
	v := tx.Bucket(bucketMarks).Get(e.bytes())
	if v == nil {
		return 0, false, nil
	}
	seq, err = decodeMark(e, v)
	return seq, err == nil, err
}

func getRow(tx *bbolt.Tx, bucket []byte, k itemKey) (row, bool, error) {
	v := tx.Bucket(bucket).Get(k.ledgerKey())
	if v == nil {
		return row{}, false, nil
	}
	r, err := decodeRow(k, v)
	return r, err == nil, err
}

// find looks a key up. A row that expired before now is not there.
func (l *ledger) find(k itemKey, now time.Time) (r row, state rowState, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		var ok bool
		if r, ok, err = getRow(tx, bucketPrepared, k); ok || err != nil {
			state = rowPrepared
			return err
		}
		if r, ok, err = getRow(tx, bucketDelivered, k); ok && (r.expires.IsZero() || r.expires.After(now)) {
			state = rowDelivered
		}
		if state == rowNone && err == nil && k.kind == keyItem {
			// The mark and the rows it swept away change in one transaction, so
			// they are read in one: the book learns of it only after the commit.
			var seq uint64
			if seq, ok, err = getMark(tx, k.epoch()); ok && k.id().Seq <= seq {
				state = rowSettled
			}
		}
		return err
	})
	if err != nil {
		return row{}, rowNone, fmt.Errorf("ledger: %w", err)
	}
	return r, state, nil
}

// prepared lists the PREPARED rows, sorted by key. There are as many as in the
// last groups, so a few thousand.
func (l *ledger) prepared() (rows []row, err error) {
	err = l.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketPrepared).ForEach(func(k, v []byte) error {
			key, err := parseLedgerKey(k)
			if err != nil {
				return err
			}
			r, err := decodeRow(key, v)
			rows = append(rows, r)
			return err
		})
	})
	return rows, err
}

// epochs lists every epoch that has a mark or a delivered row, with its mark
// (0 without), and those that have rows left below it. It jumps from epoch to
// epoch, so its time does not grow with the rows.
func (l *ledger) epochs() (marks map[epochKey]uint64, left []epochKey, err error) {
	marks = map[epochKey]uint64{}
	err = l.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bucketMarks).ForEach(func(k, v []byte) error {
			e, ok := parseEpochKey(k)
			if !ok {
				return fmt.Errorf("%w: mark key %x", errRow, k)
			}
			seq, err := decodeMark(e, v)
			marks[e] = seq
			return err
		})
		if err != nil {
			return err
		}
		c := tx.Bucket(bucketDelivered).Cursor()
		for k, _ := c.Seek([]byte{byte(keyItem)}); k != nil && k[0] == byte(keyItem); {
			key, err := parseLedgerKey(k)
			if err != nil {
				return err
			}
			e := key.epoch()
			if marks[e] >= key.id().Seq {
				left = append(left, e)
			}
			marks[e] += 0 // make the entry
			last := idKey(ID{Spool: e.spool, Epoch: e.epoch, Seq: Closed})
			k, _ = c.Seek(append(last.ledgerKey(), 0))
		}
		return nil
	})
	return marks, left, err
}

// close gives the file back. Reads that are under way are waited for.
func (l *ledger) close() error { return l.db.Close() }
