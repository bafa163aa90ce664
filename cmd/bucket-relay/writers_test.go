//go:build linux

package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestNoHalfWrittenFileIsTaken has writers of every manner at once.
func TestNoHalfWrittenFileIsTaken(t *testing.T) {
	w := newWorld(t)
	out, in, away := w.outbox("out", "c"), w.inbox("in", "c"), w.mkdir("away")
	w.node("both", out, in).startReady()
	r := readInbox(t, in.dir, takeSome)
	s := newSamples(51)
	var wg sync.WaitGroup
	for manner, write := range writers {
		for _, size := range []int{0, 1, 3000, 300_000} {
			name, body := s.nextOf(size)
			wg.Go(func() {
				if err := write(out.dir, away, name, body); err != nil {
					t.Errorf("%s, %d bytes: %v", manner, size, err)
				}
			})
		}
	}
	wg.Wait()
	r.await(patienceLimit, s.made())
	waitFor(t, patienceLimit, "only hidden files are left", func() (bool, string) {
		left := slices.DeleteFunc(out.waiting(), isHidden)
		return len(left)+len(out.claimed()) == 0, fmt.Sprintf("%q %q", left, out.claimed())
	})
	r.check(s.made())
}

// isHidden reports whether an outbox passes a name by.
func isHidden(name string) bool {
	for _, suffix := range []string{".tmp", ".part", ".partial", "~"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return strings.HasPrefix(name, ".")
}

// TestAppendAfterAShortPause has writers that close a file half-way and go on
// with it after a pause much shorter than the 50 ms for which a file must be
// unchanged. On a busy machine a pause may become longer; such a file does not
// count.
func TestAppendAfterAShortPause(t *testing.T) {
	w := newWorld(t)
	out, in := w.outbox("out", "c"), w.inbox("in", "c")
	w.node("both", out, in).startReady()
	s := newSamples(53)
	var mu sync.Mutex
	whole := map[string]bool{} // or written too late
	var wg sync.WaitGroup
	for range 30 {
		name, body := s.nextOf(1000)
		wg.Go(func() {
			late, err := writeInTwo(filepath.Join(out.dir, name), body)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			whole[name] = !late
		})
	}
	wg.Wait()
	out.awaitEmpty(patienceLimit)
	counted := 0
	for name, whole := range whole {
		if !whole {
			continue
		}
		counted++
		body, err := os.ReadFile(filepath.Join(in.dir, name))
		if err == nil {
			_, err = identifySample(name, body)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("%d of %d writers were fast enough", counted, s.made())
}

// writeInTwo writes a file in two goes and reports whether too much time passed
// between them. A file that was taken in a short pause is an error.
func writeInTwo(path string, body []byte) (late bool, err error) {
	f, err := create(path)
	if err != nil {
		return false, err
	}
	begun := time.Now()
	_, err = f.Write(body[:len(body)/2])
	if err := errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	<-time.After(10 * time.Millisecond)
	f, err = os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	late = time.Since(begun) > 40*time.Millisecond
	if errors.Is(err, fs.ErrNotExist) && late {
		return true, nil
	}
	if err != nil {
		return late, fmt.Errorf("taken within %v: %w", time.Since(begun), err)
	}
	_, err = f.Write(body[len(body)/2:])
	return late, errors.Join(err, f.Close())
}

// TestOtherWaysToBeReady has writers that close the file between any two
// writes, for longer than auto would wait, where the producer says otherwise
// when it is whole.
func TestOtherWaysToBeReady(t *testing.T) {
	reopened := func(path string, body []byte) error {
		return inChunks(body, func(_ int, chunk []byte) error {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return err
			}
			_, err = f.Write(chunk)
			return errors.Join(err, f.Close())
		})
	}
	modes := map[string]writer{
		"done-file": func(outbox, _, name string, body []byte) error {
			path := filepath.Join(outbox, name)
			if err := reopened(path, body); err != nil {
				return err
			}
			return os.WriteFile(path+".done", nil, 0o600)
		},
		"quiet": func(outbox, _, name string, body []byte) error { return reopened(filepath.Join(outbox, name), body) },
		"rename": func(outbox, away, name string, body []byte) error {
			if err := reopened(filepath.Join(away, name), body); err != nil {
				return err
			}
			return os.Rename(filepath.Join(away, name), filepath.Join(outbox, name))
		},
	}
	for mode, write := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			out, in, away := w.outbox("out", "c", "ready: "+mode, "settle: 2s"), w.inbox("in", "c"), w.mkdir("away")
			w.node("both", out, in).startReady()
			r := readInbox(t, in.dir, takeSome)
			s := newSamples(52)
			var wg sync.WaitGroup
			for _, size := range []int{0, 1, 3000, 3000, 3000, 300_000} {
				name, body := s.nextOf(size)
				wg.Go(func() {
					if err := write(out.dir, away, name, body); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			r.await(patienceLimit, s.made())
			out.awaitEmpty(patienceLimit) // markers too
			r.check(s.made())
		})
	}
}

// dyingWriter is a process that writes half of a file and keeps it open until it
// is killed.
func dyingWriter(t *testing.T, path string, half []byte) (kill func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `exec 3>"$1"; cat >&3; echo written; exec sleep 3600`, "sh", path)
	cmd.Stdin = strings.NewReader(string(half))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // ends by the signal
	})
	t.Cleanup(kill)
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatalf("writer: %v", err)
	}
	return kill
}

// TestWriterThatDiesHalfWay has writers that hold a file open for long and are
// killed. While they live nothing is taken. Afterwards no one can tell a half
// file from a whole one by looking at it: producers that may die write under
// another name or use a done-file, and then nothing of it is ever taken.
func TestWriterThatDiesHalfWay(t *testing.T) {
	for _, test := range []struct {
		mode, name string
		taken      bool // what it left is sent, byte for byte
	}{
		{"auto", "half.json", true}, {"auto", "half.json.tmp", false}, {"auto", ".half.json", false},
		{"done-file", "half.json", false}, {"rename", "half.json.part", false},
	} {
		t.Run(test.mode+" "+test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			out, in := w.outbox("out", "c", "ready: "+test.mode, `cron_time: "* * * * * *"`), w.inbox("in", "c")
			both := w.node("both", out, in)
			both.startReady()
			half := []byte(strings.Repeat("half", 1000))
			kill := dyingWriter(t, filepath.Join(out.dir, test.name), half)
			awaitOthersPass(t, out, in, "alive", test.mode)
			if names := inboxNames(t, in); len(names) != 3 {
				t.Fatalf("while its writer lives, the inbox has %q", names)
			}
			if test.mode == "auto" && test.taken {
				awaitWaitingFor(t, both, "open")
			}
			kill()
			if test.taken {
				awaitParcels(t, []string{test.name}, in)
				if body, err := os.ReadFile(filepath.Join(in.dir, test.name)); err != nil || string(body) != string(half) {
					t.Errorf("the file has %d bytes, %v; want what was left, %d bytes", len(body), err, len(half))
				}
				return
			}
			awaitOthersPass(t, out, in, "dead", test.mode)
			if names := inboxNames(t, in); len(names) != 6 {
				t.Errorf("the inbox has %q", names)
			}
			if _, err := os.Stat(filepath.Join(out.dir, test.name)); err != nil {
				t.Error(err)
			}
		})
	}
}

// awaitOthersPass sends three more files: when they have arrived, the outbox was
// looked at several times.
func awaitOthersPass(t *testing.T, out *outbox, in *inbox, prefix, mode string) {
	t.Helper()
	for i := range 3 {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if err := os.WriteFile(filepath.Join(out.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if mode == "done-file" {
			if err := os.WriteFile(filepath.Join(out.dir, name+".done"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		awaitParcels(t, []string{name}, in)
	}
}

// awaitWaitingFor waits until spools gives a reason with a word for a file.
func awaitWaitingFor(t *testing.T, n *node, word string) {
	t.Helper()
	waitFor(t, patienceLimit, "reason with "+word, func() (bool, string) {
		spool := outboxOf(n)
		for _, reason := range spool.Waiting {
			if strings.Contains(reason.Reason, word) {
				return true, ""
			}
		}
		return false, fmt.Sprintf("%+v", spool)
	})
}
