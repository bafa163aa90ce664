//go:build linux

package main_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// pace is the time between two writes of a slow writer. It is longer than the
// 50 ms after which an unchanged file without a writer counts as finished, so
// what protects a file that is held open is not the clock.
const pace = 70 * time.Millisecond

// writer writes body as name into an outbox, in some manner. away is on the same
// file system.
type writer func(outbox, away, name string, body []byte) error

// writers are the manners for which ready: auto must tell when a file is whole.
var writers = map[string]writer{
	"slowly":                writeSlowly,
	"the end first":         writeBackwards,
	"through a mapping":     writeMapped,
	"renamed in":            renameIn,
	"renamed within":        renameWithin,
	"linked in":             linkIn,
	"linked before the end": linkEarly,
	"linked from nowhere":   linkUnnamed,
	"by two at once":        writeByTwo,
}

// inChunks calls put for one quarter of body after the other, at a slow pace.
func inChunks(body []byte, put func(off int, chunk []byte) error) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range 4 {
		from, to := len(body)*i/4, len(body)*(i+1)/4
		if err := put(from, body[from:to]); err != nil {
			return err
		}
		<-tick.C
	}
	return nil
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
}

func writeSlowly(outbox, _, name string, body []byte) error {
	f, err := create(filepath.Join(outbox, name))
	if err != nil {
		return err
	}
	err = inChunks(body, func(off int, chunk []byte) error { _, err := f.WriteAt(chunk, int64(off)); return err })
	return errors.Join(err, f.Close())
}

// writeBackwards gives the file its size at once.
func writeBackwards(outbox, _, name string, body []byte) error {
	f, err := create(filepath.Join(outbox, name))
	if err != nil {
		return err
	}
	err = f.Truncate(int64(len(body)))
	for i := 3; i >= 0 && err == nil; i-- {
		from, to := len(body)*i/4, len(body)*(i+1)/4
		err = inChunks(body[from:to], func(off int, chunk []byte) error { _, err := f.WriteAt(chunk, int64(from+off)); return err })
	}
	return errors.Join(err, f.Close())
}

// writeMapped closes the file before it writes: only the mapping is left.
func writeMapped(outbox, _, name string, body []byte) error {
	f, err := create(filepath.Join(outbox, name))
	if err != nil {
		return err
	}
	if err := f.Truncate(int64(len(body))); err != nil || len(body) == 0 {
		return errors.Join(err, f.Close())
	}
	m, err := unix.Mmap(int(f.Fd()), 0, len(body), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	err = inChunks(body, func(off int, chunk []byte) error { copy(m[off:], chunk); return nil })
	return errors.Join(err, unix.Munmap(m))
}

func renameIn(outbox, away, name string, body []byte) error {
	if err := writeSlowly(away, "", name, body); err != nil {
		return err
	}
	return os.Rename(filepath.Join(away, name), filepath.Join(outbox, name))
}

// renameWithin writes under the names that an outbox passes by.
func renameWithin(outbox, _, name string, body []byte) error {
	for _, hidden := range []string{"." + name, name + ".tmp", name + ".part", name + ".partial", name + "~"} {
		if err := os.WriteFile(filepath.Join(outbox, hidden), body[:len(body)/2], 0o600); err != nil {
			return err
		}
	}
	if err := writeSlowly(outbox, "", "."+name+".new", body); err != nil {
		return err
	}
	return os.Rename(filepath.Join(outbox, "."+name+".new"), filepath.Join(outbox, name))
}

func linkIn(outbox, away, name string, body []byte) error {
	if err := writeSlowly(away, "", name, body); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(away, name), filepath.Join(outbox, name)); err != nil {
		return err
	}
	return os.Remove(filepath.Join(away, name))
}

// linkEarly goes on writing for a while after the file is in the outbox, also
// when it has only this one link.
func linkEarly(outbox, away, name string, body []byte) error {
	tmp := filepath.Join(away, name)
	f, err := create(tmp)
	if err != nil {
		return err
	}
	quarter := 0
	err = inChunks(body, func(off int, chunk []byte) error {
		_, err := f.WriteAt(chunk, int64(off))
		switch quarter++; quarter {
		case 2:
			err = errors.Join(err, os.Link(tmp, filepath.Join(outbox, name)))
		case 3:
			err = errors.Join(err, os.Remove(tmp))
		}
		return err
	})
	return errors.Join(err, f.Close())
}

// linkUnnamed gives a file its only name when it is whole.
func linkUnnamed(outbox, away, name string, body []byte) error {
	fd, err := unix.Open(away, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	err = inChunks(body, func(off int, chunk []byte) error { _, err := f.WriteAt(chunk, int64(off)); return err })
	if err == nil {
		err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, filepath.Join(outbox, name), unix.AT_SYMLINK_FOLLOW)
	}
	return errors.Join(err, f.Close())
}

// writeByTwo has two hands write one half each. The first closes its own early.
func writeByTwo(outbox, _, name string, body []byte) error {
	path, half := filepath.Join(outbox, name), len(body)/2
	first, err := create(path)
	if err != nil {
		return err
	}
	second, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return errors.Join(err, first.Close())
	}
	_, err = first.Write(body[:half])
	err = errors.Join(err, first.Close())
	err = errors.Join(err, inChunks(body[half:], func(off int, chunk []byte) error { _, err := second.WriteAt(chunk, int64(half+off)); return err }))
	return errors.Join(err, second.Close())
}
