package membership

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
)

// callbacks is what the library calls. Most of it is called with the library's
// lock held, so each method takes what it needs under the pool's lock and
// returns: no I/O, no waiting, nothing of the library.
type callbacks struct{ *Pool }

// NodeMeta implements memberlist.Delegate.
func (c callbacks) NodeMeta(int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meta // replaced, never written to
}

// The rest of memberlist.Delegate: gossip carries nothing of ours but metadata.

func (callbacks) NotifyMsg([]byte)                {}
func (callbacks) GetBroadcasts(int, int) [][]byte { return nil }
func (callbacks) LocalState(bool) []byte          { return nil }
func (callbacks) MergeRemoteState([]byte, bool)   {}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps the node out.
// It is asked at every word of a node, also of one that is known.
func (c callbacks) NotifyAlive(n *memberlist.Node) error {
	if n.Name == c.gossip {
		return nil
	}
	m, err := read(n)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		err = c.judgeLocked(m)
	}
	changed := false
	switch {
	case err == nil:
		changed = c.table.answers(n.Name, false)
	case errors.Is(err, errOtherNetwork):
		changed = c.table.drop(n.Name) // it was let in while it had no network
		changed = c.refuseLocked(m, err) || changed
	default:
		changed = c.refuseLocked(m, err)
	}
	if changed {
		c.changedLocked()
	}
	return err
}

// judgeLocked says why a node with readable metadata is kept out.
func (p *Pool) judgeLocked(m Member) error {
	self := p.table.self
	switch {
	case otherNetwork(self.NetworkID, m.NetworkID):
		return p.otherNetworkLocked(m.Meta)
	case m.NodeID == self.NodeID && m.Generation > self.Generation:
		return fmt.Errorf("%w: start %d of it is at %s, this is start %d: this one is a copy or a leftover, stop it",
			errTwice, m.Generation, m.Address, self.Generation)
	case p.table.newerStart(m.Meta):
		return errNewerStart
	}
	return nil
}

func (p *Pool) otherNetworkLocked(m Meta) error {
	return fmt.Errorf("%w: %s, this node to %s", errOtherNetwork, m.NetworkID, p.table.self.NetworkID)
}

// NotifyMerge implements memberlist.MergeDelegate: an error ends a join, at each
// side by its own judgement. All that one side has comes in one list. It is
// refused as a whole when it is another network's; a node of another network
// that strayed into our own is left to NotifyAlive.
func (c callbacks) NotifyMerge(peers []*memberlist.Node) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.table.self.NetworkID
	var foreign []Member
	for _, n := range peers {
		m, err := read(n)
		if err != nil || n.State == memberlist.StateDead || n.State == memberlist.StateLeft {
			continue
		}
		if own != "" && m.NetworkID == own {
			return nil
		}
		if otherNetwork(own, m.NetworkID) {
			foreign = append(foreign, m)
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	err := c.otherNetworkLocked(foreign[0].Meta)
	noted := false
	for _, m := range foreign {
		noted = c.refuseLocked(m, c.otherNetworkLocked(m.Meta)) || noted
	}
	if noted {
		c.changedLocked()
	}
	return err
}

// NotifyConflict implements memberlist.ConflictDelegate: one name in gossip at
// two addresses. That is one data directory, copied.
func (c callbacks) NotifyConflict(existing, other *memberlist.Node) {
	m, _ := read(other)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuseLocked(m, fmt.Errorf("%w, at %s and at %s: a copy of a data directory is not a new node, stop one and remove its directory",
		errTwice, existing.Address(), other.Address())) {
		c.changedLocked()
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (c callbacks) NotifyJoin(n *memberlist.Node) { c.comes(n) }

// NotifyUpdate implements memberlist.EventDelegate.
func (c callbacks) NotifyUpdate(n *memberlist.Node) { c.comes(n) }

func (p *Pool) comes(n *memberlist.Node) {
	m, err := read(n)
	if err != nil || n.Name == p.gossip {
		return // NotifyAlive has refused it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.judgeLocked(m) != nil {
		return
	}
	if p.table.comes(m, time.Now()) {
		p.bridge.log(slog.LevelInfo, "member is alive", memberAttrs(m)...)
		p.alone = ""
	}
	p.changedLocked()
}

// NotifyLeave implements memberlist.EventDelegate. The library does not say
// whether a node failed or left; what it said before does.
func (c callbacks) NotifyLeave(n *memberlist.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.Name == c.gossip {
		c.table.self.State, c.table.self.Since = StateLeft, time.Now()
		c.changedLocked()
		return
	}
	m, gone := c.table.goes(n.Name, time.Now())
	if !gone {
		return
	}
	level, msg := slog.LevelWarn, "member failed"
	if m.State == StateLeft {
		level, msg = slog.LevelInfo, "member left"
	}
	c.bridge.log(level, msg, memberAttrs(m)...)
	c.changedLocked()
}

// AckPayload implements memberlist.PingDelegate.
func (callbacks) AckPayload() []byte { return nil }

// NotifyPingComplete implements memberlist.PingDelegate: n answered this node's
// probe, by UDP.
func (c callbacks) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.answers(n.Name, true) {
		c.changedLocked()
	}
}

// heard learns from the library's log what its interface keeps to itself: that a
// member is suspected (Node.State is never set), and that only TCP gets through.
// Should the words change, a suspect is shown as alive for the second until it
// fails; a test would tell.
func (p *Pool) heard(text string) {
	note := func(gossip string, change func(string) bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if change(gossip) {
			p.changedLocked()
		}
	}
	if gossip, ok := between(text, "Suspect ", " has failed, no acks received"); ok {
		note(gossip, p.table.suspect)
	}
	if gossip, ok := between(text, "Was able to connect to ", " over TCP but UDP probes failed, network may be misconfigured"); ok {
		note(gossip, p.table.answersByTCP)
	}
}

func between(text, before, after string) (string, bool) {
	text, ok := strings.CutPrefix(text, before)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(text, after)
}

// refuseLocked notes that a node is kept out and why, and reports whether that
// is news. An older start of a node that is there is no news to anyone.
func (p *Pool) refuseLocked(m Member, reason error) bool {
	if errors.Is(reason, errNewerStart) {
		return false
	}
	r := Refusal{
		NodeID: m.NodeID, Name: m.Name, Address: m.Address, At: time.Now(),
		Reason: reason.Error(), Fatal: errors.Is(reason, errTwice) && m.NodeID == p.table.self.NodeID,
	}
	if !p.refused.note(r) {
		return false
	}
	p.bridge.log(slog.LevelWarn, "node refused", append(memberAttrs(m), slog.String("reason", r.Reason))...)
	return true
}

// read takes a member from what the library tells of a node. On an error the
// member has what is known all the same: the address, and the id that its name
// in gossip claims.
func read(n *memberlist.Node) (Member, error) {
	m := Member{Address: n.Address()}
	meta, err := decodeMeta(n.Meta)
	if err == nil && meta.gossipName() != n.Name {
		err = errGossipName
	}
	if err != nil {
		m.NodeID = nodeIDOf(n.Name)
		return m, err
	}
	m.Meta = meta
	return m, nil
}

func memberAttrs(m Member) []slog.Attr {
	return []slog.Attr{
		slog.String("node_id", m.NodeID), slog.String("name", m.Name), slog.String("address", m.Address),
		slog.Uint64("generation", m.Generation), slog.String("intent", string(m.Intent)),
	}
}
