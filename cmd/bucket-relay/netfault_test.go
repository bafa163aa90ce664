package main_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// sickRoom is where one fault is tried: a cluster of its one collector, and two
// clusters in which a healthy one stands beside it.
type sickRoom struct {
	front                   [3]*front
	solo                    *inbox
	allSick, allWell        *inbox
	oneSick, oneWell        *inbox
	soloFiles, allF, oneF   []string
	soloName, allName, name string
}

// newSickRoom makes the three clusters. An item of the one cluster whose fate is
// unknown stays with the collector that may have it, for longer than the test.
func newSickRoom(w *world, name string) *sickRoom {
	s := &sickRoom{name: name + "-one", allName: name + "-all", soloName: name}
	w.cluster(s.name, "mode: one", "failover_after: 1h")
	s.solo = w.inbox(name, s.soloName)
	s.allSick, s.allWell = w.inbox(name+"-all-sick", s.allName), w.inbox(name+"-all-well", s.allName)
	s.oneSick, s.oneWell = w.inbox(name+"-one-sick", s.name), w.inbox(name+"-one-well", s.name)
	for i, in := range []*inbox{s.solo, s.allSick, s.oneSick} {
		s.front[i] = newFront(w.t, in, faults[name])
	}
	return s
}

func (s *sickRoom) inboxes() []any {
	return []any{s.solo, s.allSick, s.allWell, s.oneSick, s.oneWell}
}

func (s *sickRoom) drop(t *testing.T, outbox string) {
	s.soloFiles = dropParcels(t, outbox, s.soloName, parcelSizes...)
	s.allF = dropParcels(t, outbox, s.allName, parcelSizes...)
	s.oneF = dropParcels(t, outbox, s.name, parcelSizes...)
}

// TestFailingCollectorLosesNothingAndDelaysNobody has every fault at once beside
// healthy collectors. While the faults last, everything that is owed to healthy
// collectors arrives and everything else stays claimed, with a reason. When they
// are over, all of it arrives by itself, once.
func TestFailingCollectorLosesNothingAndDelaysNobody(t *testing.T) {
	w := newWorld(t)
	out := w.outbox("out", "well")
	out.nexthop = toCluster
	well := w.inbox("well", "well")
	spools := []any{well}
	rooms := map[string]*sickRoom{}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		rooms[name] = newSickRoom(w, name)
		spools = append(spools, rooms[name].inboxes()...)
	}
	up, down := w.node("up", out), w.node("down", spools...)
	down.startReady()
	up.startReady()

	owed := 0
	for _, s := range rooms {
		s.drop(t, out.dir)
		owed += len(s.soloFiles) + len(s.allF)
	}
	wellFiles := dropParcels(t, out.dir, "well", parcelSizes...)

	awaitParcels(t, wellFiles, well)
	for _, s := range rooms {
		awaitParcels(t, s.allF, s.allWell)
	}
	for _, name := range []string{"answers-503", "answers-507"} {
		awaitParcels(t, rooms[name].oneF, rooms[name].oneWell) // refused, so the other one gets it
	}
	for name, s := range rooms {
		awaitReason(t, up, s.solo.id)
		if held := claimedOf(out, s.soloName); held != len(s.soloFiles) {
			t.Errorf("%s: %d of %d files are held while the fault lasts", name, held, len(s.soloFiles))
		}
		if held := claimedOf(out, s.allName); held != len(s.allF) {
			t.Errorf("%s: %d of %d files for two are held while one of them fails", name, held, len(s.allF))
		}
	}

	for _, s := range rooms {
		for _, f := range s.front {
			f.mend()
		}
	}
	out.awaitEmpty(2 * patienceLimit)
	checkParcels(t, wellFiles, well)
	for name, s := range rooms {
		t.Run(name, func(t *testing.T) {
			checkParcels(t, s.soloFiles, s.solo)
			checkParcels(t, s.allF, s.allWell)
			checkParcels(t, s.allF, s.allSick)
			checkParcels(t, s.oneF, s.oneSick, s.oneWell)
			if s.front[0].hits.Load() == 0 {
				t.Error("the fault was never met")
			}
		})
	}
	if dead := out.dead(); len(dead) > 0 {
		t.Errorf("passing faults set files aside: %q", dead)
	}
}

// claimedOf counts the claims of files whose names begin with a cluster's.
func claimedOf(o *outbox, cluster string) (n int) {
	for _, c := range o.claimed() {
		// <epoch>.<seq>.<name>, bound ones below @<collector>/
		if parts := strings.SplitN(filepath.Base(c), ".", 3); len(parts) == 3 && strings.HasPrefix(parts[2], cluster+".") {
			n++
		}
	}
	return n
}

// awaitReason waits until spools says why a collector's files wait.
func awaitReason(t testing.TB, n *node, collector string) {
	t.Helper()
	waitFor(t, patienceLimit, "reason why "+collector+" waits", func() (bool, string) {
		target := targetOf(n, collector)
		return target.State == httpapi.TargetBackoff && target.Reason != "" && target.Queued+target.InFlight > 0,
			fmt.Sprintf("%+v", target)
	})
}

// targetOf returns what an uploading node says of a collector.
func targetOf(n *node, collector string) httpapi.Target {
	n.w.t.Helper()
	var s httpapi.Spools
	n.spools(&s)
	for _, spool := range s.Spools {
		for _, target := range spool.Targets {
			if target.Collector == collector {
				return target
			}
		}
	}
	return httpapi.Target{}
}

// outboxOf returns what a node says of its outbox.
func outboxOf(n *node) httpapi.Spool {
	n.w.t.Helper()
	var s httpapi.Spools
	n.spools(&s)
	for _, spool := range s.Spools {
		if spool.Kind == httpapi.KindOutbox {
			return spool
		}
	}
	return httpapi.Spool{}
}

// TestOneOfTwoCollectorsDown kills one of two: in an all cluster the other is
// served at once and the rest follows; in a one cluster the other gets all.
func TestOneOfTwoCollectorsDown(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		w := newWorld(t)
		out, a, b := w.outbox("out", "c"), w.inbox("a", "c"), w.inbox("b", "c")
		up, downA, downB := w.node("up", out), w.node("down-a", a), w.node("down-b", b)
		downA.startReady()
		up.startReady()
		readA, readB := readInbox(t, a.dir, takeSome), readInbox(t, b.dir, takeSome)
		s := newSamples(21)
		newProducer(t, out.dir, s).drop(100)
		readA.await(patienceLimit, s.made())
		awaitReason(t, up, "b")
		out.awaitClaimed(s.made())

		downB.startReady()
		readB.await(patienceLimit, s.made())
		out.awaitEmpty(patienceLimit)
		readA.check(s.made())
		readB.check(s.made())
	})
	for _, mode := range [][]string{{"mode: one"}, {"mode: key", "key: '^([0-9]*)-'"}} {
		t.Run(mode[0], func(t *testing.T) { testOtherTakesOver(t, mode) })
	}
}

// testOtherTakesOver has a cluster in which one collector gets each file. What
// refuses the connection has nothing, so the other gets it at once; what was
// killed under way may have something, which waits for it. One that is back gets
// its share again.
func testOtherTakesOver(t *testing.T, mode []string) {
	w := newWorld(t)
	w.cluster("c", append(mode, "failover_after: 1h")...)
	out, a, b := w.outbox("out", "c"), w.inbox("a", "c"), w.inbox("b", "c")
	up, downA, downB := w.node("up", out), w.node("down-a", a), w.node("down-b", b)
	downA.startReady()
	up.startReady()
	r := readInboxesOf(t, []string{a.dir, b.dir}, identifySample, nil)
	s := newSamples(22)
	p := newProducer(t, out.dir, s)
	p.drop(100)
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)

	downB.startReady()
	waitFor(t, patienceLimit, "files at b, which is back", func() (bool, string) {
		p.drop(5)
		return len(inboxNames(t, b)) > 0, fmt.Sprintf("%+v", targetOf(up, "b"))
	})
	p.drop(300)
	downB.kill()
	p.drop(100)
	downB.restart()
	downB.awaitReady()
	r.await(patienceLimit, s.made())
	out.awaitEmpty(patienceLimit)
	r.check(s.made())
}

// TestClusterWithoutMembersHoldsNobodyUp has files for an empty cluster and for
// one that nobody knows. The others flow, spools tells why these wait, and
// SIGHUP with a mended file moves them.
func TestClusterWithoutMembersHoldsNobodyUp(t *testing.T) {
	w := newWorld(t)
	out := w.outbox("out", "well")
	out.nexthop = toCluster
	well, late := w.inbox("well", "well"), w.inbox("late", "late")
	lateMembers := w.cluster("late").members
	w.cluster("late").members = nil
	w.cluster("empty")
	up, down := w.node("up", out), w.node("down", well, late)
	down.startReady()
	up.startReady()

	var stuck []string
	for _, cluster := range []string{"empty", "nobody-knows", "late"} {
		stuck = append(stuck, dropParcels(t, out.dir, cluster, parcelSizes...)...)
	}
	awaitParcels(t, dropParcels(t, out.dir, "well", parcelSizes...), well)
	awaitWaiting(t, up, "empty", "has no members")
	awaitWaiting(t, up, "nobody-knows", "unknown")
	if left := len(out.waiting()); left != len(stuck) {
		t.Errorf("%d files wait in the outbox, want %d", left, len(stuck))
	}

	static := filepath.Join(w.dir, "up-static.yaml")
	w.writeFile(static, "clusters: [ no mapping ]\n")
	up.hup("the old one stays")
	if !strings.Contains(up.output(), filepath.Base(static)) {
		t.Errorf("the log does not name the file with the mistake\n%s", up.tail())
	}
	awaitParcels(t, dropParcels(t, out.dir, "well", 1, 2, 3), well) // by the old table

	w.cluster("late").members = lateMembers
	w.writeFile(static, w.table())
	up.hup("")
	awaitParcels(t, stuck[2*len(parcelSizes):], late)
	waitFor(t, patienceLimit, "only what has no collector is left", func() (bool, string) {
		left := append(out.waiting(), out.claimed()...)
		return len(left) == 2*len(parcelSizes), fmt.Sprintf("%q", left)
	})
}

// awaitWaiting waits until spools gives a reason for files of a cluster.
func awaitWaiting(t testing.TB, n *node, cluster, words string) {
	t.Helper()
	waitFor(t, patienceLimit, "reason for files of "+cluster, func() (bool, string) {
		spool := outboxOf(n)
		ok := slices.ContainsFunc(spool.Waiting, func(w httpapi.Waiting) bool {
			return strings.Contains(w.Reason, cluster) && strings.Contains(w.Reason, words) && w.Files == len(parcelSizes)
		})
		return ok, fmt.Sprintf("%+v", spool.Waiting)
	})
}

// hup sends SIGHUP, and waits for a line of the log that has the words.
func (n *node) hup(words string) {
	n.w.t.Helper()
	before := len(n.output())
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.w.t.Fatal(err)
	}
	if words == "" {
		return
	}
	waitFor(n.w.t, patienceLimit, "log says "+words, func() (bool, string) {
		text := n.output()[before:]
		return strings.Contains(text, words), text
	})
}

// TestReloadedRulesMoveWaitingFiles mends rules while files wait for them.
func TestReloadedRulesMoveWaitingFiles(t *testing.T) {
	w := newWorld(t)
	out := w.outbox("out", "well")
	well := w.inbox("well", "well")
	out.nexthop = `'name startsWith "other." ? "well" : nil'`
	up, down := w.node("up", out), w.node("down", well)
	down.startReady()
	up.startReady()
	files := dropParcels(t, out.dir, "well", parcelSizes...)
	other := dropParcels(t, out.dir, "other", parcelSizes...)
	awaitParcels(t, other, well)
	waitFor(t, patienceLimit, "reason why files are left", func() (bool, string) {
		spool := outboxOf(up)
		return spool.Queued == len(files) && len(spool.Waiting) == 1, fmt.Sprintf("%+v", spool)
	})

	config := filepath.Join(w.dir, "up.yaml")
	good, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	w.writeFile(config, strings.ReplaceAll(string(good), `startsWith "other."`, `startsWith (`))
	up.hup("the old one stays")
	awaitParcels(t, dropParcels(t, out.dir, "other", 5, 6), well)
	w.writeFile(config, strings.ReplaceAll(string(good), `"other."`, `""`))
	up.hup("")
	awaitParcels(t, files, well)
	out.awaitEmpty(patienceLimit)
	if status, body := httpGet(t.Context(), up.admin+"/readyz"); status != http.StatusOK {
		t.Errorf("not ready after reloads: %d %s", status, body)
	}
}
