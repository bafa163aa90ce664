package node

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/spool"
)

// routes is what decides where a file goes. It is replaced as a whole.
type routes struct {
	rules  Rules
	filter *regexp.Regexp // nil lets every name pass
	table  fsm.Table
	gen    uint64 // grows with every replacement
}

// modeOf is the mode that a cluster has: the empty one means all.
func modeOf(m fsm.Mode) fsm.Mode { return cmp.Or(m, fsm.ModeAll) }

// isAll reports whether every collector of a cluster gets a copy. What this
// program does not know yet counts as that, since it loses nothing.
func isAll(m fsm.Mode) bool { return m != fsm.ModeOne && m != fsm.ModeKey }

// facts of a file, as far as routing needs them.
type facts struct {
	name  string
	size  int64
	claim claimKey        // zero for a file that is not claimed yet
	bound fsm.CollectorID // the one collector that a claim is bound to; empty: none
}

func factsOf(it spool.Item) facts {
	return facts{name: it.Name, size: it.Size, claim: keyOf(it), bound: fsm.CollectorID(it.Bound)}
}

// plan is where a file goes: the clusters by the rules and the debts that
// follow from their modes and the table.
type plan struct {
	clusters []fsm.ClusterName
	debts    []*debt
	bind     fsm.CollectorID // the one collector that the claim is bound to; empty: none
	gen      uint64
}

// stream is the name under which claims of this plan are counted.
func (p plan) stream() string { return streamOf(p.clusters) }

func streamOf(clusters []fsm.ClusterName) string {
	names := make([]string, len(clusters))
	for i, c := range clusters {
		names[i] = string(c)
	}
	return strings.Join(names, ",")
}

// reasonFilter is why a file that no rule was asked about stays.
const reasonFilter = "name does not pass the filter"

// planLocked applies the rules. A plan without debts comes with the reason;
// room tells that the reason is only that queues are full.
func (u *uploader) planLocked(f facts) (p plan, reason string, room bool) {
	if u.routes.filter != nil && !u.routes.filter.MatchString(f.name) {
		return plan{}, reasonFilter, false
	}
	d := u.routes.rules.Route(FileFacts{Name: f.name, Size: f.size, Outbox: u.cfg.Name})
	if len(d.Clusters) == 0 {
		return plan{}, d.Reason, false
	}
	p = plan{clusters: d.Clusters, gen: u.routes.gen}
	anyRoom := false
	sticky := len(d.Clusters) > 1
	for _, name := range d.Clusters {
		cl, ok := u.routes.table.Clusters[name]
		if !ok {
			return plan{}, fmt.Sprintf("cluster %s is unknown", name), false
		}
		debts := u.owedLocked(cl, f, nil, sticky)
		if !sticky {
			u.probeLocked(cl, f, debts)
		}
		if len(debts) == 0 && len(cl.Collectors) > 0 {
			return plan{}, fmt.Sprintf("every collector of cluster %s drains", name), false
		}
		if len(debts) == 0 {
			return plan{}, fmt.Sprintf("cluster %s has no members", name), false
		}
		for _, d := range debts {
			anyRoom = anyRoom || !d.to.full()
		}
		p.debts = append(p.debts, debts...)
	}
	if len(p.debts) == 1 && !isAll(p.debts[0].mode) {
		p.bind = p.debts[0].to.id
	}
	if !anyRoom {
		return p, "waiting for " + names(p.debts), true
	}
	return p, "", false
}

// owedLocked lists what a file of a cluster is owed to, leaving out the tried
// collectors of a one or key cluster, and those that drain, save what they were
// owed before. The claim of a file for several clusters can't be bound to the one
// collector that a one cluster chose for it, so there (sticky) the choice follows
// from the name alone and is the same after a restart.
func (u *uploader) owedLocked(cl fsm.Cluster, f facts, tried []fsm.CollectorID, sticky bool) []*debt {
	var ts []*target
	for _, c := range cl.Collectors {
		if t := u.targets[c.ID]; t != nil && !slices.Contains(tried, c.ID) &&
			(!t.drain.on || u.owedBeforeLocked(t, f, isAll(cl.Mode) || sticky)) {
			ts = append(ts, t)
		}
	}
	if len(ts) == 0 {
		return nil
	}
	switch {
	case cl.Mode == fsm.ModeOne && sticky:
		ts = []*target{preferred(ts, f.name, false)}
	case cl.Mode == fsm.ModeOne:
		ts = []*target{u.leastBusyLocked(ts)}
	case cl.Mode == fsm.ModeKey:
		ts = []*target{preferred(ts, keyOfName(cl, f), !sticky)}
	}
	debts := make([]*debt, len(ts))
	for i, t := range ts {
		debts[i] = &debt{cluster: cl.Name, mode: modeOf(cl.Mode), to: t}
	}
	return debts
}

// probeLocked gives one new file of a one or key cluster to a collector that is
// ailing and due for another try, in the place of the one that was chosen.
// Nothing is queued for such a collector, since the others got it all, so without
// this nobody would ever notice that it is back.
func (u *uploader) probeLocked(cl fsm.Cluster, f facts, debts []*debt) {
	if len(debts) != 1 || isAll(cl.Mode) {
		return
	}
	now := time.Now()
	var due []*target
	for _, c := range cl.Collectors {
		if t := u.targets[c.ID]; t != nil && !t.drain.on && t != debts[0].to {
			due = append(due, t)
		}
	}
	if cl.Mode == fsm.ModeKey && len(due) > 0 { // only the one whose key it is
		due = []*target{preferred(append(due, debts[0].to), keyOfName(cl, f), false)}
	}
	for _, t := range due {
		if t.dueForProbe(f.name, now) {
			t.chooseProbe(f.name, now)
			debts[0].to = t
			return
		}
	}
}

// leastBusyLocked chooses for a one cluster: a collector that works before one
// that does not, then the shorter queue, then each in turn.
func (u *uploader) leastBusyLocked(ts []*target) *target {
	u.turn++
	start := u.turn % len(ts)
	best := ts[start]
	for i := 1; i < len(ts); i++ {
		t := ts[(start+i)%len(ts)]
		if t.ailing() != best.ailing() {
			if !t.ailing() {
				best = t
			}
			continue
		}
		if t.load() < best.load() {
			best = t
		}
	}
	return best
}

// keyOfName is the part of the name that keeps files together: the first group
// of the cluster's key expression, the whole match without a group, the name
// without a match.
func keyOfName(cl fsm.Cluster, f facts) string {
	if cl.Key == nil {
		return f.name
	}
	m := cl.Key.FindStringSubmatch(f.name)
	switch {
	case m == nil:
		return f.name
	case len(m) > 1:
		return m[1]
	}
	return m[0]
}

// preferred is rendezvous hashing (Thaler and Ravishankar, 1998): the
// collector with the highest hash of key and id; with alive, among those that
// work if any does. A key moves only when its collector goes.
func preferred(ts []*target, key string, alive bool) *target {
	return slices.MaxFunc(ts, func(a, b *target) int {
		if alive && a.ailing() != b.ailing() {
			if a.ailing() {
				return -1
			}
			return 1
		}
		return cmp.Compare(score(a.id, key), score(b.id, key))
	})
}

func score(id fsm.CollectorID, key string) uint64 {
	sum := sha256.Sum256([]byte(string(id) + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:8])
}

func names(debts []*debt) string {
	out := make([]string, len(debts))
	for i, d := range debts {
		out[i] = string(d.to.id)
	}
	return strings.Join(out, ", ")
}
