//go:build root && linux

package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// cutScene is a way to meet a crash point with a disk below it.
type cutScene struct {
	owner string // node that crosses it: "up" or "down"
	// build changes the world before anything is started; nil changes nothing.
	build func(*cutRun)
	// wave brings the owner to the point, sooner or later.
	wave func(*cutRun)
	// finish is done after the restart, so that all can be delivered; nil does
	// nothing.
	finish func(*cutRun)
}

// small relays a batch; mixed also relays a file that does not come in one piece.
var (
	small = func(r *cutRun) { r.hand(12, -1) }
	mixed = func(r *cutRun) { r.hand(6, -1); r.hand(1, 3<<20) }
)

func (r *cutRun) hand(n, size int) {
	r.t.Helper()
	if err := r.producer.drop(n, size); err != nil {
		r.t.Fatal(err)
	}
}

// cutScenes has every crash point of the spool.
var cutScenes = map[string]cutScene{
	"U0.claim-renamed": {owner: "up", wave: small},
	"U1.claimed":       {owner: "up", wave: small},
	"U1.bound":         {owner: "up", build: secondIsDown, wave: small},
	"U1.reclaimed":     {owner: "up", wave: rewrite},
	"U1.done-marker":   {owner: "up", build: withMarkers, wave: small},
	"U4.before-remove": {owner: "up", wave: small},
	"U6.removed":       {owner: "up", wave: small},
	"U6.archived":      {owner: "up", build: withArchive, wave: small},
	"U7.dead-reason":   {owner: "up", build: withLimit, wave: handTooLarge, finish: retryDead},
	"U7.dead-moved":    {owner: "up", build: withLimit, wave: handTooLarge, finish: retryDead},
	"U8.retry-linked":  {owner: "up", build: withLimit, wave: retryTooLarge, finish: retryDead},

	"S1.stage-created":  {owner: "down", wave: small},
	"S2.stage-half":     {owner: "down", wave: mixed},
	"S2.stage-written":  {owner: "down", wave: small},
	"S3.stage-synced":   {owner: "down", wave: small},
	"S4.stage-dir":      {owner: "down", wave: mixed},
	"S5.prepared":       {owner: "down", wave: mixed},
	"S6.published-some": {owner: "down", wave: small},
	"S6.published":      {owner: "down", wave: mixed},
	"S7.inbox-synced":   {owner: "down", wave: mixed},
	"S8.answered":       {owner: "down", wave: small},
	"S9.delivered":      {owner: "down", wave: small},
	"C1.partial-kept":   {owner: "down", build: withCutter, wave: cutHalfWay},
	"C3.recovered-some": {owner: "down", wave: dieTwice},
}

// TestPowerCutAfterEveryStep kills a process at each crash point and cuts the
// power of its disk in the same moment: what the steps before have not made
// durable is gone.
func TestPowerCutAfterEveryStep(t *testing.T) {
	needRoot(t)
	for _, point := range declaredPoints(t) {
		scene, ok := cutScenes[point]
		if !ok {
			t.Errorf("no power cut at crash point %s", point)
			continue
		}
		for _, nth := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s:%d", point, nth), func(t *testing.T) {
				t.Parallel()
				cutAtStep(t, point, nth, scene)
			})
		}
	}
}

// cutAtStep plays a scene until the owner died of the point, cuts the power, and
// checks what is left before and after the restart.
func cutAtStep(t *testing.T, point string, nth int, scene cutScene) {
	disks := map[string][2]string{"up": {"disk", "safe"}, "down": {"safe", "disk"}}[scene.owner]
	r := newCutRun(t, disks[0], disks[1])
	d := r.disk("disk")
	r.up.bin, r.down.bin = crashBinary(t), crashBinary(t)
	r.owner = map[string]*node{"up": r.up, "down": r.down}[scene.owner]
	r.trap = fmt.Sprintf("BUCKET_RELAY_CRASH=%s:%d", point, nth)
	if scene.build != nil {
		scene.build(r)
	}
	r.begin()
	for i := 0; r.owner.running(); i++ {
		if i == maxWaves {
			t.Fatalf("%s was not crossed %d times in %d waves", point, nth, maxWaves)
		}
		scene.wave(r)
		r.awaitIdleOrDead()
	}
	d.cut()
	if !r.owner.killedBySIGKILL() || !strings.Contains(r.owner.output(), "crash point "+point+" reached") {
		t.Fatalf("the owner did not die of %s: %v\n%s", point, r.owner.state, r.owner.tail())
	}
	d.repower()
	r.checkAcknowledged("at rest")
	r.trap = ""
	r.owner.restart()
	r.owner.awaitReady()
	if scene.finish != nil {
		scene.finish(r)
	}
	r.hand(3, -1)
	r.awaitAll()
	r.checkOnce()
}

// awaitIdleOrDead waits until nothing is left to do, or the owner is dead.
func (r *cutRun) awaitIdleOrDead() {
	r.t.Helper()
	waitFor(r.t, patienceLimit, "wave over", func() (bool, string) {
		left := append(r.out.claimed(), r.out.waiting()...)
		return !r.owner.running() || len(left) == 0, fmt.Sprintf("left %q", left)
	})
}

// secondIsDown binds half of the files to a collector that is not there.
func secondIsDown(r *cutRun) { r.cluster("c", "mode: one").add("nobody", freePort(r.t)) }

// rewrite has files change after they were offered to a collector that was not
// there.
func rewrite(r *cutRun) {
	r.awaitIdleOrDead()
	if !r.owner.running() {
		return
	}
	r.down.kill()
	r.hand(7, -1)
	waitFor(r.t, patienceLimit, "files claimed and offered", func() (bool, string) {
		claimed, state := r.out.claimed(), r.up.targetState("in")
		return !r.owner.running() || len(claimed) == 7 && strings.HasPrefix(state, "backoff"),
			fmt.Sprintf("%d claimed, collector %s", len(claimed), state)
	})
	r.out.touchClaims()
	r.down.restart()
	r.down.awaitReady()
}

func withMarkers(r *cutRun) {
	r.out.options = append(r.out.options, "ready: done-file")
	r.marked = true
}

func withArchive(r *cutRun) {
	r.out.options = append(r.out.options, fmt.Sprintf("after: { archive: %q }", r.mkdir("disk/archive")))
}

// withLimit has the collector refuse files of more than 1000 bytes for good.
func withLimit(r *cutRun) { r.in.options = append(r.in.options, limited) }

func handTooLarge(r *cutRun) {
	r.hand(2, tooLarge)
	r.hand(3, 400)
}

// retryTooLarge brings files to dead/ and retries them one by one.
func retryTooLarge(r *cutRun) {
	r.hand(2, tooLarge)
	waitFor(r.t, patienceLimit, "dead files", func() (bool, string) {
		dead := r.deadIDs()
		return len(dead) >= 2 || !r.owner.running(), fmt.Sprintf("%q", dead)
	})
	for _, id := range r.deadIDs() {
		r.retryOne(id)
	}
}

// retryDead starts the collector without its limit and retries what is dead.
func retryDead(r *cutRun) {
	r.down.stop()
	r.in.options = nil
	r.down.startReady()
	waitFor(r.t, patienceLimit, "no dead files", func() (bool, string) {
		dead := r.deadIDs()
		for _, id := range dead {
			r.retryOne(id)
		}
		return len(dead) == 0 && len(r.out.claimed()) == 0 && len(r.out.dead()) == 0, fmt.Sprintf("%q", dead)
	})
}

func (r *cutRun) deadIDs() (ids []string) {
	_, body := httpGet(r.t.Context(), r.up.admin+"/v1/dead")
	var list struct{ Dead []struct{ ID string } }
	if json.Unmarshal([]byte(body), &list) != nil {
		return nil // the owner is dead
	}
	for _, d := range list.Dead {
		ids = append(ids, d.ID)
	}
	return ids
}

// retryOne asks for one dead file to be tried again. The node may die of it.
func (r *cutRun) retryOne(id string) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.up.admin+"/v1/dead/"+id+"/retry", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if resp, err := harnessClient.Do(req); err == nil {
		_ = resp.Body.Close()
	}
}

// withCutter puts a wire that can break between the two nodes.
func withCutter(r *cutRun) {
	r.wire = newCutter(r.t, r.in.port)
	r.in.listed.port = r.wire.port
}

func cutHalfWay(r *cutRun) {
	r.wire.cutAfter(2 << 20)
	r.hand(1, 3<<20)
}

// dieTwice lets the collector die in the middle of a group, and then arms it for
// the recovery of that group.
func dieTwice(r *cutRun) {
	r.down.stop()
	r.hand(60, -1)
	r.down.restart("BUCKET_RELAY_CRASH=S6.published-some:1")
	if r.down.awaitEnd(patienceLimit).Exited() {
		r.t.Fatalf("the collector did not die in a group\n%s", r.down.tail())
	}
	r.down.restart(r.trap)
	waitFor(r.t, patienceLimit, "collector ready or dead", func() (bool, string) {
		status, body := httpGet(r.t.Context(), r.down.admin+"/readyz")
		return !r.down.running() || status == http.StatusOK, fmt.Sprintf("%d %s", status, body)
	})
}
