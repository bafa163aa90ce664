//go:build unix

package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// prepared leaves an item PREPARED with its file in stage/, as a kill between
// S5 and S6 does.
func prepared(t *testing.T, dir string, fd *faultDisk, key, name, text string) {
	t.Helper()
	in := mustFaultInbox(t, dir, fd)
	fd.failWhen(on("rename", "", func() error { return errPowerCut }))
	_, err := put(in, arrival(key, name, text), text)
	wantErr(t, "put", err, ErrInDoubt)
	_ = in.Close()
	fd.revive()
	want(t, "stage", len(below(t, dir, stageDir)), 1)
}

func TestPreparedFileIsPublishedAtTheStart(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", "text")
	mustWrite(t, filepath.Join(dir, "a"), "came first")
	in := mustFaultInbox(t, dir, fd)
	want(t, "files", files(t, dir), "a=came first a~1=text")
	want(t, "recovered", in.Stats().Recovered, 1)
	p, err := in.Progress(t.Context(), testID(1))
	if err != nil || p.Receipt == nil || p.Receipt.PublishedAs != "a~1" {
		t.Errorf("receipt: %+v, %v", p.Receipt, err)
	}
}

func TestPreparedFileWhoseNameIsTakenUnderReject(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", "text")
	mustWrite(t, filepath.Join(dir, "a"), "came first")
	in := mustFaultInbox(t, dir, fd, func(c *InboxConfig) { c.OnConflict = ConflictReject })
	want(t, "files", files(t, dir), "a=came first")
	_, err := put(in, arrival(testID(1), "a", "text"), "text")
	wantErr(t, "sent again", err, ErrNameTaken)
}

// No room for the name at the start: the inbox opens, and the item is
// published without its bytes when the sender asks again.
func TestPreparedFileThatCantBePublishedYet(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", longText)
	full := func(op diskOp) error {
		if op.Kind == "rename" && strings.HasPrefix(op.Name, testSpool.String()) {
			return syscall.ENOSPC
		}
		return nil
	}
	fd.failWhen(full)
	in := mustFaultInbox(t, dir, fd)
	want(t, "files", files(t, dir), "")
	p, err := in.Progress(t.Context(), testID(1))
	if err != nil || p.Receipt != nil || p.Offset != int64(len(longText)) {
		t.Errorf("progress: %+v, %v", p, err)
	}
	_, err = in.Begin(t.Context(), arrival(testID(1), "b", longText))
	wantErr(t, "another name", err, ErrDigestConflict)
	// A mark that passes it must not drop its row: the file would be lost to recovery.
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 1}})
	mustFaultPut := func(seq uint64, name string) {
		t.Helper()
		fd.failWhen(nil)
		mustPut(t, in, testID(seq), name, "text")
		fd.failWhen(full)
	}
	mustClose(t, in)
	in = mustFaultInbox(t, dir, fd)
	want(t, "stage", below(t, dir, stageDir), []string{testID(1)})
	mustFaultPut(2, "c")
	want(t, "files", files(t, dir), "c=text")
	fd.failWhen(nil)
	mustClose(t, in)
	mustFaultInbox(t, dir, fd)
	want(t, "files", files(t, dir), "a="+longText+" c=text")
}

func TestOwedItemIsAskedForAgain(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", longText)
	fd.failWhen(on("rename", testSpool.String(), func() error { return syscall.ENOSPC }))
	in := mustFaultInbox(t, dir, fd)
	fd.failWhen(on("rename", testSpool.String(), func() error { return syscall.ENOSPC }))
	_, err := in.Begin(t.Context(), arrival(testID(1), "a", longText))
	wantErr(t, "still full", err, ErrFull)
	// That was definite: the sender may have gone elsewhere, so no restart publishes it.
	mustClose(t, in)
	in = mustFaultInbox(t, dir, fd)
	want(t, "files", files(t, dir), "")
	s, err := in.Resume(t.Context(), arrival(testID(1), "a", longText), int64(len(longText)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(t, "files", files(t, dir), "a="+longText)
}

func TestOwedItemIsPublishedByAsking(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", longText)
	fd.failWhen(on("rename", testSpool.String(), func() error { return syscall.ENOSPC }))
	in := mustFaultInbox(t, dir, fd)
	for range 2 {
		_, err := in.Begin(t.Context(), arrival(testID(1), "a", longText))
		d, ok := errors.AsType[*DeliveredError](err)
		if !ok || d.Receipt.PublishedAs != "a" {
			t.Errorf("asked again: %v", err)
		}
	}
	want(t, "files", files(t, dir), "a="+longText)
}

func TestPreparedFileThatIsNotWhatItWasIsSetAside(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", "text")
	if err := os.Truncate(filepath.Join(dir, relayDir, stageDir, testID(1)), 2); err != nil {
		t.Fatal(err)
	}
	in := mustFaultInbox(t, dir, fd)
	want(t, "files", files(t, dir), "")
	want(t, "dead", in.Stats().Dead, 1)
	mustPut(t, in, testID(1), "a", "text")
}

// What is not ours is never removed: it goes to dead/ with a reason.
func TestForeignThingsInStageAreSetAside(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	mustClose(t, mustInbox(t, dir))
	stage := filepath.Join(dir, relayDir, stageDir)
	mustWrite(t, filepath.Join(stage, "README"), "what is this?")
	mustWrite(t, filepath.Join(stage, strings.Repeat("n", 255)), "long")
	if err := errors.Join(os.Mkdir(filepath.Join(stage, testID(1)), 0o700), os.Remove(filepath.Join(dir, relayDir, deadDir))); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(stage, testID(1), "inside"), "x")
	in := mustFaultInbox(t, dir, fd)
	want(t, "dead", in.Stats().Dead, 3)
	fd.cutPower()
	_ = in.Close()
	fd.restore(nil, dir)
	want(t, "stage", below(t, dir, stageDir), []string{})
	dead := below(t, dir, deadDir)
	want(t, "dead", len(dead), 6)
	for _, name := range dead {
		if strings.HasSuffix(name, ".README") {
			text, err := os.ReadFile(filepath.Join(dir, relayDir, deadDir, name+reasonSuffix))
			if err != nil || !strings.Contains(string(text), "not a file that an inbox puts here") {
				t.Errorf("reason: %s, %v", text, err)
			}
		}
	}
}

func TestOrphansInStage(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir, small)
	mustPut(t, in, testID(9), "x", "makes the epoch known")
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 9}})
	mustClose(t, in)
	stage := filepath.Join(dir, relayDir, stageDir)
	plain, err := parseKey("")
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := parseKey("theirs")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		testID(20):          longText,        // kept
		foreign.stageName(): longText,        // kept
		testID(21):          longText[:7],    // too small
		plain.stageName():   longText,        // nobody can go on with it
		testID(5):           longText,        // settled
		probeName:           "left by a cut", // ours
	} {
		mustWrite(t, filepath.Join(stage, name), text)
	}
	in = mustInbox(t, dir, small)
	want(t, "stage", below(t, dir, stageDir), []string{testID(20), foreign.stageName()})
	want(t, "dead", below(t, dir, deadDir), []string{})
	s := in.Stats()
	want(t, "partials", s.Partials, 2)
	want(t, "partial bytes", s.PartialBytes, 2*len(longText))
}

// A disk that said that a name was durable, and lost it: the row says
// DELIVERED, but the file is back in stage/.
func TestLostNameIsPublishedAgain(t *testing.T) {
	dir := memDir(t)
	in := mustInbox(t, dir, small)
	mustPut(t, in, testID(1), "a", "text")
	mustPut(t, in, testID(2), "b", "text")
	mustClose(t, in)
	stage := filepath.Join(dir, relayDir, stageDir)
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(stage, testID(1))); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(stage, testID(2)), "else") // not the bytes of the row
	mustInbox(t, dir, small)
	want(t, "files", files(t, dir), "a=text b=text")
	want(t, "stage", below(t, dir, stageDir), []string{})
}

// A recovery makes the names durable that it gives, before the ledger says
// DELIVERED: the next group may already drop the row.
func TestRecoveredNameIsDurableBeforeItsRowGoes(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	prepared(t, dir, fd, testID(1), "a", "text")
	in := mustFaultInbox(t, dir, fd)
	in.Settle(testSpool, []Mark{{Epoch: 7, Seq: 1}}) // the sender has asked and was told
	fd.failWhen(on("committed", "", func() error { return errPowerCut }))
	_, err := put(in, arrival(testID(2), "b", "text"), "text")
	wantErr(t, "put", err, ErrInDoubt)
	_ = in.Close()
	fd.restore(nil, dir)
	mustFaultInbox(t, dir, fd)
	want(t, "files", files(t, dir), "a=text b=text")
}

// An item that recovery could not publish, and that is then refused for its
// name, is not published by a later start.
func TestOwedItemThatIsRefusedForItsName(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	reject := func(c *InboxConfig) { c.OnConflict = ConflictReject }
	prepared(t, dir, fd, testID(1), "a", "text")
	fd.failWhen(on("rename", testSpool.String(), func() error { return syscall.ENOSPC }))
	in := mustFaultInbox(t, dir, fd, reject)
	mustWrite(t, filepath.Join(dir, "a"), "came first")
	_, err := in.Begin(t.Context(), arrival(testID(1), "a", "text"))
	wantErr(t, "begin", err, ErrNameTaken)
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	mustClose(t, in)
	in = mustFaultInbox(t, dir, fd, reject)
	want(t, "files", files(t, dir), "")
	_, err = in.Progress(t.Context(), testID(1))
	wantErr(t, "progress", err, ErrUnknown)
}

// breakOnce makes the next commit fail, so that the inbox reopens.
func breakOnce(t *testing.T, in *Inbox, fd *faultDisk) {
	t.Helper()
	fd.failWhen(on("commit", "", func() error { return syscall.EIO }))
	_, err := put(in, arrival(testID(99), "broken", "text"), "text")
	wantErr(t, "put that breaks the inbox", err, ErrIO)
	waitBack(t, in)
}

func TestReopeningLeavesWhatIsUnderWayAlone(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	keepHalf(t, in, arrival(testID(2), "kept", longText), longText, 20)
	s := mustBegin(t, in, arrival(testID(1), "a", "text"))
	mustFill(t, s, "te")
	breakOnce(t, in, fd)
	mustFill(t, s, "xt")
	_, err := s.Publish(t.Context())
	wantErr(t, "publish", err, nil)
	want(t, "files", files(t, dir), "a=text")
	p, err := in.Progress(t.Context(), testID(2))
	want(t, "kept part", p.Offset, 20)
	wantErr(t, "progress", err, nil)
}

// A stage file whose sync failed and that can't be removed is not mistaken for
// a part to go on with when the inbox reopens.
func TestLeftoverOfAFailedSyncIsNotKept(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	fd.failWhen(func(op diskOp) error {
		if op.Kind == "sync" || op.Kind == "remove" {
			return syscall.EIO
		}
		return nil
	})
	_, err := put(in, arrival(testID(1), "a", longText), longText)
	wantErr(t, "put", err, ErrIO)
	want(t, "stage", below(t, dir, stageDir), []string{testID(1)})
	breakOnce(t, in, fd)
	want(t, "stage", below(t, dir, stageDir), []string{})
	mustPut(t, in, testID(1), "a", longText)
}

// While the process runs, a ledger that lost its id is a lost ledger: the inbox
// must not go on with a new one.
func TestLedgerIDGoesWhileRunning(t *testing.T) {
	dir, fd := memDir(t), newFaultDisk(t)
	in := mustFaultInbox(t, dir, fd)
	mustPut(t, in, testID(1), "a", "text")
	id := filepath.Join(dir, relayDir, ledgerIDFile)
	text, err := os.ReadFile(id)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(id); err != nil {
		t.Fatal(err)
	}
	fd.failWhen(on("commit", "", func() error { return syscall.EIO }))
	_, err = put(in, arrival(testID(2), "b", "text"), "text")
	wantErr(t, "put", err, ErrInDoubt)
	if reason := in.Stats().Reason; !strings.Contains(reason, ErrLedgerLost.Error()) {
		t.Errorf("reason: %q", reason)
	}
	mustWrite(t, id, string(text))
	waitBack(t, in)
	_, err = put(in, arrival(testID(1), "a", "text"), "text")
	if _, ok := errors.AsType[*DeliveredError](err); !ok {
		t.Errorf("sent again: %v", err)
	}
}

func TestInboxOnAnotherFileSystemThanItsStage(t *testing.T) {
	fd := newFaultDisk(t)
	fd.failWhen(on("rename", ".relay-", func() error { return syscall.EXDEV }))
	_, err := faultInbox(memDir(t), fd)
	wantErr(t, "open", err, ErrUnsafe)
}

func TestLedgerIsDurableBeforeItsID(t *testing.T) {
	fd := newFaultDisk(t)
	mustClose(t, mustFaultInbox(t, memDir(t), fd))
	var order []string
	for _, op := range fd.ops() {
		if filepath.Base(op.Dir) == relayDir && (op.Kind == "dirsync" || op.Kind == "rename") {
			order = append(order, op.Kind+op.Name)
		}
	}
	want(t, "order", strings.Join(order, " "), "dirsync renameledger.db.new dirsync renameledger-id.new dirsync")
}
