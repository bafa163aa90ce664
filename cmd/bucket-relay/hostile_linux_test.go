package main_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// trap puts something at path that is no file to be relayed. outside is a
// directory with a file "secret" in it.
type trap func(path, outside string) error

// traps are what may lie in an outbox beside files, with words of the reason
// that spools must give.
var traps = map[string]struct {
	lay   trap
	words string
}{
	"link-to-file":             {func(path, outside string) error { return os.Symlink(filepath.Join(outside, "secret"), path) }, "link"},
	"link-to-dir":              {func(path, outside string) error { return os.Symlink(outside, path) }, "link"},
	"link-to-none":             {func(path, outside string) error { return os.Symlink(filepath.Join(outside, "none"), path) }, "link"},
	"link-to-proc":             {func(path, _ string) error { return os.Symlink("/proc/self/environ", path) }, "link"},
	"hard-link":                {func(path, outside string) error { return os.Link(filepath.Join(outside, "secret"), path) }, "link"},
	"fifo":                     {func(path, _ string) error { return unix.Mkfifo(path, 0o666) }, "FIFO"},
	"directory":                {layDirectory, "directory"},
	"socket":                   {laySocket, "socket"},
	"bidi-\u202e":              {layFile, "bidirectional"},
	"new\nline":                {layFile, "control"},
	"bell\a":                   {layFile, "control"},
	"latin-\xe9":               {layFile, "UTF-8"},
	"separator-\u2028":         {layFile, "control"},
	strings.Repeat("long", 63): {layFile, "bytes"},
}

func layFile(path, _ string) error { return os.WriteFile(path, []byte("hello"), 0o600) }

func layDirectory(path, _ string) error {
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	return layFile(filepath.Join(path, "below"), "")
}

func laySocket(path, _ string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	dir, err := os.Open(filepath.Dir(path)) // the path itself may be too long
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))})
}

// TestHostileEntriesStayInTheOutbox has every trap in an outbox, before the
// start and while it runs: they stay as they are, with a reason, and the files
// among them go their way.
func TestHostileEntriesStayInTheOutbox(t *testing.T) {
	for _, mode := range []string{"auto", "quiet", "rename"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			outside := fence(w)
			out, in := w.outbox("out", "c", "ready: "+mode, "settle: 100ms"), w.inbox("in", "c")
			up, down := w.node("up", out), w.node("down", in)
			lay := func(prefix string) {
				for name, trap := range traps {
					if err := trap.lay(filepath.Join(out.dir, prefix+name), outside); err != nil {
						t.Fatal(err)
					}
				}
			}
			lay("1")
			down.startReady()
			up.startReady()
			lay("2")
			before := snapshot(t, out.dir, ".relay")
			s := newSamples(31)
			r := readInbox(t, in.dir, takeSome)
			newProducer(t, out.dir, s).drop(20)
			r.await(patienceLimit, s.made())
			awaitRejected(t, up, 2*len(traps))
			for name, trap := range traps {
				if !rejectedWith(outboxOf(up), trap.words) {
					t.Errorf("%q: spools gives no reason with %q: %+v", name, trap.words, outboxOf(up).Rejected)
				}
			}
			if text := runClient(t, up, "spools", "--json"); !strings.Contains(text, "symbolic link") {
				t.Errorf("spools --json gives no reasons: %s", text)
			}
			r.check(s.made())
			if after := snapshot(t, out.dir, ".relay"); !maps.Equal(before, after) {
				t.Errorf("the outbox has %q, want %q", after, before)
			}
		})
	}
}

// awaitRejected waits until spools counts n entries that are never taken.
func awaitRejected(t *testing.T, n *node, want int) {
	t.Helper()
	waitFor(t, patienceLimit, fmt.Sprintf("%d entries rejected", want), func() (bool, string) {
		sum := 0
		spool := outboxOf(n)
		for _, r := range spool.Rejected {
			sum += r.Files
		}
		return sum == want, fmt.Sprintf("%d: %+v", sum, spool.Rejected)
	})
}

func rejectedWith(s httpapi.Spool, words string) bool {
	return slices.ContainsFunc(s.Rejected, func(w httpapi.Waiting) bool {
		return w.Files > 0 && w.Sample != "" && strings.Contains(w.Reason, words)
	})
}

// TestTakenNamesInTheInbox publishes under a name that something of the
// consumer's side has already. Nothing is ever written through it.
func TestTakenNamesInTheInbox(t *testing.T) {
	for _, policy := range []string{"suffix", "reject", "replace"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			outside := fence(w)
			out, in := w.outbox("out", "c"), w.inbox("in", "c", "on_conflict: "+policy)
			up, down := w.node("up", out), w.node("down", in)
			down.startReady()
			up.startReady()
			kinds := []string{"link-to-file", "link-to-dir", "link-to-none", "fifo", "directory", "socket"}
			for _, kind := range kinds {
				if err := traps[kind].lay(filepath.Join(in.dir, kind), outside); err != nil {
					t.Fatal(err)
				}
			}
			before := snapshot(t, in.dir, ".relay")
			for _, kind := range kinds {
				w.writeFile(filepath.Join(w.dir, "file"), "of "+kind)
				if err := os.Rename(filepath.Join(w.dir, "file"), filepath.Join(out.dir, kind)); err != nil {
					t.Fatal(err)
				}
			}
			out.awaitEmpty(patienceLimit)
			after := snapshot(t, in.dir, ".relay")
			for _, kind := range kinds {
				kept := after[kind] == before[kind]
				replaced := policy == "replace" && kind != "directory"
				if kept == replaced {
					t.Errorf("%s: was %s, is %s", kind, before[kind], after[kind])
				}
			}
			wantDead := map[string]int{"suffix": 0, "reject": len(kinds), "replace": 1}[policy]
			if dead := out.dead(); len(dead) != 2*wantDead { // each with its reason
				t.Errorf("dead has %q, want %d files", dead, wantDead)
			}
			wantNew := map[string]int{"suffix": len(kinds), "reject": 0, "replace": 0}[policy]
			if n := len(inboxNames(t, in)) - len(kinds); n != wantNew {
				t.Errorf("%d new names in the inbox, want %d: %q", n, wantNew, inboxNames(t, in))
			}
		})
	}
}

// TestSwappedDirectoriesBeforeStart replaces parts of the relay's own
// directories by links to the outside before a node starts. Links to
// directories must keep it from starting, and no other link may be followed.
func TestSwappedDirectoriesBeforeStart(t *testing.T) {
	type swap struct {
		path    string // below the world
		target  string // below outside
		refused bool
	}
	var swaps []swap
	for _, dir := range []string{"out-out/.relay", "out-out/.relay/claimed", "out-out/.relay/dead", "out-out/.relay/claimed/@in", "in-in/.relay", "in-in/.relay/stage", "in-in/.relay/dead"} {
		swaps = append(swaps, swap{dir, "sub", dir != "out-out/.relay/claimed/@in"})
	}
	for _, file := range []string{"out-out/.relay/lock", "out-out/.relay/spool-id", "out-out/.relay/epochs", "in-in/.relay/lock", "in-in/.relay/ledger.db", "in-in/.relay/ledger-id"} {
		for _, target := range []string{"secret", "none"} {
			swaps = append(swaps, swap{file, target, false})
		}
	}
	for _, s := range swaps {
		t.Run(s.path+" to "+s.target, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			outside := fence(w)
			out, in := w.outbox("out", "c"), w.inbox("in", "c")
			path := filepath.Join(w.dir, s.path)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(outside, s.target), path); err != nil {
				t.Fatal(err)
			}
			s2 := newSamples(32)
			newProducer(t, out.dir, s2).drop(3)
			n := w.node("both", out, in)
			n.start()
			if !s.refused && awaitReadyOrEnd(t, n) {
				r := readInbox(t, in.dir, nil)
				r.await(patienceLimit, s2.made())
				r.check(s2.made())
				return
			}
			if code := n.awaitEnd(patienceLimit).ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1\n%s", code, n.tail())
			}
			if text := n.output(); !strings.Contains(text, filepath.Base(path)) {
				t.Errorf("the message does not name %s\n%s", path, n.tail())
			}
			for name := range snapshot(t, outside) {
				if strings.HasSuffix(name, ".json") {
					t.Errorf("%s was moved outside", name)
				}
			}
		})
	}
}

// awaitReadyOrEnd waits for either and reports whether the node is ready.
func awaitReadyOrEnd(t *testing.T, n *node) (ready bool) {
	t.Helper()
	waitFor(t, patienceLimit, "node ready or ended", func() (bool, string) {
		status, body := httpGet(t.Context(), n.admin+"/readyz")
		ready = status == 200
		return ready || !n.running(), fmt.Sprintf("%d %s", status, body)
	})
	return ready
}

// TestSwappedDirectoriesWhileRunning moves a directory away from under a running
// node and puts a link to the outside in its place. Nothing may arrive there;
// when the directory is back, everything goes on and is published once.
func TestSwappedDirectoriesWhileRunning(t *testing.T) {
	for _, path := range []string{"in-in", "in-in/.relay", "in-in/.relay/stage", "out-out", "out-out/.relay", "out-out/.relay/claimed"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			outside := fence(w)
			out, in := w.outbox("out", "c"), w.inbox("in", "c")
			up, down := w.node("up", out), w.node("down", in)
			down.startReady()
			up.startReady()
			s := newSamples(33)
			p := newProducer(t, out.dir, s)
			p.drop(20)
			out.awaitEmpty(patienceLimit)

			dir, away := filepath.Join(w.dir, path), filepath.Join(w.dir, "away")
			p.outbox = openPath(t, out.dir) // the producer has the directory open
			mustRename(t, dir, away)
			if err := os.Symlink(filepath.Join(outside, "sub"), dir); err != nil {
				t.Fatal(err)
			}
			p.drop(20)
			stayed := filepath.Join(w.dir, "in-in")
			if path == "in-in" {
				stayed = away
			}
			settled := func() (bool, string) {
				names, err := os.ReadDir(stayed)
				if err != nil {
					return false, err.Error()
				}
				// Through the open directories the files may go on arriving, or they wait
				// with a reason.
				return len(names)-1 == s.made() || explained(up, down), fmt.Sprintf("%d files, %+v", len(names)-1, outboxOf(up))
			}
			waitFor(t, patienceLimit, "files arrived in the old directory or a reason why not", settled)
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			mustRename(t, away, dir)
			p.drop(20)
			r := readInbox(t, in.dir, nil)
			r.await(patienceLimit, s.made())
			out.awaitEmpty(patienceLimit)
			r.check(s.made())
		})
	}
}

// explained reports whether one of the nodes says in words that something is
// wrong.
func explained(up, down *node) bool {
	spool := outboxOf(up)
	for _, target := range spool.Targets {
		if target.Reason != "" {
			return true
		}
	}
	var s httpapi.Spools
	down.spools(&s)
	return spool.State != "" || len(spool.Waiting)+len(spool.Rejected) > 0 || s.Spools[0].State != ""
}

// openPath returns a path that leads to a directory wherever it is moved.
func openPath(t *testing.T, dir string) string {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd())
}

func mustRename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// TestClaimsAreNotFollowed puts traps where an uploader keeps its claims, as
// whoever may write to the outbox can. None of them is read or sent. (A hard
// link is not among them: a dead file that is retried has two names for a
// moment, and one who can make claims can as well copy.)
func TestClaimsAreNotFollowed(t *testing.T) {
	w := newWorld(t)
	outside := fence(w)
	out, in := w.outbox("out", "c"), w.inbox("in", "c")
	up, down := w.node("up", out), w.node("down", in)
	up.startReady() // with nobody to send to, so that there is an epoch
	s := newSamples(34)
	p := newProducer(t, out.dir, s)
	p.drop(3)
	out.awaitClaimed(s.made())
	up.stop()
	epoch, _, _ := strings.Cut(filepath.Base(out.claimed()[0]), ".")
	i := 100
	for _, kind := range []string{"link-to-file", "link-to-dir", "link-to-proc", "fifo", "socket", "directory"} {
		if err := traps[kind].lay(filepath.Join(out.dir, ".relay", "claimed", fmt.Sprintf("%s.%x.%s", epoch, i, kind)), outside); err != nil {
			t.Fatal(err)
		}
		i++
	}
	down.startReady()
	up.restart()
	up.awaitReady()
	r := readInbox(t, in.dir, nil)
	p.drop(3)
	r.await(patienceLimit, s.made())
	waitFor(t, patienceLimit, "only the traps are left", func() (bool, string) {
		left := out.claimed()
		return !slices.ContainsFunc(left, func(name string) bool { return strings.HasSuffix(name, ".json") }), fmt.Sprintf("%q", left)
	})
	r.check(s.made())
}
