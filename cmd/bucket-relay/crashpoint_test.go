package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// crashCase says how one crash point is reached.
type crashCase struct {
	owner string // node whose process crosses it: "up" or "down"
	left  string // what must be on disk when it is crossed: claims, stage, dead, archive, or nothing in particular
	play  scenario
}

// crashCases has every crash point of the spool. A point that no scenario
// crosses, and one that is missing here, fails the test.
var crashCases = map[string]crashCase{
	"U0.claim-renamed": {"up", "claims", plain},
	"U1.claimed":       {"up", "claims", plain},
	"U1.bound":         {"up", "claims", rebinding},
	"U1.reclaimed":     {"up", "claims", rewriting},
	"U1.done-marker":   {"up", "claims", doneFile},
	"U4.before-remove": {"up", "claims", plain},
	"U6.removed":       {"up", "", plain},
	"U6.archived":      {"up", "archive", archiving},
	"U7.dead-reason":   {"up", "dead", burying},
	"U7.dead-moved":    {"up", "dead", burying},
	"U8.retry-linked":  {"up", "claims", retrying},

	"S1.stage-created":  {"down", "stage", plain},
	"S2.stage-half":     {"down", "stage", halves},
	"S2.stage-written":  {"down", "stage", plain},
	"S3.stage-synced":   {"down", "stage", plain},
	"S4.stage-dir":      {"down", "stage", plain},
	"S5.prepared":       {"down", "stage", plain},
	"S6.published-some": {"down", "stage", plain},
	"S6.published":      {"down", "", plain},
	"S7.inbox-synced":   {"down", "", plain},
	"S8.answered":       {"down", "", plain},
	"S9.delivered":      {"down", "", plain},
	"C1.partial-kept":   {"down", "stage", cutting},
	"C3.recovered-some": {"down", "", recovering},
}

// TestEveryCrashPoint kills the process at each crash point of the spool, at
// the first crossing and at a later one, starts it again and checks that no
// file is lost, none is published twice and none is seen in part.
func TestEveryCrashPoint(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the scenarios need SIGHUP")
	}
	points := declaredPoints(t)
	for point := range crashCases {
		if !slices.Contains(points, point) {
			t.Errorf("the spool has no crash point %s", point)
		}
	}
	seed := seedOf(t)
	for i, point := range points {
		c, ok := crashCases[point]
		if !ok {
			t.Errorf("no scenario crosses crash point %s", point)
			continue
		}
		later := 2 + rand.New(rand.NewPCG(seed, uint64(i))).IntN(5)
		for _, nth := range []int{1, later} {
			t.Run(fmt.Sprintf("%s:%d", point, nth), func(t *testing.T) {
				t.Parallel()
				runCrash(t, point, nth, c)
			})
		}
	}
}

// declaredPoints reads the crash points from the source of the spool, which a
// command may not import.
func declaredPoints(t *testing.T) []string {
	t.Helper()
	source := filepath.Join("..", "..", "spool", "crash_points.go")
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "CrashPoint" {
			point, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			points = append(points, point)
		}
		return true
	})
	if len(points) == 0 {
		t.Fatalf("no crash points in %s", source)
	}
	return points
}

// maxWaves bounds how often a scenario is played until its point was crossed
// often enough.
const maxWaves = 40

// crashRun is one crash: a world in which the owner of a crash point meets it.
type crashRun struct {
	*world
	point string
	nth   int

	up, down, owner *node
	out             *outbox
	in              *inbox    // of down
	reader          *reader   // of in
	others          []*reader // of further inboxes, which get the same files
	also            []string  // inboxes that share the files of in
	over            bool      // the crash was
	cutter          *cutter   // between up and down, in some scenarios
	producer        *producer
	samples         *samples
}

// scenario is a way to cross a crash point.
type scenario struct {
	// build lays out the world before anything is started.
	build func(*crashRun)
	// prepare runs once, when both nodes are ready; nil does nothing.
	prepare func(*crashRun)
	// wave crosses the point at least once, unless the owner dies of it.
	wave func(*crashRun)
	// finish ends what is left open, after the restart and one more wave; nil
	// does nothing.
	finish func(*crashRun)
}

// runCrash plays a scenario until the armed process died, starts it again
// without the trap, and checks the invariants.
func runCrash(t *testing.T, point string, nth int, c crashCase) {
	w := newWorld(t)
	r := &crashRun{world: w, point: point, nth: nth, samples: newSamples(uint64(nth))}
	c.play.build(r)
	r.up.bin, r.down.bin = crashBinary(t), crashBinary(t)
	r.owner = map[string]*node{"up": r.up, "down": r.down}[c.owner]
	r.producer = newProducer(t, r.out.dir, r.samples)
	r.reader = readInboxesOf(t, append(r.also, r.in.dir), identifySample, takeSome)

	r.down.startReady(r.trap(r.down)...)
	r.up.startReady(r.trap(r.up)...)
	if c.play.prepare != nil {
		c.play.prepare(r)
	}
	for i := 0; !r.died(); i++ {
		if i == maxWaves {
			t.Fatalf("%s was not crossed %d times in %d waves", point, nth, maxWaves)
		}
		c.play.wave(r)
	}
	r.checkDeath(c.left)
	r.over = true
	r.owner.restart()
	r.owner.awaitReady()
	c.play.wave(r)
	if c.play.finish != nil {
		c.play.finish(r)
	}
	r.checkInvariants()
}

// trap is what arms the crash point in its owner's process, until it crashed.
func (r *crashRun) trap(n *node) []string {
	if n != r.owner || r.over {
		return nil
	}
	return []string{fmt.Sprintf("BUCKET_RELAY_CRASH=%s:%d", r.point, r.nth)}
}

func (r *crashRun) died() bool { return !r.owner.running() }

// awaitOr waits for a condition, or for the death of the owner.
func (r *crashRun) awaitOr(what string, cond func() (bool, string)) {
	r.t.Helper()
	waitFor(r.t, patienceLimit, what, func() (bool, string) {
		if r.died() {
			return true, "dead"
		}
		return cond()
	})
}

// awaitDelivered waits until every file so far is in the inbox and over, or the
// owner is dead.
func (r *crashRun) awaitDelivered() {
	r.t.Helper()
	r.awaitOr("files delivered", func() (bool, string) {
		seen, claimed, waiting := r.reader.seen(), r.out.claimed(), r.out.waiting()
		return seen == r.samples.made() && len(claimed)+len(waiting) == 0,
			fmt.Sprintf("%d of %d published, claimed %q, waiting %q", seen, r.samples.made(), claimed, waiting)
	})
}

// checkDeath makes sure that the owner died of the crash point, and in the
// middle of something.
func (r *crashRun) checkDeath(left string) {
	r.t.Helper()
	n := r.owner
	if !n.killedBySIGKILL() || !strings.Contains(n.output(), "crash point "+r.point+" reached") {
		r.t.Fatalf("%s did not die of %s but: %v\n%s", n.name, r.point, n.state, n.tail())
	}
	there := true
	switch left {
	case "claims":
		there = len(r.out.claimed()) > 0
	case "dead":
		there = len(r.out.dead()) > 0
	case "stage":
		there = len(listFiles(r.t, filepath.Join(r.in.dir, ".relay", "stage"))) > 0
	case "archive":
		there = len(listFiles(r.t, filepath.Join(r.dir, "archive"))) > 0
	}
	if !there {
		r.t.Fatalf("%s was crossed without any %s on disk", r.point, left)
	}
}

// checkInvariants waits until all is delivered, and judges.
func (r *crashRun) checkInvariants() {
	r.t.Helper()
	for _, reader := range append(r.others, r.reader) {
		reader.await(patienceLimit, r.samples.made())
	}
	r.out.awaitEmpty(patienceLimit)
	r.in.checkStage()
	r.up.stop()
	r.down.stop()
	for _, reader := range append(r.others, r.reader) {
		reader.check(r.samples.made())
	}
	if dead := r.out.dead(); len(dead) > 0 {
		r.t.Errorf("dead/ is not empty: %q", dead)
	}
}
