package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// verdict is what the next service does with a file that it found in its inbox.
type verdict int

const (
	leave  verdict = iota // look at it and leave it there
	remove                // take it by removing it
	move                  // take it by renaming it elsewhere
)

// reader is the next service: it looks at the inbox all along, reads each file
// as soon as it sees it, and takes some. It never looks at the relay's own
// directory. It notes what must never be seen: a file that is not whole, a
// strange name, a file that vanishes or is replaced.
type reader struct {
	t        testing.TB
	dirs     []string
	away     string // where taken files are moved
	identify func(name string, body []byte) (id string, err error)
	take     func(name string) verdict
	stopOnce sync.Once
	stopping chan struct{}
	ended    chan struct{}

	mu     sync.Mutex
	left   map[string]os.FileInfo // files that lie there, by path
	count  map[string]int         // how often each file was published, by id
	names  map[string][]string    // under which names
	faults []string
}

// readInbox starts to read an inbox of samples. take decides what becomes of a
// file; nil leaves all of them. It stops with the test, or with check.
func readInbox(t testing.TB, dir string, take func(name string) verdict) *reader {
	t.Helper()
	return readInboxOf(t, dir, identifySample, take)
}

// readInboxOf is readInbox for other files than samples: identify says which
// of the produced files one is, or what is wrong with it.
func readInboxOf(t testing.TB, dir string, identify func(string, []byte) (string, error), take func(string) verdict) *reader {
	t.Helper()
	return readInboxesOf(t, []string{dir}, identify, take)
}

// readInboxesOf is readInboxOf for inboxes that share the files, as those of a
// cluster of mode one do: each file must come to one of them.
func readInboxesOf(t testing.TB, dirs []string, identify func(string, []byte) (string, error), take func(string) verdict) *reader {
	t.Helper()
	r := &reader{
		t: t, dirs: dirs, away: t.TempDir(), identify: identify, take: take,
		stopping: make(chan struct{}), ended: make(chan struct{}),
		left: map[string]os.FileInfo{}, count: map[string]int{}, names: map[string][]string{},
	}
	go r.readLoop()
	t.Cleanup(r.stop)
	return r
}

// takeSome is a consumer that removes some files, moves some and leaves some,
// which follows from the name alone.
func takeSome(name string) verdict {
	sum := 0
	for _, c := range []byte(name) {
		sum += int(c)
	}
	return []verdict{remove, move, remove, leave}[sum%4]
}

// stop ends the reading.
func (r *reader) stop() {
	r.stopOnce.Do(func() { close(r.stopping) })
	<-r.ended
}

func (r *reader) readLoop() {
	defer close(r.ended)
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := r.look(); err != nil {
			r.fault("inbox: %v", err)
		}
		select {
		case <-r.stopping:
			return
		case <-tick.C:
		}
	}
}

// look reads every file that was not there the last time.
func (r *reader) look() error {
	for _, dir := range r.dirs {
		names, err := listNames(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			path := filepath.Join(dir, name)
			r.mu.Lock()
			_, known := r.left[path]
			r.mu.Unlock()
			if !known && name != ".relay" {
				r.read(path)
			}
		}
	}
	return nil
}

func listNames(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

// read reads one file, judges it and takes it.
func (r *reader) read(path string) {
	name := filepath.Base(path)
	body, info, err := readWhole(path)
	if err != nil {
		r.fault("%q can't be read: %v", path, err)
		return
	}
	id, err := r.identify(name, body)
	if err != nil {
		r.fault("%q is not whole: %v", path, err)
	}
	r.mu.Lock()
	r.left[path] = info
	if err == nil {
		r.count[id]++
		r.names[id] = append(r.names[id], name)
	}
	r.mu.Unlock()
	if r.take == nil {
		return
	}
	switch r.take(name) {
	case remove:
		err = os.Remove(path)
	case move:
		err = os.Rename(path, filepath.Join(r.away, name))
	default:
		return
	}
	if err != nil {
		r.fault("%q vanished: %v", path, err)
	}
	r.mu.Lock()
	delete(r.left, path) // the name may come again
	r.mu.Unlock()
}

// readWhole reads a file and tells which one it was.
func readWhole(path string) (body []byte, info os.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	var buf bytes.Buffer
	_, err = buf.ReadFrom(f)
	return buf.Bytes(), info, err
}

func (r *reader) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) < 20 {
		r.faults = append(r.faults, fmt.Sprintf(format, args...))
	}
}

// seen is how many different files have been published.
func (r *reader) seen() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.count)
}

// namesOf lists the names under which a file was published.
func (r *reader) namesOf(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.names[id]...)
}

// await waits until n different files have been published.
func (r *reader) await(limit time.Duration, n int) {
	r.t.Helper()
	var missing []string
	var looked time.Time
	waitFor(r.t, limit, fmt.Sprintf("%d files in %s", n, r.what()), func() (bool, string) {
		seen := r.seen()
		if time.Since(looked) > time.Second { // it takes a while
			missing, looked = r.missing(n, 5), time.Now()
		}
		return seen >= n, fmt.Sprintf("%d files, missing e.g. %q", seen, missing)
	})
}

// what names the inboxes in messages.
func (r *reader) what() string { return filepath.Base(r.dirs[0]) }

// missing lists up to some of the samples 0 to n-1 that were never seen.
func (r *reader) missing(n, some int) (ids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := 0; i < n && len(ids) < some; i++ {
		if r.count[strconv.Itoa(i)] == 0 {
			ids = append(ids, strconv.Itoa(i))
		}
	}
	return ids
}

// check looks once more, stops reading and fails the test unless each of the
// samples 0 to n-1 was published exactly once, whole, and those that were left
// are still there, untouched.
func (r *reader) check(n int) {
	r.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	r.checkIDs(ids...)
}

// checkIDs is check for the ids that identify gives.
func (r *reader) checkIDs(ids ...string) {
	r.t.Helper()
	r.stop()
	if err := r.look(); err != nil {
		r.t.Fatal(err)
	}
	r.checkLeft()
	for _, f := range r.faults {
		r.t.Error(f)
	}
	lost, twice := 0, 0
	want := map[string]bool{}
	for _, id := range ids {
		want[id] = true
		switch c := r.count[id]; {
		case c == 0:
			if lost++; lost <= 5 {
				r.t.Errorf("%s: file %s is lost", r.what(), id)
			}
		case c > 1:
			if twice++; twice <= 5 {
				r.t.Errorf("%s: file %s was published %d times: %q", r.what(), id, c, r.names[id])
			}
		}
	}
	for id := range r.count {
		if !want[id] {
			r.t.Errorf("%s: file %s should not be here", r.what(), id)
		}
	}
	if lost+twice > 0 {
		r.t.Errorf("%s: of %d files %d lost, %d published twice", r.what(), len(ids), lost, twice)
	}
}

// checkLeft reads again what was left in the inbox: nobody else may touch it.
func (r *reader) checkLeft() {
	for path, was := range r.left {
		body, is, err := readWhole(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.fault("%q vanished", path)
		case err != nil:
			r.fault("%q: %v", path, err)
		case !os.SameFile(was, is):
			r.fault("%q was replaced", path)
		default:
			if _, err := r.identify(filepath.Base(path), body); err != nil {
				r.fault("%q is no longer whole: %v", path, err)
			}
		}
	}
}
