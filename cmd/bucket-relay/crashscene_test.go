package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
)

// plain relays small files from one outbox to one inbox.
var plain = scenario{
	build: func(r *crashRun) { r.pair() },
	wave: func(r *crashRun) {
		r.producer.drop(12) // they travel in one batch
		r.awaitDelivered()
	},
}

// pair lays out one outbox, one inbox and a node for each. The options are
// those of the outbox.
func (r *crashRun) pair(options ...string) {
	r.in = r.inbox("c1", "json")
	r.out = r.outbox("out", "json", options...)
	r.up, r.down = r.node("up", r.out), r.node("down", r.in)
}

// halves relays files that do not come in one piece.
var halves = scenario{
	build: func(r *crashRun) { r.pair() },
	wave: func(r *crashRun) {
		r.producer.dropOf(2, 3<<20)
		r.awaitDelivered()
	},
}

// doneFile relays files whose producer says with a marker that they are
// finished. A marker that is lost leaves its file in the outbox for ever, and
// one that outlives its file stays there itself.
var doneFile = scenario{
	build: func(r *crashRun) { r.pair("ready: done-file") },
	wave: func(r *crashRun) {
		for range 5 {
			name, body := r.samples.next()
			r.producer.rename(name, body)
			r.writeFile(filepath.Join(r.out.dir, name+".done"), "")
		}
		r.awaitDelivered()
	},
}

// archiving keeps what was delivered. Every file must be kept, and only once.
var archiving = scenario{
	build: func(r *crashRun) {
		r.pair(fmt.Sprintf("after: { archive: %q }", r.mkdir("archive")))
	},
	wave: plain.wave,
	finish: func(r *crashRun) {
		r.awaitDelivered()
		kept := listFiles(r.t, filepath.Join(r.dir, "archive"))
		if len(kept) != r.samples.made() {
			r.t.Errorf("%d files in the archive, want %d", len(kept), r.samples.made())
		}
		for _, name := range kept {
			body, _, err := readWhole(filepath.Join(r.dir, "archive", name))
			if err == nil {
				_, err = identifySample(name, body)
			}
			if err != nil {
				r.t.Errorf("archived %q: %v", name, err)
			}
		}
	},
}

// rebinding gives the files of a one cluster to its second collector when the
// first goes away, and to both again when it is back. Nothing may be on its way to
// the first when it is killed: what it had published without an answer would go to
// the second after failover_after, marked as a possible duplicate and rightly so.
var rebinding = scenario{
	build: func(r *crashRun) {
		r.cluster("json", "mode: one", "failover_after: 1s")
		r.pair()
		first := r.inbox("c0", "json")
		r.also = append(r.also, first.dir)
		r.node("first", first).startReady()
	},
	wave: func(r *crashRun) {
		r.awaitDelivered()
		if r.died() {
			return
		}
		first := r.nodes[len(r.nodes)-1]
		first.kill()
		r.producer.drop(10)
		r.awaitDelivered()
		first.restart()
		first.awaitReady()
		r.awaitOr("first collector in use again", func() (bool, string) {
			r.producer.drop(1)
			r.awaitDelivered()
			if r.died() {
				return true, ""
			}
			state := r.up.targetState("c0")
			return state == "ok", state
		})
	},
}

// targetState tells how a collector stands in the eyes of the node's outboxes.
func (n *node) targetState(collector string) string {
	status, body := httpGet(n.w.t.Context(), n.admin+"/v1/spools")
	var answer struct {
		Spools []struct {
			Targets []struct{ Collector, State, Reason string }
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return fmt.Sprintf("%d %s", status, body)
	}
	for _, s := range answer.Spools {
		for _, t := range s.Targets {
			if t.Collector == collector {
				return strings.TrimSpace(t.State + " " + t.Reason)
			}
		}
	}
	return "no such target"
}

// rewriting has files change after they were offered to a collector that was
// not there: what is sent in the end goes under another id.
var rewriting = scenario{
	build: func(r *crashRun) { r.pair() },
	wave: func(r *crashRun) {
		r.awaitDelivered()
		if r.died() {
			return
		}
		r.down.kill()
		r.producer.drop(7)
		r.awaitOr("files claimed and offered", func() (bool, string) {
			claimed, state := r.out.claimed(), r.up.targetState("c1")
			return len(claimed) == 7 && strings.HasPrefix(state, "backoff"), fmt.Sprintf("%d claimed, c1 %s", len(claimed), state)
		})
		r.out.touchClaims()
		r.down.restart()
		r.down.awaitReady()
		r.awaitDelivered()
	},
}

// tooLarge is refused for good by a collector with the option limited.
const (
	tooLarge = 2000
	limited  = "max_file_size: 1000"
)

// burying has files that the collector refuses for good. In the end they are
// retried with a collector that takes them.
var burying = scenario{
	build: func(r *crashRun) {
		r.pair()
		r.in.options = []string{limited}
	},
	wave: func(r *crashRun) {
		r.producer.dropOf(3, 400)
		r.producer.dropOf(2, tooLarge)
		r.awaitOr("files delivered or dead", func() (bool, string) {
			waiting, claimed := r.out.waiting(), r.out.claimed()
			return len(waiting)+len(claimed) == 0, fmt.Sprintf("%q waiting, %q claimed", waiting, claimed)
		})
	},
	finish: func(r *crashRun) {
		made := r.samples.made()
		waitFor(r.t, patienceLimit, "two of five files dead, the others published", func() (bool, string) {
			seen, dead := r.reader.seen(), len(r.listDead())
			return seen+dead == made && dead*5 == made*2, fmt.Sprintf("%d published, %d dead of %d", seen, dead, made)
		})
		r.unlimit()
		r.retryAll()
	},
}

// retrying has files that one of three collectors has and the others refused,
// and retries them one at a time, with collectors that take them.
var retrying = scenario{
	build: func(r *crashRun) {
		r.pair()
		for _, id := range []string{"c2", "c3"} {
			in := r.inbox(id, "json", limited)
			r.down.inboxes = append(r.down.inboxes, in)
			r.others = append(r.others, readInbox(r.t, in.dir, takeSome))
		}
	},
	prepare: func(r *crashRun) {
		r.producer.dropOf(8, tooLarge)
		waitFor(r.t, patienceLimit, "8 dead files", func() (bool, string) {
			dead, claimed := r.listDead(), r.out.claimed()
			return len(dead) == 8 && len(claimed) == 0, fmt.Sprintf("%q, claimed %q", dead, claimed)
		})
		r.unlimit()
	},
	wave: func(r *crashRun) {
		dead := r.listDead()
		if len(dead) == 0 {
			return
		}
		r.retry(dead[0])
		r.awaitOr("retried file delivered", func() (bool, string) {
			left, claimed := r.listDead(), r.out.claimed()
			return len(left) < len(dead) && len(claimed) == 0, fmt.Sprintf("dead %q, claimed %q", left, claimed)
		})
	},
	finish: func(r *crashRun) { r.retryAll() },
}

// unlimit starts the collecting node again without limits.
func (r *crashRun) unlimit() {
	r.down.stop()
	for _, in := range r.down.inboxes {
		in.options = nil
	}
	r.down.startReady()
}

// retryAll retries every dead file, until there is none.
func (r *crashRun) retryAll() {
	waitFor(r.t, patienceLimit, "no dead files", func() (bool, string) {
		dead := r.listDead()
		for _, id := range dead {
			r.retry(id)
		}
		return len(dead) == 0, fmt.Sprintf("dead %q", dead)
	})
}

// listDead returns the ids of the dead files.
func (r *crashRun) listDead() (ids []string) {
	status, body := httpGet(r.t.Context(), r.up.admin+"/v1/dead")
	var answer struct {
		Dead []struct{ ID, Code, Reason string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return []string{fmt.Sprintf("%d %s", status, body)}
	}
	for _, d := range answer.Dead {
		if d.Code != "too-large" || d.Reason == "" {
			r.t.Errorf("dead file %s has code %q and reason %q", d.ID, d.Code, d.Reason)
		}
		ids = append(ids, d.ID)
	}
	return ids
}

// retry retries one dead file. There may be no answer: the node may die of it.
func (r *crashRun) retry(id string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.up.admin+"/v1/dead/"+id+"/retry", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := harnessClient.Do(req)
	if err != nil {
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		r.t.Errorf("retry of %s: %s", id, resp.Status)
	}
}

// cutting relays large files over a connection that breaks in the middle.
var cutting = scenario{
	build: func(r *crashRun) {
		r.pair()
		r.cutter = newCutter(r.t, r.in.port)
		r.in.listed.port = r.cutter.port
	},
	wave: func(r *crashRun) {
		r.cutter.cutAfter(2 << 20)
		r.producer.dropOf(1, 3<<20)
		r.awaitDelivered()
	},
}

// recovering lets the collector die in the middle of a group, and then in the
// recovery of that group.
var recovering = scenario{
	build: func(r *crashRun) { r.pair() },
	wave: func(r *crashRun) {
		r.down.stop()
		r.producer.drop(60)
		r.down.restart("BUCKET_RELAY_CRASH=S6.published-some:1")
		if !r.down.awaitEnd(patienceLimit).Exited() {
			r.down.restart(r.trap(r.down)...)
		}
		waitFor(r.t, patienceLimit, "collector ready or dead", func() (bool, string) {
			status, body := httpGet(r.t.Context(), r.down.admin+"/readyz")
			return r.died() || status == http.StatusOK, fmt.Sprintf("%d %s", status, body)
		})
		r.awaitDelivered()
	},
}
