package spool

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

const (
	relayDir  = ".relay"
	stageDir  = "stage"
	deadDir   = "dead"
	probeName = "probe" // a file of the self-test; no stage file has this name

	reasonSuffix = ".reason.json"
)

// inboxDirs holds the directories of an inbox open. Everything is done through
// them, so a directory that is moved away or swapped for a symbolic link is
// noticed and never followed.
type inboxDirs struct {
	path    string
	openDir func(string) (dir, error)
	root    dir // the inbox
	relay   dir // .relay
	stage   dir // .relay/stage
	dead    dir // .relay/dead
	lock    *os.File
}

// openInboxDirs makes what is missing and takes the lock. The directories are
// durable when it returns, but for .relay itself: recover syncs the inbox.
func openInboxDirs(path string, open func(string) (dir, error)) (d *inboxDirs, err error) {
	d = &inboxDirs{path: path, openDir: open}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.root, err = open(path); err != nil {
		return d, err
	}
	if d.relay, err = d.root.Sub(relayDir, true); err != nil {
		return d, err
	}
	if err = private(d.relay); err != nil {
		return d, err
	}
	if d.lock, err = lockFile(filepath.Join(path, relayDir), "lock"); err != nil {
		return d, err
	}
	if d.stage, err = d.relay.Sub(stageDir, true); err != nil {
		return d, err
	}
	if d.dead, err = d.relay.Sub(deadDir, true); err != nil {
		return d, err
	}
	if err = d.relay.Sync(); err != nil {
		return d, err
	}
	return d, d.sameFileSystem()
}

// private refuses a directory that others may write to: what lies in it would
// be published as if it had been received.
func private(d dir) error {
	st, err := d.Self()
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && st.Mode&0o002 != 0 {
		return fmt.Errorf("%w: everybody may write to %s", ErrUnsafe, d.Path())
	}
	return nil
}

// sameFileSystem proves that a file can be renamed from stage/ to the inbox.
// The kernel looks at the mounts before the names, so a name that does not
// exist shows a bind mount too, and no reader of the inbox sees a test file.
func (d *inboxDirs) sameFileSystem() error {
	none := ".relay-" + randomHex(8)
	err := d.stage.RenameNew(none, d.root, none)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("%w: files can't be renamed from %s to the inbox: %w", ErrUnsafe, d.stage.Path(), err)
}

// probe does with a file of its own what is done with every item: it shows
// early that the disk takes writes and syncs, that mode and group can be set and that
// renaming without replacing works. It reports whether the umask or a default
// ACL gives new files another mode than wanted. A full disk is not an error:
// it passes, and items are told so one by one.
func (d *inboxDirs) probe(mode fs.FileMode, gid int) (chmod bool, err error) {
	chmod, err = d.tryProbe(mode, gid)
	if isFull(err) {
		return true, errors.Join(removeIfThere(d.stage, probeName), removeIfThere(d.stage, probeName+newSuffix))
	}
	return chmod, err
}

func (d *inboxDirs) tryProbe(mode fs.FileMode, gid int) (chmod bool, err error) {
	other := probeName + newSuffix
	if err := errors.Join(removeIfThere(d.stage, probeName), removeIfThere(d.stage, other)); err != nil {
		return false, err
	}
	f, err := d.stage.Create(probeName, mode)
	if err != nil {
		return false, err
	}
	st, err := f.Stat()
	chmod = st.Mode.Perm() != mode.Perm()
	if err == nil && (chmod || gid >= 0) {
		if err = f.SetOwner(mode, gid); err != nil {
			err = fmt.Errorf("file mode %#o and group %d: %w", mode, gid, err)
		}
	}
	if err == nil {
		_, err = f.Write([]byte("probe\n"))
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	if err := d.stage.RenameNew(probeName, d.stage, other); err != nil {
		return false, fmt.Errorf("%w: renaming without replacing does not work here: %w", ErrUnsafe, err)
	}
	if err := d.stage.Remove(other); err != nil {
		return false, err
	}
	return chmod, d.stage.Sync()
}

// inPlace reports an error when the paths no longer lead to the directories
// that are open: files published in them would be seen by nobody.
func (d *inboxDirs) inPlace() error {
	now, err := d.openDir(d.path)
	if err != nil {
		return fmt.Errorf("the inbox is not at its path any more: %w", err)
	}
	self, err := now.Self()
	if err := errors.Join(err, now.Close()); err != nil {
		return err
	}
	open, err := d.root.Self()
	if err != nil {
		return err
	}
	if open.Ino != self.Ino || open.Dev != self.Dev {
		return fmt.Errorf("another directory is at %s since the start; put the old one back or restart", d.path)
	}
	return errors.Join(stillThere(d.root, relayDir, d.relay), stillThere(d.relay, stageDir, d.stage))
}

func stillThere(parent dir, name string, child dir) error {
	st, err := parent.Stat(name)
	if err != nil {
		return err
	}
	self, err := child.Self()
	if err != nil {
		return err
	}
	if st.Ino != self.Ino || st.Dev != self.Dev {
		return fmt.Errorf("another directory is at %s since the start; put the old one back or restart", child.Path())
	}
	return nil
}

// asideReason is what lies beside a file that was set aside.
type asideReason struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// setAside moves an entry of from, which we do not understand or must not use,
// to dead/, with the reason beside it. The reason is written first, so that
// nothing lies in dead/ without one.
func (d *inboxDirs) setAside(from dir, name, why string) error {
	to := randomHex(4) + "." + name
	if len(to) > MaxNameBytes {
		to = to[:MaxNameBytes] // dead/ is for people; the reason has the whole name
	}
	text, err := json.MarshalIndent(asideReason{Name: name, Reason: why, At: time.Now().UTC()}, "", "  ")
	if err != nil {
		return err
	}
	if err := writeDurably(d.dead, to+reasonSuffix, append(text, '\n')); err != nil {
		return err
	}
	if err := from.RenameNew(name, d.dead, to); err != nil {
		return err
	}
	return errors.Join(d.dead.Sync(), from.Sync())
}

// deadFiles counts what lies in dead/, by the reasons.
func (d *inboxDirs) deadFiles() (n int, err error) {
	err = eachEntry(d.dead, func(e entry) error {
		if strings.HasSuffix(e.name, reasonSuffix) {
			n++
		}
		return nil
	})
	return n, err
}

// close closes what is open and gives the lock back.
func (d *inboxDirs) close() error {
	var errs []error
	for _, one := range []dir{d.dead, d.stage, d.relay, d.root} {
		if one != nil {
			errs = append(errs, one.Close())
		}
	}
	if d.lock != nil {
		errs = append(errs, d.lock.Close())
	}
	return errors.Join(errs...)
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}
