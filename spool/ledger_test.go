package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func TestRowFormat(t *testing.T) {
	id, err := ParseID(testID(0x2a))
	if err != nil {
		t.Fatal(err)
	}
	item := row{key: idKey(id), name: "a.json", publishedAs: "a~2a.json", size: 5, digest: Digest{1, 2}, text: testID(0x2a)}
	foreign, err := parseKey("their key")
	if err != nil {
		t.Fatal(err)
	}
	other := row{
		key: foreign, name: "b", publishedAs: "b", size: 1 << 40, text: "their key",
		expires: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC),
	}
	for _, c := range []struct {
		r     row
		value string
	}{
		{item, "01" + "0000000000000005" + "0102" + strings.Repeat("00", 30) + "0000000000000000" +
			"0006" + hex.EncodeToString([]byte("a.json")) + "0009" + hex.EncodeToString([]byte("a~2a.json")) + "0000" + "d90c5769"},
		{other, "01" + "0000010000000000" + strings.Repeat("00", 32) + "000000006a445880" +
			"0001" + "62" + "0000" + "0009" + hex.EncodeToString([]byte("their key")) + "471ffee4"},
	} {
		b := c.r.encode()
		want(t, "value", hex.EncodeToString(b), c.value)
		back, err := decodeRow(c.r.key, b)
		if err != nil || back != c.r {
			t.Errorf("got back %+v, %v", back, err)
		}
		for i := range b {
			b[i] ^= 0x10
			if _, err := decodeRow(c.r.key, b); !errors.Is(err, errRow) {
				t.Errorf("byte %d flipped: %v", i, err)
			}
			b[i] ^= 0x10
			if _, err := decodeRow(c.r.key, b[:i]); !errors.Is(err, errRow) {
				t.Errorf("cut to %d bytes: %v", i, err)
			}
		}
		wrongKey := c.r.key
		wrongKey.b[31]++
		_, err = decodeRow(wrongKey, b)
		wantErr(t, "row under another key", err, errRow)
	}
}

func TestStageNamesAreReadBack(t *testing.T) {
	for _, key := range []string{testID(1), testID(Closed), "foreign key", ""} {
		k, err := parseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		back, ok := parseStageName(k.stageName())
		if !ok || back != k {
			t.Errorf("%q: %q is read as %v, %v", key, k.stageName(), back, ok)
		}
		lk, err := parseLedgerKey(k.ledgerKey())
		if err != nil || lk != k {
			t.Errorf("%q: ledger key is read as %v, %v", key, lk, err)
		}
	}
	for _, name := range []string{"", "probe", "a", "foreign.", "foreign.00", "plain." + strings.Repeat("0", 64), "foreign." + strings.Repeat("A", 64), testID(1) + ".x"} {
		if _, ok := parseStageName(name); ok {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

func TestLedgerThatCantBeUsed(t *testing.T) {
	relay := func(dir, name string) string { return filepath.Join(dir, relayDir, name) }
	for _, c := range []struct {
		what  string
		spoil func(t *testing.T, dir string) error
		err   error
	}{
		{"gone", func(t *testing.T, dir string) error { return os.Remove(relay(dir, ledgerFile)) }, ErrLedgerLost},
		{"of another inbox", func(t *testing.T, dir string) error {
			other := memDir(t)
			in := mustInbox(t, other)
			mustPut(t, in, testID(1), "a", "text")
			mustClose(t, in)
			return os.Rename(relay(other, ledgerFile), relay(dir, ledgerFile))
		}, ErrLedgerLost},
		{"id can't be read", func(t *testing.T, dir string) error {
			return os.WriteFile(relay(dir, ledgerIDFile), []byte("?"), 0o600)
		}, ErrLedgerLost},
		{"empty", func(t *testing.T, dir string) error { return os.Truncate(relay(dir, ledgerFile), 0) }, ErrLedgerCorrupt},
		{"cut", func(t *testing.T, dir string) error { return os.Truncate(relay(dir, ledgerFile), 9000) }, ErrLedgerCorrupt},
		{"cut far from its beginning", func(t *testing.T, dir string) error {
			err := editLedger(dir, func(tx *bbolt.Tx) error {
				for seq := uint64(1); seq <= 20_000; seq++ {
					r := row{key: idKey(ID{Spool: testSpool, Epoch: 7, Seq: seq}), name: "n", publishedAs: "n"}
					if err := tx.Bucket(bucketDelivered).Put(r.key.ledgerKey(), r.encode()); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return os.Truncate(relay(dir, ledgerFile), 1<<20)
		}, ErrLedgerCorrupt},
		{"cut to the metas", func(t *testing.T, dir string) error { return os.Truncate(relay(dir, ledgerFile), 4096) }, ErrLedgerCorrupt},
		{"not a database", func(t *testing.T, dir string) error {
			return os.WriteFile(relay(dir, ledgerFile), []byte(strings.Repeat("no ledger ", 10_000)), 0o600)
		}, ErrLedgerCorrupt},
		{"another program's database", func(t *testing.T, dir string) error {
			return errors.Join(os.Remove(relay(dir, ledgerFile)), editLedger(dir, func(*bbolt.Tx) error { return nil }))
		}, ErrLedgerCorrupt},
		{"a row is broken", func(t *testing.T, dir string) error {
			return editLedger(dir, func(tx *bbolt.Tx) error {
				id, err := ParseID(testID(1))
				return errors.Join(err, tx.Bucket(bucketDelivered).Put(idKey(id).ledgerKey(), []byte("?")))
			})
		}, ErrLedgerCorrupt},
		{"a mark is broken", func(t *testing.T, dir string) error {
			return editLedger(dir, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMarks).Put(make([]byte, 24), []byte("?")) })
		}, ErrLedgerCorrupt},
		{"a bucket is missing", func(t *testing.T, dir string) error {
			return editLedger(dir, func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketExpiry) })
		}, ErrLedgerCorrupt},
		{"pages are zeros", func(t *testing.T, dir string) error {
			f, err := os.OpenFile(relay(dir, ledgerFile), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			fi, err := f.Stat()
			if err == nil {
				_, err = f.WriteAt(make([]byte, fi.Size()-8192), 8192)
			}
			return errors.Join(err, f.Close())
		}, ErrLedgerCorrupt},
		{"of a newer version", func(t *testing.T, dir string) error {
			return editLedger(dir, func(tx *bbolt.Tx) error { return tx.Bucket(bucketMeta).Put(metaVersion, []byte{2}) })
		}, ErrLedgerVersion},
		{"a link", func(t *testing.T, dir string) error {
			return errors.Join(os.Rename(relay(dir, ledgerFile), relay(dir, "x")), os.Symlink("x", relay(dir, ledgerFile)))
		}, ErrLedgerCorrupt},
	} {
		t.Run(c.what, func(t *testing.T) {
			dir := memDir(t)
			in := mustInbox(t, dir)
			mustPut(t, in, testID(1), "a", "text")
			mustClose(t, in)
			if err := c.spoil(t, dir); err != nil {
				t.Fatal(err)
			}
			for range 2 { // looking changes nothing
				_, err := openTestInbox(dir)
				wantErr(t, "open", err, c.err)
				if !errors.Is(c.err, ErrLedgerVersion) && err != nil && !strings.Contains(err.Error(), "remove "+filepath.Join(dir, relayDir, ledgerIDFile)) {
					t.Errorf("no remedy in %q", err)
				}
			}
			if errors.Is(c.err, ErrLedgerVersion) {
				return
			}
			// The remedy works, and what was there is set aside.
			if err := os.Remove(relay(dir, ledgerIDFile)); err != nil {
				t.Fatal(err)
			}
			if in, err := openTestInbox(dir); err != nil {
				t.Errorf("after the remedy: %v", err)
			} else {
				want(t, "same item again", mustPut(t, in, testID(1), "a", "text").PublishedAs, "a~1")
				mustClose(t, in)
			}
			dead := strings.Join(below(t, dir, deadDir), " ")
			if c.what != "gone" && (!strings.Contains(dead, ledgerFile) || !strings.Contains(dead, reasonSuffix)) {
				t.Errorf("dead: %s", dead)
			}
		})
	}
}

// editLedger changes the ledger of an inbox that is closed.
func editLedger(dir string, edit func(tx *bbolt.Tx) error) error {
	db, err := bbolt.Open(filepath.Join(dir, relayDir, ledgerFile), 0o600, nil)
	if err != nil {
		return err
	}
	return errors.Join(db.Update(edit), db.Close())
}

// A start that was cut between ledger.db and ledger-id is no lost ledger.
func TestFirstStartWasCut(t *testing.T) {
	dir := memDir(t)
	mustClose(t, mustInbox(t, dir))
	id := filepath.Join(dir, relayDir, ledgerIDFile)
	before, err := os.ReadFile(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(id); err != nil {
		t.Fatal(err)
	}
	mustInbox(t, dir)
	after, err := os.ReadFile(id)
	want(t, "ledger id", fmt.Sprint(string(after), err), fmt.Sprint(string(before), nil))
	want(t, "dead", below(t, dir, deadDir), []string{})
}

func TestSettledItemsAreAnsweredFromTheMark(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir)
	for seq := uint64(1); seq <= 4; seq++ {
		mustPut(t, in, testID(seq), fmt.Sprint("f", seq), "text")
	}
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 3}, {Epoch: 99, Seq: Closed}})
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 2}}) // older news
	_, err := put(in, arrival(testID(3), "f3", "text"), "text")
	if _, ok := errors.AsType[*DeliveredError](err); !ok {
		t.Errorf("before the mark is written: %v", err)
	}
	mustPut(t, in, testID(5), "f5", "text")
	check := func(in *Inbox, settled ...uint64) {
		t.Helper()
		for _, seq := range settled {
			_, err := put(in, arrival(testID(seq), fmt.Sprint("f", seq), "text"), "text")
			if _, ok := errors.AsType[*SettledError](err); !ok {
				t.Errorf("seq %d: %v", seq, err)
			}
			p, err := in.Progress(t.Context(), testID(seq))
			want(t, "progress", fmt.Sprint(p.Settled, err), "true <nil>")
		}
		_, err := in.Progress(t.Context(), ID{Spool: testSpool, Epoch: 99, Seq: 1}.String())
		wantErr(t, "epoch nobody knew", err, ErrUnknown)
	}
	check(in, 1, 2, 3)
	_, err = put(in, arrival(testID(4), "f4", "text"), "text")
	if _, ok := errors.AsType[*DeliveredError](err); !ok {
		t.Errorf("above the mark: %v", err)
	}
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: Closed}})
	mustClose(t, in)
	in = mustInbox(t, dir)
	check(in, 1, 4, 5, 6, Closed)
	mustClose(t, in)
	rows := -1
	err = editLedger(dir, func(tx *bbolt.Tx) error {
		rows = tx.Bucket(bucketDelivered).Stats().KeyN + tx.Bucket(bucketPrepared).Stats().KeyN
		return nil
	})
	want(t, "rows", fmt.Sprint(rows, err), "0 <nil>")
}

// After a restart an epoch is known by its rows alone.
func TestMarkAfterARestart(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir)
	mustPut(t, in, testID(1), "a", "text")
	mustClose(t, in)
	in = mustInbox(t, dir)
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 1}})
	mustPut(t, in, ID{Spool: testSpool, Epoch: 8, Seq: 1}.String(), "b", "text")
	p, err := in.Progress(t.Context(), testID(1))
	want(t, "progress", fmt.Sprint(p.Settled, err), "true <nil>")
}

// A mark drops the part of an upload that is over: nobody will go on with it.
func TestMarkDropsPartials(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir, small)
	keepHalf(t, in, arrival(testID(1), "a", longText), longText, 20)
	keepHalf(t, in, arrival(testID(3), "c", longText), longText, 20)
	mustPut(t, in, testID(2), "b", "text")
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 2}})
	mustPut(t, in, testID(4), "d", "text")
	want(t, "stage", below(t, dir, stageDir), []string{testID(3)})
}

// An item that is published although its sender has said that it is over leaves
// no row behind that no mark would ever drop.
func TestItemPublishedAfterItsMark(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir)
	s := mustBegin(t, in, arrival(testID(1), "a", "text"))
	mustPut(t, in, testID(2), "b", "text")
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 2}})
	mustPut(t, in, testID(3), "c", "text")
	mustFill(t, s, "text")
	_, err := s.Publish(t.Context())
	wantErr(t, "publish", err, nil)
	mustClose(t, in)
	rows := -1
	err = editLedger(dir, func(tx *bbolt.Tx) error { rows = tx.Bucket(bucketDelivered).Stats().KeyN; return nil })
	want(t, "rows", fmt.Sprint(rows, err), "1 <nil>")
}

// An entry of the expiry index that outlived its row must not take along the
// row that the same key got since.
func TestOldExpiryEntryLeavesTheNewRow(t *testing.T) {
	in := mustInbox(t, memDir(t))
	k, err := parseKey("theirs")
	if err != nil {
		t.Fatal(err)
	}
	l, now := in.ledger.Load(), time.Unix(1_000_000, 0).UTC()
	r := row{key: k, name: "n", publishedAs: "n", text: "theirs", expires: now.Add(foreignKeyAge)}
	old := r
	old.expires = now
	for _, w := range []ledgerWrite{{delivered: []row{old}}, {delivered: []row{r}}, {now: now}} {
		if _, err := l.write(w); err != nil {
			t.Fatal(err)
		}
	}
	_, state, err := l.find(k, now)
	want(t, "state", fmt.Sprint(state, err), fmt.Sprint(rowDelivered, nil))
	if _, err := l.write(ledgerWrite{now: r.expires}); err != nil {
		t.Fatal(err)
	}
	_, state, err = l.find(k, now)
	want(t, "state in the end", fmt.Sprint(state, err), fmt.Sprint(rowNone, nil))
}

// A long epoch is settled in transactions of bounded size, and all of it, also
// when a restart comes between.
func TestLongEpochIsSweptInChunks(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir)
	mustClose(t, in)
	const rows = sweepRows + 5
	err := editLedger(dir, func(tx *bbolt.Tx) error {
		e := epochKey{spool: testSpool, epoch: 7}
		for seq := uint64(1); seq <= rows; seq++ {
			r := row{key: idKey(ID{Spool: testSpool, Epoch: 7, Seq: seq}), name: "n", publishedAs: "n"}
			if err := tx.Bucket(bucketDelivered).Put(r.key.ledgerKey(), r.encode()); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMarks).Put(e.bytes(), encodeMark(e, rows-1))
	})
	if err != nil {
		t.Fatal(err)
	}
	in = mustInbox(t, dir)
	left := func() int {
		n := 0
		_ = in.ledger.Load().db.View(func(tx *bbolt.Tx) error { n = tx.Bucket(bucketDelivered).Stats().KeyN; return nil })
		return n
	}
	waitFor(t, "rows go", func() (any, bool) { n := left(); return n, n == 1 })
}
