package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pairOf lays out one outbox and one inbox with a node each, none of which runs.
func pairOf(t *testing.T) (w *world, up, down *node, out *outbox, in *inbox) {
	t.Helper()
	w = newWorld(t)
	in, out = w.inbox("c1", "json"), w.outbox("out", "json")
	return w, w.node("up", out), w.node("down", in), out, in
}

func TestClaimsSurviveRestartsWhileCollectorIsDown(t *testing.T) {
	t.Parallel()
	_, up, down, out, in := pairOf(t)
	s := newSamples(1)
	p := newProducer(t, out.dir, s)
	r := readInbox(t, in.dir, takeSome)
	up.startReady()
	for range 3 { // killed and stopped in turn
		p.drop(50)
		out.awaitClaimed(s.made())
		before := out.claimed()
		up.kill()
		up.restart()
		up.awaitReady()
		p.drop(50)
		out.awaitClaimed(s.made())
		up.stop()
		if kept := out.claimed(); !containsAll(kept, before) {
			t.Fatalf("claims changed their names over a restart: %d of them, then %d", len(before), len(kept))
		}
		up.restart()
		up.awaitReady()
	}
	down.startReady()
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	r.check(s.made())
}

func containsAll(list, want []string) bool {
	has := map[string]bool{}
	for _, s := range list {
		has[s] = true
	}
	for _, s := range want {
		if !has[s] {
			return false
		}
	}
	return true
}

// The consumer may empty its inbox whenever it likes: what was published is
// known from the ledger, not from the inbox.
func TestInboxIsConsumedWhileCollectorIsDown(t *testing.T) {
	t.Parallel()
	_, up, down, out, in := pairOf(t)
	down.bin = crashBinary(t)
	s := newSamples(2)
	p := newProducer(t, out.dir, s)
	r := readInbox(t, in.dir, func(string) verdict { return remove })
	// The collector dies when files are in the inbox and nobody was told.
	down.startReady("BUCKET_RELAY_CRASH=S6.published:3")
	up.startReady()
	for down.running() {
		p.drop(10)
		waitFor(t, patienceLimit, "files delivered or collector dead", func() (bool, string) {
			return !down.running() || r.seen() == s.made(), fmt.Sprintf("%d of %d", r.seen(), s.made())
		})
	}
	waitFor(t, patienceLimit, "inbox consumed", func() (bool, string) {
		names, err := listNames(in.dir)
		return err == nil && len(names) == 1, fmt.Sprintf("%q %v", names, err)
	})
	down.restart()
	down.awaitReady()
	p.drop(10)
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	r.check(s.made())
}

// identifyContent tells files apart by what is in them, whatever their names.
func identifyContent(_ string, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:]), nil
}

func TestNameIsUsedAgainBeforeTheFirstFileIsDelivered(t *testing.T) {
	t.Parallel()
	_, up, down, out, in := pairOf(t)
	p := newProducer(t, out.dir, newSamples(3))
	r := readInboxOf(t, in.dir, identifyContent, nil)
	up.startReady()
	var ids []string
	for i := range 5 {
		body := fmt.Appendf(nil, "content %d\n", i)
		p.rename("same.json", body)
		out.awaitClaimed(i + 1)
		id, _ := identifyContent("", body)
		ids = append(ids, id)
	}
	up.kill()
	up.restart()
	down.startReady()
	waitFor(t, patienceLimit, "5 files", func() (bool, string) {
		return r.seen() == len(ids), fmt.Sprintf("%d files", r.seen())
	})
	out.awaitEmpty(patienceLimit)
	r.checkIDs(ids...)
	plain := 0
	for _, id := range ids {
		for _, name := range r.namesOf(id) {
			switch {
			case name == "same.json":
				plain++
			case !strings.HasPrefix(name, "same~") || !strings.HasSuffix(name, ".json"):
				t.Errorf("published as %q, want same.json or same~….json", name)
			}
		}
	}
	if plain != 1 {
		t.Errorf("%d files are called same.json, want one", plain)
	}
}

func TestOneOfTwoCollectorsHasTheFilesWhenTheUploaderDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second, out := w.inbox("c1", "json"), w.inbox("c2", "json"), w.outbox("out", "json")
	up, down1, down2 := w.node("up", out), w.node("down1", first), w.node("down2", second)
	s := newSamples(4)
	p := newProducer(t, out.dir, s)
	r1, r2 := readInbox(t, first.dir, takeSome), readInbox(t, second.dir, takeSome)
	down1.startReady()
	up.startReady()
	p.drop(300)
	r1.await(patienceLimit, s.made())
	if n := len(out.claimed()); n != s.made() {
		t.Errorf("%d files are claimed while one of two collectors lacks them, want %d", n, s.made())
	}
	up.kill()
	down1.kill()
	down1.restart()
	up.restart()
	down2.startReady()
	r2.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	r1.check(s.made())
	r2.check(s.made())
}

// copyDir is cp -a.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs cp")
	}
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp -a: %v\n%s", err, out)
	}
}

func TestClonedOutbox(t *testing.T) {
	t.Parallel()
	w, up, down, out, in := pairOf(t)
	s := newSamples(5)
	p := newProducer(t, out.dir, s)
	r := readInbox(t, in.dir, takeSome)
	up.startReady()
	p.drop(200)
	out.awaitClaimed(s.made())
	up.kill()

	clone := w.outbox("clone", "json")
	copyDir(t, out.dir, clone.dir)
	twin := w.node("twin", clone)
	up.restart()
	twin.start()
	down.startReady()
	newProducer(t, clone.dir, s).drop(50)
	p.drop(50)
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	clone.awaitEmpty(patienceLimit)
	// Which of the two was first may leave files of the other in dead/: they
	// were settled when it offered them.
	checkDeadSettled(t, up)
	checkDeadSettled(t, twin)
	r.check(s.made())
}

// A clone that is made while the uploader runs has ids that the uploader still
// gives out. What the clone's end makes the collector believe to be settled is
// held in dead/; it is not lost, and nothing comes twice.
func TestOutboxClonedWhileItRuns(t *testing.T) {
	t.Parallel()
	w, up, down, out, in := pairOf(t)
	s := newSamples(7)
	p := newProducer(t, out.dir, s)
	r := readInbox(t, in.dir, takeSome)
	up.startReady()
	p.drop(60)
	out.awaitClaimed(s.made())
	clone := w.outbox("clone", "json")
	copyDir(t, out.dir, clone.dir)
	twin := w.node("twin", clone)
	down.startReady()
	twin.startReady()
	clone.awaitEmpty(patienceLimit)
	newProducer(t, clone.dir, s).drop(1) // carries the twin's marks
	clone.awaitEmpty(patienceLimit)
	p.drop(60)
	out.awaitEmpty(patienceLimit)
	var want, held []string
	for _, d := range checkDeadSettled(t, up) {
		held = append(held, d.Name[:6])
	}
	waitFor(t, patienceLimit, "every file published or held", func() (bool, string) {
		want = nil
		for i := range s.made() {
			if len(r.namesOf(strconv.Itoa(i))) > 0 || !slices.Contains(held, fmt.Sprintf("%06d", i)) {
				want = append(want, strconv.Itoa(i))
			}
		}
		return r.seen() == len(want), fmt.Sprintf("%d published, %d held", r.seen(), len(held))
	})
	t.Logf("%d of %d files held", s.made()-len(want), s.made())
	r.checkIDs(want...)
}

// deadFile is one entry of GET /v1/dead, as far as the tests read it.
type deadFile struct{ ID, Name, Code, Reason string }

func listDead(t *testing.T, n *node) []deadFile {
	t.Helper()
	status, body := httpGet(t.Context(), n.admin+"/v1/dead")
	var answer struct{ Dead []deadFile }
	if err := json.Unmarshal([]byte(body), &answer); status != http.StatusOK || err != nil {
		t.Fatalf("GET /v1/dead: %d %s %v", status, body, err)
	}
	return answer.Dead
}

// checkDeadSettled fails for files that were set aside for another reason than
// that their collector was done with them, or for none that one can read.
func checkDeadSettled(t *testing.T, n *node) []deadFile {
	t.Helper()
	dead := listDead(t, n)
	for _, d := range dead {
		if d.Code != "settled" || d.Reason == "" {
			t.Errorf("%s of %s is dead with code %q and reason %q", d.Name, n.name, d.Code, d.Reason)
		}
	}
	return dead
}

func TestRestoredOutboxSetsAsideWhatIsSettled(t *testing.T) {
	t.Parallel()
	w, up, down, out, in := pairOf(t)
	s := newSamples(6)
	p := newProducer(t, out.dir, s)
	r := readInbox(t, in.dir, takeSome)
	up.startReady()
	p.drop(40)
	out.awaitClaimed(s.made())
	up.stop()
	snapshot := w.mkdir("snapshot")
	copyDir(t, out.dir, snapshot)
	pending := len(out.claimed())

	down.startReady()
	up.restart()
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	p.drop(1) // carries the marks
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	up.stop()

	if err := os.RemoveAll(out.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(snapshot, out.dir); err != nil {
		t.Fatal(err)
	}
	up.restart()
	up.awaitReady()
	out.awaitEmpty(patienceLimit)
	if dead := checkDeadSettled(t, up); len(dead) != pending {
		t.Errorf("%d files are dead, want the %d that were restored", len(dead), pending)
	}
	r.check(s.made())
}
