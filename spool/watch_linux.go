package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchMask: a rename into the outbox is a finished file; a creation with no
// close after writing is a hard link or the beginning of a file. Single writes
// are not asked for: a writer's close is queued before its lease is free, which
// is all that autoReady relies on, and a large file would flood the queue.
const watchMask = unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_ONLYDIR

// watcher turns inotify events of one directory into hints.
type watcher struct {
	f    *os.File
	conn syscall.RawConn
	o    *Outbox
	wg   sync.WaitGroup

	mu  sync.Mutex // one reads the queue at a time, so that events keep their order
	buf []byte     // guarded by mu
}

// startWatch begins to watch if the config asks for it. Where that fails, the
// outbox works by its schedule alone and says so.
func (o *Outbox) startWatch(context.Context) error {
	if !o.cfg.Watch {
		return nil
	}
	w, err := newWatcher(o)
	if err != nil {
		o.noteUnwatched(err)
		return nil
	}
	o.watch = w
	w.wg.Go(w.watchLoop)
	return nil
}

func (o *Outbox) noteUnwatched(err error) {
	words := fmt.Sprintf("watching does not work here: %v: files are found on the schedule only", err)
	if o.tally.fallback("watch", words) {
		o.log.Warn("outbox is not watched", "dir", o.cfg.Dir, "err", err)
	}
}

func newWatcher(o *Outbox) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, o.cfg.Dir, watchMask); err != nil {
		return nil, errors.Join(os.NewSyscallError("inotify_add_watch", err), f.Close())
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &watcher{f: f, conn: conn, o: o, buf: make([]byte, 64<<10)}, nil
}

// watchLoop runs until close. Between events it holds no thread.
func (w *watcher) watchLoop() {
	_ = w.conn.Read(func(fd uintptr) bool { // ends only with close
		w.readAll(int(fd))
		return false
	})
}

// drain applies all events that are in the queue now.
func (w *watcher) drain() {
	_ = w.conn.Control(func(fd uintptr) { w.readAll(int(fd)) }) // fails only when closed
}

// readAll reads until the queue is empty.
func (w *watcher) readAll(fd int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n, err := unix.Read(fd, w.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		if w.apply(w.buf[:n]) {
			w.o.signal()
		}
	}
}

// apply reads a buffer of events as inotify(7) lays them out and reports
// whether any of them is worth a look.
func (w *watcher) apply(buf []byte) (wake bool) {
	for len(buf) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(buf[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[12:]))
		name := string(bytes.TrimRight(buf[unix.SizeofInotifyEvent:end], "\x00"))
		buf = buf[end:]
		switch {
		case mask&unix.IN_Q_OVERFLOW != 0:
			w.o.hints.overflow()
			wake = true
		case mask&unix.IN_IGNORED != 0:
			w.o.noteUnwatched(unix.ENOENT) // the directory is gone; the next pass says more
			wake = true
		case mask&unix.IN_MOVED_TO != 0:
			wake = w.o.hints.add(name, hintMoved) || wake
		case mask&unix.IN_CREATE != 0:
			wake = w.o.hints.add(name, hintCreated) || wake
		case mask&unix.IN_CLOSE_WRITE != 0:
			wake = w.o.hints.add(name, hintNone) || wake
		}
	}
	return wake
}

func (w *watcher) close() error {
	err := w.f.Close()
	w.wg.Wait()
	return err
}
