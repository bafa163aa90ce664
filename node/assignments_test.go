package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
)

func TestAssignmentsTakeWhatIsNewer(t *testing.T) {
	a := newAssignments(tableAt(5))
	_, changed := a.get()
	for _, index := range []uint64{0, 4, 5} {
		if a.offer(tableAt(index)) || a.index() != 5 {
			t.Errorf("a table at %d was taken over one at 5", index)
		}
	}
	select {
	case <-changed:
		t.Error("told of a change that was none")
	default:
	}
	if !a.offer(tableAt(6)) || a.index() != 6 {
		t.Error("a newer table was not taken")
	}
	<-changed
	a.replace(tableAt(2))
	if a.index() != 2 {
		t.Error("replace looks at the index")
	}
	a.forgetIndex()
	if table, _ := a.get(); table.Index != 0 || len(table.Clusters) != 1 || !a.offer(tableAt(1)) {
		t.Errorf("after its index is forgotten: %+v", table)
	}
}

func TestTableIsKeptForTheNextStart(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	a := openAssignments(dir, log)
	if table, _ := a.get(); table.Index != 0 || len(table.Clusters) != 0 {
		t.Errorf("first start: %+v", table)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { a.keepLoop(stop) })
	a.offer(tableAt(7, fsm.Collector{ID: "c1", Cluster: "c", Node: "n", Address: "127.0.0.1", Port: 10100, State: fsm.StateActive}))
	eventually(t, "the file", func() (bool, string) {
		again := openAssignments(dir, log)
		return again.index() == 7, ""
	})
	close(stop)
	wg.Wait()
	table, _ := openAssignments(dir, log).get()
	if c, ok := table.Collector("c1"); !ok || c.Port != 10100 {
		t.Errorf("read again: %+v", table)
	}
}

func TestDamagedTableIsLeftOutAndSaid(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"", "null", "{}", `{"version":2}`, "\x00\x01", `{"version":1,"sha256":"00","table":{"index":9}}`} {
		mustWrite(t, filepath.Join(dir, tableFile), content)
		var said strings.Builder
		a := openAssignments(dir, slog.New(slog.NewTextHandler(&said, nil)))
		if table, _ := a.get(); table.Index != 0 || len(table.Clusters) != 0 || !strings.Contains(said.String(), "last table is left out") {
			t.Errorf("%q: %+v, said %q", content, table, said.String())
		}
	}
}

func TestTableThatCannotBeKeptIsSaidOnce(t *testing.T) {
	var said lockedText
	a := newAssignments(fsm.Table{})
	a.path, a.log = filepath.Join(t.TempDir(), "gone", tableFile), slog.New(slog.NewTextHandler(&said, nil))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { a.keepLoop(stop) })
	for i := range uint64(20) {
		a.offer(tableAt(i + 1))
		eventually(t, "the loop takes it", func() (bool, string) { return len(a.dirty) == 0, "" })
	}
	eventually(t, "it is said", func() (bool, string) { return said.count("can't be kept") > 0, "" })
	close(stop)
	wg.Wait()
	if n := said.count("can't be kept"); n != 1 {
		t.Errorf("said %d times", n)
	}
}

// lockedText is a text that several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

func TestAssignedBookIsKept(t *testing.T) {
	dir := t.TempDir()
	b, err := openAssignedBook(dir)
	if err != nil || b.get("/in") != (assigned{}) {
		t.Fatalf("%+v %v", b, err)
	}
	want := assigned{ID: "c-1", Port: 10100}
	if err := b.put("/in", want); err != nil {
		t.Fatal(err)
	}
	again, err := openAssignedBook(dir)
	if err != nil || again.get("/in") != want || again.get("/other") != (assigned{}) {
		t.Errorf("%+v %v", again, err)
	}
}

func TestDamagedAssignedBookIsAnError(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{
		"", "null", "{}", "[]", `{"version":2}`, `{"version":1,"collectors":{"/in":{"id":"","port":1}}}`,
		`{"version":1,"collectors":{"/in":{"id":"c","port":65536}}}`, `{"version":1,"collectors":{"/in":{"id":"c","port":-1}}}`,
	} {
		mustWrite(t, filepath.Join(dir, assignedFile), content)
		if _, err := openAssignedBook(dir); err == nil || !strings.Contains(err.Error(), assignedFile) {
			t.Errorf("%q: %v", content, err)
		}
	}
}

// What could not be written is not taken for written the next time.
func TestAssignedBookRetriesWhatItCouldNotWrite(t *testing.T) {
	dir := t.TempDir()
	b, err := openAssignedBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	obstacle := filepath.Join(dir, assignedFile+".tmp")
	if err := os.Mkdir(obstacle, 0o750); err != nil {
		t.Fatal(err)
	}
	want := assigned{ID: "c-1", Port: 10100}
	for range 2 {
		if err := b.put("/in", want); err == nil {
			t.Fatal("written where nothing can be written")
		}
	}
	if err := errors.Join(os.Remove(obstacle), b.put("/in", want)); err != nil {
		t.Fatal(err)
	}
	again, err := openAssignedBook(dir)
	if err != nil || again.get("/in") != want {
		t.Errorf("%+v %v", again, err)
	}
}

func TestIdentityBelongsToOneNetwork(t *testing.T) {
	dir := t.TempDir()
	id, err := openIdentity(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	k := &identityKeeper{dir: dir, id: id}
	for _, network := range []string{"", "x", "y"} {
		if err := k.belongs(network); err != nil {
			t.Errorf("in no network yet, %q: %v", network, err)
		}
	}
	if err := k.joined("x"); err != nil {
		t.Fatal(err)
	}
	if k.belongs("") != nil || k.belongs("x") != nil {
		t.Error("its own network is refused")
	}
	if err := k.belongs("y"); err == nil || !strings.Contains(err.Error(), "of another network (y)") {
		t.Errorf("another network: %v", err)
	}
	again, err := openIdentity(dir, "a")
	if err != nil || again.NetworkID != "x" || again.NodeID != id.NodeID {
		t.Errorf("read again: %+v %v", again, err)
	}
	k.dir = filepath.Join(dir, "gone")
	if err := k.joined("y"); err == nil || k.get().NetworkID != "x" {
		t.Errorf("a network that could not be noted counts: %+v %v", k.get(), err)
	}
}

func TestForgetMakesANewNode(t *testing.T) {
	dir := t.TempDir()
	id, err := openIdentity(dir, "a")
	if err == nil {
		err = errors.Join(id.joined(dir, "x"), os.MkdirAll(filepath.Join(dir, raftDir, "snapshots"), 0o750))
	}
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(dir, tableFile), "x")
	mustWrite(t, filepath.Join(dir, assignedFile), `{"version":1}`)
	if err := forget(dir, "a"); err != nil {
		t.Fatal(err)
	}
	again, err := openIdentity(dir, "a")
	if err != nil || again.NodeID == id.NodeID || again.NetworkID != "" || again.Generation != 1 {
		t.Errorf("%+v %v, was %+v", again, err, id)
	}
	for _, name := range []string{raftDir, tableFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	mustWrite(t, filepath.Join(dir, identityFile), "null")
	if _, err := openIdentity(dir, "a"); !errors.Is(err, errDamaged) {
		t.Errorf("null: %v", err)
	}
}

// A node that was killed while it left comes back as another one, whether or not
// it was let go: its old id may be gone from the network.
func TestKilledWhileLeavingItIsANewNode(t *testing.T) {
	dir := t.TempDir()
	id, err := openIdentity(dir, "a")
	if err == nil {
		err = errors.Join(id.joined(dir, "x"), os.MkdirAll(filepath.Join(dir, raftDir), 0o750))
	}
	if err != nil {
		t.Fatal(err)
	}
	k := &identityKeeper{dir: dir, id: id}
	if err := errors.Join(k.setLeaving(true), k.setLeaving(false)); err != nil {
		t.Fatal(err)
	}
	if same, err := openIdentity(dir, "a"); err != nil || same.NodeID != id.NodeID {
		t.Errorf("not let go it is %+v, was %+v, %v", same, id, err)
	}
	if err := k.setLeaving(true); err != nil {
		t.Fatal(err)
	}
	again, err := openIdentity(dir, "a")
	if err != nil || again.NodeID == id.NodeID || again.NetworkID != "" || again.Leaving {
		t.Errorf("it is %+v, was %+v, %v", again, id, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, raftDir)); !os.IsNotExist(err) {
		t.Errorf("raft's state is still there: %v", err)
	}
}

// The last table is on disk when the node stops, also one that came just before,
// and one that could not be saved is saved later.
func TestLastTableIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
		a := openAssignments(dir, log)
		obstacle := a.path + ".tmp"
		if err := os.Mkdir(obstacle, 0o750); err != nil {
			t.Fatal(err)
		}
		a.offer(tableAt(1))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { a.keepLoop(stop) })
		time.Sleep(time.Second)
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepPause)
		synctest.Wait()
		if got := openAssignments(dir, log).index(); got != 1 {
			t.Errorf("index %d on disk", got)
		}
		for i := range uint64(20) {
			a.offer(tableAt(i + 2))
			if i == 19 {
				close(stop)
			}
		}
		wg.Wait()
		if got := openAssignments(dir, log).index(); got != 21 {
			t.Errorf("index %d on disk after the stop", got)
		}
	})
}

// The file may be written by two at the same time.
func TestTableIsWrittenByOneAtATime(t *testing.T) {
	a := openAssignments(t.TempDir(), slog.New(slog.DiscardHandler))
	a.offer(tableAt(1))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if err := a.save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
