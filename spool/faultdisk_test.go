//go:build unix

package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// errPowerCut is what every operation answers after cutPower.
var errPowerCut = errors.New("power is cut")

// diskOp is one change that the code under test wants to make on a faultDisk.
// Looking (stat, open for reading, list) is not counted.
type diskOp struct {
	N    int    // from 1 on, since the last reset
	Kind string // create write truncate sync dirsync rename link remove mkdir rmdir times owner tag reserve
	Dir  string // path of the directory
	Name string // "" for dirsync
}

func (op diskOp) String() string {
	return fmt.Sprintf("%d: %s %s/%s", op.N, op.Kind, filepath.Base(op.Dir), op.Name)
}

// faultDisk puts a thin layer over real directories. It counts every change,
// fails the ones it is told to, and remembers what was not synced, so that a
// test can cut the power and look at what a disk would have kept:
//
//   - creates, renames, links and removes whose directory was not synced since
//     are undone, newest first (a rename is kept when its target was synced);
//   - files that were made here lose the bytes written since their last sync.
//
// What happens beside it (bbolt, the test's own os calls) counts as durable.
//
// Use: make directories with memDir, give open to the config, run, cutPower (or failAt with errPowerCut),
// Close the spool, restore, open again with the same faultDisk.
type faultDisk struct {
	t     testing.TB
	limbo string // removed files wait here until their removal is durable

	mu      sync.Mutex // held over every operation: one at a time, in one order
	fail    func(diskOp) error
	space   func(space) space // nil: as it is
	frozen  bool
	trace   []diskOp
	undo    []*undoStep           // not durable yet, oldest first
	inodes  map[uint64]*faultNode // files made here
	limboed int
}

// faultNode is what the disk would know of a file.
type faultNode struct {
	synced int64 // bytes that are safe
	gone   bool  // a sync failed: the dirty bytes are gone, later syncs save nothing
}

// undoStep takes back one change of a directory.
type undoStep struct {
	op     diskOp
	target string // syncing this directory makes the change durable
	back   func() // takes it back; a no-op when the file is not where the step left it
	done   func() // called when durable; may be nil
}

// newFaultDisk returns a layer that fails nothing yet. The directories that are
// opened through it must be on the file system of memDir.
func newFaultDisk(t testing.TB) *faultDisk {
	t.Helper()
	return &faultDisk{t: t, limbo: memDir(t), inodes: map[uint64]*faultNode{}}
}

// open is openDir with the layer in between.
func (d *faultDisk) open(path string) (dir, error) {
	in, err := openDir(path)
	if err != nil {
		return nil, err
	}
	return &faultDir{d: d, dir: in}, nil
}

// failWhen makes every change fail for which f returns an error. The change is
// then not made, but for a write without space, which writes half.
// errPowerCut cuts the power before the change.
func (d *faultDisk) failWhen(f func(diskOp) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = f
}

// failAt fails the n-th change from now on with err, and more after it.
func (d *faultDisk) failAt(n int, err error, more ...int) {
	last := n
	for _, m := range more {
		last += m
	}
	d.reset()
	d.failWhen(func(op diskOp) error {
		if op.N >= n && op.N <= last {
			return err
		}
		return nil
	})
}

// step counts a change that is made beside the layer, such as a database
// commit, and says whether it may happen.
func (d *faultDisk) step(kind, what string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err := d.stepLocked(kind, "", what)
	return err
}

// setSpace lets f change what Space reports.
func (d *faultDisk) setSpace(f func(space) space) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.space = f
}

// reset forgets the trace, so that counting starts at 1 again.
func (d *faultDisk) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trace = nil
}

// ops returns the changes since the last reset, failed ones included.
func (d *faultDisk) ops() []diskOp {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]diskOp(nil), d.trace...)
}

// cutPower makes everything fail from now on.
func (d *faultDisk) cutPower() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = true
}

// revive lets operations through again after cutPower, with everything as it
// was: what a kill -9 leaves. What was not synced still isn't.
func (d *faultDisk) revive() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail, d.frozen, d.trace = nil, false, nil
}

// restore brings the directories to the state that a disk would have after the
// cut, and lets operations through again. With rng nil nothing unsynced
// survives; else a random part does: the oldest changes and some of the bytes.
// Whatever used the disk must be closed.
func (d *faultDisk) restore(rng *rand.Rand, roots ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	keep := 0
	if rng != nil {
		keep = rng.IntN(len(d.undo) + 1)
	}
	for i := len(d.undo) - 1; i >= keep; i-- {
		d.undo[i].back()
	}
	for _, root := range roots {
		d.dropUnsynced(rng, root)
	}
	d.undo, d.fail, d.frozen, d.trace = nil, nil, false, nil
	d.inodes = map[uint64]*faultNode{}
}

// dropUnsynced cuts the files below root down to what was synced.
func (d *faultDisk) dropUnsynced(rng *rand.Rand, root string) {
	err := filepath.WalkDir(root, func(path string, de fs.DirEntry, err error) error {
		if err != nil || !de.Type().IsRegular() {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		node := d.inodes[inodeOf(fi)]
		if node == nil || node.synced >= fi.Size() {
			return nil
		}
		size := node.synced
		if rng != nil && !node.gone {
			size += rng.Int64N(fi.Size() - node.synced + 1)
		}
		return os.Truncate(path, size)
	})
	if err != nil {
		d.t.Errorf("restore %s: %v", root, err)
	}
}

// stepLocked counts a change and says whether it may happen.
func (d *faultDisk) stepLocked(kind, dir, name string) (diskOp, error) {
	op := diskOp{N: len(d.trace) + 1, Kind: kind, Dir: dir, Name: name}
	if d.frozen {
		return op, &fs.PathError{Op: kind, Path: filepath.Join(dir, name), Err: errPowerCut}
	}
	d.trace = append(d.trace, op)
	if d.fail == nil {
		return op, nil
	}
	err := d.fail(op)
	if errors.Is(err, errPowerCut) {
		d.frozen = true
	}
	if err != nil {
		err = &fs.PathError{Op: kind, Path: filepath.Join(dir, name), Err: err}
	}
	return op, err
}

// lookLocked guards operations that change nothing.
func (d *faultDisk) lookLocked() error {
	if d.frozen {
		return errPowerCut
	}
	return nil
}

// hideLocked moves what is at path into limbo; "" when nothing is there.
func (d *faultDisk) hideLocked(path string) string {
	d.limboed++
	to := filepath.Join(d.limbo, fmt.Sprint(d.limboed))
	err := os.Rename(path, to)
	if errors.Is(err, syscall.EXDEV) {
		d.t.Errorf("%s is on another file system than memDir: the cut would undo nothing", path)
	}
	if err != nil {
		return ""
	}
	return to
}

// durableLocked forgets the undo steps that a sync of the directory saves.
func (d *faultDisk) durableLocked(dir string) {
	left := d.undo[:0]
	for _, s := range d.undo {
		if s.target != dir {
			left = append(left, s)
			continue
		}
		if s.done != nil {
			s.done()
		}
	}
	d.undo = left
}

func (d *faultDisk) rememberLocked(op diskOp, target string, back, done func()) {
	d.undo = append(d.undo, &undoStep{op: op, target: target, back: back, done: done})
}

// moveBack renames to back to from if it is still the file with that inode.
func moveBack(to, from string, ino uint64) bool {
	fi, err := os.Lstat(to)
	if err != nil || inodeOf(fi) != ino {
		return false
	}
	if _, err := os.Lstat(from); err == nil {
		return false
	}
	return os.Rename(to, from) == nil
}

// inodeOf numbers a file; 0 where the system has no numbers.
func inodeOf(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

func inodeAt(path string) uint64 {
	fi, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	return inodeOf(fi)
}

// faultDir is a directory seen through the layer.
type faultDir struct {
	dir
	d *faultDisk
}

func (f *faultDir) unwrap() dir { return f.dir }

func (f *faultDir) at(name string) string { return filepath.Join(f.Path(), name) }

func (f *faultDir) Open(name string) (file, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.lookLocked(); err != nil {
		return nil, err
	}
	in, err := f.dir.Open(name)
	return f.file(name, in, err)
}

func (f *faultDir) Append(name string) (file, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.lookLocked(); err != nil {
		return nil, err
	}
	in, err := f.dir.Append(name)
	return f.file(name, in, err)
}

func (f *faultDir) Create(name string, mode fs.FileMode) (file, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	op, err := f.d.stepLocked("create", f.Path(), name)
	if err != nil {
		return nil, err
	}
	in, err := f.dir.Create(name, mode)
	out, err := f.file(name, in, err)
	if err != nil {
		return nil, err
	}
	path, ino := f.at(name), inodeAt(f.at(name))
	f.d.inodes[ino] = &faultNode{}
	f.d.rememberLocked(op, f.Path(), func() {
		if inodeAt(path) == ino {
			f.d.hideLocked(path)
		}
	}, nil)
	return out, nil
}

func (f *faultDir) file(name string, in file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{file: in, d: f.d, dir: f.Path(), name: name}, nil
}

func (f *faultDir) Stat(name string) (fileStat, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.lookLocked(); err != nil {
		return fileStat{}, err
	}
	return f.dir.Stat(name)
}

func (f *faultDir) Rename(name string, to dir, newName string) error {
	return f.rename(name, to, newName, f.dir.Rename)
}

func (f *faultDir) RenameNew(name string, to dir, newName string) error {
	return f.rename(name, to, newName, f.dir.RenameNew)
}

func (f *faultDir) rename(name string, to dir, newName string, do func(string, dir, string) error) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	op, err := f.d.stepLocked("rename", f.Path(), name)
	if err != nil {
		return err
	}
	from, target := f.at(name), filepath.Join(to.Path(), newName)
	ino := inodeAt(from)
	shadow := ""
	if old := inodeAt(target); old != 0 && old != ino {
		f.d.limboed++
		shadow = filepath.Join(f.d.limbo, fmt.Sprint(f.d.limboed))
		if os.Link(target, shadow) != nil {
			shadow = ""
		}
	}
	if err := do(name, to, newName); err != nil {
		if shadow != "" {
			_ = os.Remove(shadow)
		}
		return err
	}
	f.d.rememberLocked(op, to.Path(), func() {
		if moveBack(target, from, ino) && shadow != "" {
			_ = os.Rename(shadow, target)
		}
	}, func() {
		if shadow != "" {
			_ = os.Remove(shadow)
		}
	})
	return nil
}

func (f *faultDir) Link(name string, to dir, newName string) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	op, err := f.d.stepLocked("link", f.Path(), name)
	if err != nil {
		return err
	}
	if err := f.dir.Link(name, to, newName); err != nil {
		return err
	}
	target := filepath.Join(to.Path(), newName)
	ino := inodeAt(target)
	f.d.rememberLocked(op, to.Path(), func() {
		if inodeAt(target) == ino {
			_ = os.Remove(target)
		}
	}, nil)
	return nil
}

func (f *faultDir) Remove(name string) error {
	return f.remove("remove", name, f.dir.Remove)
}

func (f *faultDir) RemoveSub(name string) error {
	return f.remove("rmdir", name, f.dir.RemoveSub)
}

func (f *faultDir) remove(kind, name string, do func(string) error) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	op, err := f.d.stepLocked(kind, f.Path(), name)
	if err != nil {
		return err
	}
	path := f.at(name)
	// A removal that fails by itself must fail; else the file only goes away.
	fi, err := os.Lstat(path)
	if err != nil || fi.IsDir() {
		return do(name)
	}
	hidden := f.d.hideLocked(path)
	if hidden == "" {
		return do(name)
	}
	ino := inodeAt(hidden)
	f.d.rememberLocked(op, f.Path(), func() { moveBack(hidden, path, ino) }, func() { _ = os.Remove(hidden) })
	return nil
}

func (f *faultDir) Sub(name string, create bool) (dir, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.lookLocked(); err != nil {
		return nil, err
	}
	path := f.at(name)
	made := create && inodeAt(path) == 0
	var op diskOp
	if made {
		var err error
		if op, err = f.d.stepLocked("mkdir", f.Path(), name); err != nil {
			return nil, err
		}
	}
	in, err := f.dir.Sub(name, create)
	if err != nil {
		return nil, err
	}
	if made {
		f.d.rememberLocked(op, f.Path(), func() { f.d.hideLocked(path) }, nil)
	}
	return &faultDir{d: f.d, dir: in}, nil
}

func (f *faultDir) List() (lister, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.lookLocked(); err != nil {
		return nil, err
	}
	return f.dir.List()
}

func (f *faultDir) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.stepLocked("dirsync", f.Path(), ""); err != nil {
		return err
	}
	// What is durable only matters after a cut, which this layer simulates: no real sync.
	f.d.durableLocked(f.Path())
	return nil
}

func (f *faultDir) Space() (space, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.lookLocked(); err != nil {
		return space{}, err
	}
	sp, err := f.dir.Space()
	if err == nil && f.d.space != nil {
		sp = f.d.space(sp)
	}
	return sp, err
}

// faultFile is an open file seen through the layer.
type faultFile struct {
	file
	d         *faultDisk
	dir, name string
}

func (f *faultFile) step(kind string, do func() error) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.stepLocked(kind, f.dir, f.name); err != nil {
		return err
	}
	return do()
}

func (f *faultFile) Write(p []byte) (n int, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.stepLocked("write", f.dir, f.name); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			n, _ = f.file.Write(p[:len(p)/2])
		}
		return n, err
	}
	return f.file.Write(p)
}

func (f *faultFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	_, err := f.d.stepLocked("sync", f.dir, f.name)
	st, statErr := f.file.Stat()
	if statErr != nil {
		return errors.Join(err, statErr)
	}
	node := f.d.inodes[st.Ino]
	switch {
	case err != nil:
		if node != nil && !errors.Is(err, errPowerCut) {
			node.gone = true
		}
		return err
	case node == nil: // not made here, so durable anyway
		return nil
	case node.gone:
		f.d.t.Errorf("%s is synced again after a failed sync", f.name)
		return nil
	}
	node.synced = st.Size
	return nil
}

func (f *faultFile) Truncate(size int64) error {
	return f.step("truncate", func() error {
		if err := f.file.Truncate(size); err != nil {
			return err
		}
		if st, err := f.file.Stat(); err == nil && f.d.inodes[st.Ino] != nil {
			node := f.d.inodes[st.Ino]
			node.synced = min(node.synced, size)
		}
		return nil
	})
}

func (f *faultFile) Reserve(n int64) error {
	return f.step("reserve", func() error { return f.file.Reserve(n) })
}

func (f *faultFile) SetTimes(mtime time.Time) error {
	return f.step("times", func() error { return f.file.SetTimes(mtime) })
}

func (f *faultFile) SetOwner(mode fs.FileMode, gid int) error {
	return f.step("owner", func() error { return f.file.SetOwner(mode, gid) })
}

func (f *faultFile) SetTag(text string) error {
	return f.step("tag", func() error { return f.file.SetTag(text) })
}
