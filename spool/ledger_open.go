package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	ledgerFile   = "ledger.db"
	ledgerIDFile = "ledger-id"
	newSuffix    = ".new" // a file that is not complete yet; renamed when it is

	ledgerIDPrefix = "bucket-relay ledger 1 "
	ledgerVersion  = 1

	ledgerLockWait = time.Second
	ledgerMap      = 1 << 20 // bytes of address space to begin with; it doubles
)

var (
	metaVersion = []byte("version")
	metaID      = []byte("id")
)

// ledgerRemedy is what a person can do when a ledger can't be used.
const ledgerRemedy = "restore it from where it went, or remove %s/" + ledgerIDFile +
	" to start a new ledger: files that were delivered before may then be published again"

// openLedger opens the ledger of the directory .relay, or makes one where there
// was none, unless it was open before in this process.
//
// The id is kept twice, in ledger.db and beside it in ledger-id, so that a
// ledger that went missing, or came from another inbox, is told from a first
// start. Errors: ErrLedgerLost, ErrLedgerCorrupt, ErrLedgerVersion, ErrLocked.
func openLedger(relay dir, again bool, setAside func(from dir, name, why string) error) (*ledger, error) {
	id, err := readLedgerID(relay)
	if errors.Is(err, fs.ErrNotExist) && again {
		return nil, ledgerTrouble(ErrLedgerLost, relay, ledgerIDFile+" is gone")
	}
	if errors.Is(err, fs.ErrNotExist) {
		return firstLedger(relay, setAside)
	}
	if err != nil {
		return nil, err
	}
	st, err := relay.Stat(ledgerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ledgerTrouble(ErrLedgerLost, relay, "there is no "+ledgerFile)
	}
	if err != nil {
		return nil, err
	}
	have, _, err := inspectLedger(relay, st)
	if err != nil {
		return nil, err
	}
	if have != id {
		return nil, ledgerTrouble(ErrLedgerLost, relay, ledgerFile+" is that of another inbox")
	}
	return openBolt(relay, ledgerFile, 0)
}

func ledgerTrouble(kind error, relay dir, what string) error {
	return fmt.Errorf("%w: %s: %s; "+ledgerRemedy, kind, relay.Path(), what, relay.Path())
}

// firstLedger makes a ledger. A ledger.db without ledger-id is one whose making
// was cut short, which is empty and is made use of; or a person removed
// ledger-id, which means: start anew. Then the old one is set aside.
func firstLedger(relay dir, setAside func(from dir, name, why string) error) (*ledger, error) {
	st, err := relay.Stat(ledgerFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = createLedger(relay)
	case err == nil:
		err = adoptLedger(relay, st, setAside)
	}
	if err != nil {
		return nil, err
	}
	return openBolt(relay, ledgerFile, 0)
}

func adoptLedger(relay dir, st fileStat, setAside func(from dir, name, why string) error) error {
	id, rows, err := inspectLedger(relay, st)
	if errors.Is(err, ErrLocked) || errors.Is(err, ErrLedgerVersion) {
		return err
	}
	if err == nil && rows == 0 {
		return writeLedgerID(relay, id)
	}
	if err := setAside(relay, ledgerFile, ledgerIDFile+" was removed: a new ledger was started"); err != nil {
		return err
	}
	return createLedger(relay)
}

// createLedger makes ledger.db and then ledger-id, each complete under another
// name first. The order matters: an id without a ledger would be a lost ledger.
func createLedger(relay dir) error {
	id := NewSpoolID()
	tmp := ledgerFile + newSuffix
	if err := removeIfThere(relay, tmp); err != nil {
		return err
	}
	l, err := openBolt(relay, tmp, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	err = l.db.Update(func(tx *bbolt.Tx) error { return layOut(tx, id) })
	if err := errors.Join(err, l.close()); err != nil {
		return err
	}
	if err := relay.RenameNew(tmp, relay, ledgerFile); err != nil {
		return err
	}
	if err := relay.Sync(); err != nil {
		return err
	}
	return writeLedgerID(relay, id)
}

func layOut(tx *bbolt.Tx, id SpoolID) error {
	for _, name := range [][]byte{bucketMeta, bucketPrepared, bucketDelivered, bucketExpiry, bucketMarks} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(meta.Put(metaVersion, []byte{ledgerVersion}), meta.Put(metaID, id[:]))
}

func writeLedgerID(relay dir, id SpoolID) error {
	tmp := ledgerIDFile + newSuffix
	if err := writeDurably(relay, tmp, []byte(ledgerIDPrefix+id.String()+"\n")); err != nil {
		return err
	}
	if err := relay.RenameNew(tmp, relay, ledgerIDFile); err != nil {
		return err
	}
	return relay.Sync()
}

// writeDurably makes a small file and syncs its bytes; the name is the caller's to sync.
func writeDurably(d dir, name string, text []byte) error {
	if err := removeIfThere(d, name); err != nil {
		return err
	}
	f, err := d.Create(name, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(d dir, name string) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func readLedgerID(relay dir) (SpoolID, error) {
	f, err := relay.Open(ledgerIDFile)
	if err != nil {
		return SpoolID{}, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 256))
	if err := errors.Join(err, f.Close()); err != nil {
		return SpoolID{}, err
	}
	uuid, ok := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), ledgerIDPrefix)
	id, err := ParseSpoolID(uuid)
	if !ok || err != nil {
		return SpoolID{}, ledgerTrouble(ErrLedgerLost, relay, ledgerIDFile+" can't be read")
	}
	return id, nil
}

// openBolt opens the database below relay. With flags 0 it must exist: bbolt's
// own O_CREATE would turn a ledger that vanished into an empty one.
func openBolt(relay dir, name string, flags int) (*ledger, error) {
	db, err := guardedOpen(relay, name, flags, &bbolt.Options{
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: ledgerMap,
	})
	if err != nil {
		return nil, err
	}
	return &ledger{db: db, wrap: func(write func() error) error { return write() }}, nil
}

// guardedOpen is bbolt.Open that panics over nothing. bbolt does so over a
// broken page, and reading a mapped file faults where the disk fails.
func guardedOpen(relay dir, name string, flags int, o *bbolt.Options) (db *bbolt.DB, err error) {
	var f *os.File
	defer faultsAsPanics()()
	defer func() {
		if broken := recover(); broken != nil {
			err = errors.Join(ledgerTrouble(ErrLedgerCorrupt, relay, fmt.Sprint(broken)), f.Close()) // and so its lock
		}
	}()
	o.Timeout = ledgerLockWait
	o.OpenFile = func(name string, asked int, mode os.FileMode) (_ *os.File, err error) {
		f, err = openRaw(relay, name, asked&^os.O_CREATE|flags, mode)
		return f, err
	}
	db, err = bbolt.Open(name, 0o600, o)
	if err != nil {
		return nil, boltError(relay, err)
	}
	return db, nil
}

// inspectLedger reads every page and row of ledger.db without changing it, and
// returns its id and how many rows and marks it has.
func inspectLedger(relay dir, st fileStat) (id SpoolID, rows int, err error) {
	// bbolt would lay out an empty file anew.
	if !st.Mode.IsRegular() || st.Size == 0 {
		return id, 0, ledgerTrouble(ErrLedgerCorrupt, relay, ledgerFile+" is empty or not a file")
	}
	db, err := guardedOpen(relay, ledgerFile, 0, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return id, 0, err
	}
	err = db.View(func(tx *bbolt.Tx) (err error) {
		defer faultsAsPanics()()
		defer func() {
			if broken := recover(); broken != nil {
				err = fmt.Errorf("%v", broken)
			}
		}()
		if tx.Size() > st.Size {
			return fmt.Errorf("it is cut short: %d of %d bytes", st.Size, tx.Size())
		}
		id, rows, err = readAll(tx)
		return err
	})
	err = errors.Join(err, db.Close())
	if err != nil && !errors.Is(err, ErrLedgerVersion) {
		err = ledgerTrouble(ErrLedgerCorrupt, relay, err.Error())
	}
	return id, rows, err
}

func readAll(tx *bbolt.Tx) (id SpoolID, rows int, err error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return id, 0, errors.New("it is not a ledger")
	}
	version := meta.Get(metaVersion)
	if len(version) != 1 || version[0] != ledgerVersion {
		return id, 0, fmt.Errorf("%w: %d, this program knows %d", ErrLedgerVersion, first(version), ledgerVersion)
	}
	if copy(id[:], meta.Get(metaID)) != len(id) {
		return id, 0, errors.New("it has no id")
	}
	check := map[string]func(k, v []byte) error{
		string(bucketPrepared): checkRow, string(bucketDelivered): checkRow,
		string(bucketMarks): checkMark, string(bucketExpiry): func(_, _ []byte) error { return nil },
	}
	for name, one := range check {
		b := tx.Bucket([]byte(name))
		if b == nil {
			return id, 0, fmt.Errorf("bucket %s is missing", name)
		}
		err := b.ForEach(func(k, v []byte) error { rows++; return one(k, v) })
		if err != nil {
			return id, 0, err
		}
	}
	return id, rows, nil
}

func checkRow(k, v []byte) error {
	key, err := parseLedgerKey(k)
	if err == nil {
		_, err = decodeRow(key, v)
	}
	return err
}

func checkMark(k, v []byte) error {
	e, ok := parseEpochKey(k)
	if !ok {
		return fmt.Errorf("%w: mark key %x", errRow, k)
	}
	_, err := decodeMark(e, v)
	return err
}

func boltError(relay dir, err error) error {
	if errors.Is(err, bolterrors.ErrTimeout) {
		return fmt.Errorf("%w: %s is open elsewhere", ErrLocked, ledgerFile)
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return ledgerTrouble(ErrLedgerCorrupt, relay, err.Error())
}

// faultsAsPanics makes a failed read of a mapped file a panic that can be
// recovered from, for the calling goroutine, until the returned function is
// called.
func faultsAsPanics() func() {
	old := debug.SetPanicOnFault(true)
	return func() { debug.SetPanicOnFault(old) }
}
