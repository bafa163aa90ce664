package consensus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// model is a network in which actions are done at once and at random moments
// nodes come, die, return, leave, stop answering raft or are wiped.
type model struct {
	s      situation
	memory *memory
	deaf   map[string]bool // alive, but raft gets no answer
	count  int
}

func newModel(voters int) *model {
	m := &model{memory: newMemory(), deaf: make(map[string]bool)}
	m.s = situation{now: time.Unix(1_000_000, 0), timing: testTiming, networkID: "net"}
	for range voters {
		id := m.join("")
		i := m.index(id)
		m.s.members[i].Since = m.s.now.Add(-time.Hour)
		m.s.servers = append(m.s.servers, Server{ID: id, Address: m.s.members[i].Raft, Voter: true})
	}
	m.s.self = m.s.members[0].ID
	return m
}

func (m *model) join(name string) string {
	m.count++
	id := fmt.Sprintf("%03d", m.count)
	if name == "" {
		name = "n" + id
	}
	m.s.members = append(m.s.members, Member{
		ID: id, Name: name, Raft: name + ":1", HTTP: name + ":2", Alive: true, Since: m.s.now,
	})
	return id
}

func (m *model) index(id string) int {
	return slices.IndexFunc(m.s.members, func(o Member) bool { return o.ID == id })
}

// look brings what is derived up to date.
func (m *model) look() *picture {
	m.s.replication = make(map[string]replication)
	for _, server := range m.s.servers {
		r := replication{contact: 0}
		if i := m.index(server.ID); i < 0 || !m.s.members[i].Alive || m.deaf[server.ID] {
			r.contact = time.Hour
		}
		m.s.replication[server.ID] = r
	}
	m.memory.look(&m.s, nil)
	return newPicture(m.s)
}

// quorum reports whether the leader can commit anything.
func (m *model) quorum() bool {
	p := m.look()
	return p.safe(p.voters)
}

// do changes the model as raft and the FSM would, and fails for what they refuse.
func (m *model) do(t *rapid.T, a action) {
	at := slices.IndexFunc(m.s.servers, func(s Server) bool { return s.ID == a.server.ID })
	switch a.step {
	case stepAdd:
		if at >= 0 {
			t.Fatalf("%v adds a server that is there", a)
		}
		m.s.servers = append(m.s.servers, a.server)
	case stepPromote, stepDemote, stepAddress:
		m.s.servers[at] = a.server
	case stepRemove:
		m.s.servers = slices.Delete(m.s.servers, at, at+1)
	case stepTransfer:
		m.s.self = a.server.ID
		m.memory = newMemory()
	case stepPutNode:
		m.s.nodes = slices.DeleteFunc(m.s.nodes, func(n fsm.Node) bool { return n.ID == a.node.ID })
		m.s.nodes = append(m.s.nodes, a.node)
	case stepDeleteNode:
		m.s.nodes = slices.DeleteFunc(m.s.nodes, func(n fsm.Node) bool { return n.ID == a.node.ID })
	default:
		t.Fatalf("%v", a)
	}
	addresses := make(map[string]bool)
	for _, server := range m.s.servers {
		if addresses[server.Address] || server.Address == "" {
			t.Fatalf("%v leaves two servers at %q", a, server.Address)
		}
		addresses[server.Address] = true
	}
}

// settle acts until there is nothing left to do now, checking every step.
func (m *model) settle(t *rapid.T) {
	for round := 0; ; round++ {
		p := m.look()
		actions := decide(m.s)
		if len(actions) == 0 {
			return
		}
		if round > 20*len(m.s.members)+50 {
			t.Fatalf("no end of it: %v", steps(actions))
		}
		a := actions[rapid.IntRange(0, len(actions)-1).Draw(t, "one of the actions")]
		if round > 5*len(m.s.members) {
			a = actions[0]
		}
		m.do(t, a)
		m.check(t, p, a)
	}
}

// check holds one step against what must always be.
func (m *model) check(t *rapid.T, before *picture, a action) {
	after := m.look()
	if before.safe(before.voters) && !after.safe(after.voters) {
		t.Fatalf("%v costs the quorum: %v", a, m.s.servers)
	}
	if d := len(after.voters) - len(before.voters); d < -1 || d > 1 {
		t.Fatalf("%v changes %d voters at once", a, d)
	}
	if v, in := after.server[after.self]; !in || !v.Voter {
		t.Fatalf("%v takes the leader's own vote", a)
	}
	if n := len(after.staying()); n > testTiming.MaxVoters+1 && n > len(before.staying()) {
		t.Fatalf("%v makes %d voters that stay", a, n)
	}
	if a.step == stepDemote && before.healthy(a.server.ID) && len(before.voters)%2 == 1 && len(before.voters) <= testTiming.MaxVoters {
		t.Fatalf("%v takes the vote of a healthy server of %d", a, len(before.voters))
	}
}

// happen does something at random.
func (m *model) happen(t *rapid.T) {
	m.s.now = m.s.now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 5, 11, 31, 3600, 73 * 3600}).Draw(t, "seconds")) * time.Second)
	i := rapid.IntRange(0, len(m.s.members)-1).Draw(t, "member")
	member := &m.s.members[i]
	leader := member.ID == m.s.self
	switch rapid.SampledFrom([]string{"join", "join", "die", "die", "return", "return", "leave", "deaf", "hear", "wipe", "move", "forget"}).Draw(t, "event") {
	case "join":
		if len(m.s.members) < 12 {
			m.join("")
		}
	case "die":
		if !leader {
			m.kill(member.ID)
		}
	case "return":
		if !member.Alive && !member.Leaving {
			member.Alive = true
			member.Alive = !m.taken(*member)
			member.Since = m.s.now
		}
	case "leave":
		member.Leaving = true
	case "deaf":
		if !leader {
			m.deaf[member.ID] = true
			if !m.quorum() {
				m.deaf[member.ID] = false
			}
		}
	case "hear":
		m.deaf[member.ID] = false
	case "wipe":
		if !leader && member.Alive && !member.Leaving && m.kill(member.ID) {
			name, at := member.Name, member.Raft // before join moves the slice
			id := m.join(name)
			m.s.members[m.index(id)].Raft = at
		}
	case "move":
		other := &m.s.members[rapid.IntRange(0, len(m.s.members)-1).Draw(t, "other")]
		member.Raft, other.Raft = other.Raft, member.Raft
		if m.taken(*member) || m.taken(*other) {
			member.Raft, other.Raft = other.Raft, member.Raft
		}
	case "forget":
		if !leader && !member.Alive {
			m.s.members = slices.Delete(m.s.members, i, i+1)
		}
	}
}

// kill spares the quorum: without one there is no leader, and nothing to decide.
func (m *model) kill(id string) bool {
	member := &m.s.members[m.index(id)]
	if !member.Alive {
		return false
	}
	was := member.Since
	member.Alive, member.Since = false, m.s.now
	if m.quorum() {
		return true
	}
	member.Alive, member.Since = true, was
	m.look()
	return false
}

// taken reports whether another living node has a living member's name or address.
func (m *model) taken(of Member) bool {
	return of.Alive && slices.ContainsFunc(m.s.members, func(o Member) bool {
		return o.ID != of.ID && o.Alive && (o.Name == of.Name || o.Raft == of.Raft)
	})
}

// TestModel lets things happen and checks after every step that the quorum is
// kept, and that a network left alone comes to rest in good order.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(rapid.SampledFrom([]int{1, 3, 5}).Draw(t, "voters"))
		m.settle(t)
		for range rapid.IntRange(0, 30).Draw(t, "events") {
			m.happen(t)
			m.settle(t)
		}
		m.heal(t)
		m.checkOrder(t)
	})
}

// heal makes everybody hear and gives them time; the dead stay dead.
func (m *model) heal(t *rapid.T) {
	m.deaf = make(map[string]bool)
	for range 12 {
		m.s.now = m.s.now.Add(10 * time.Second)
		m.settle(t)
	}
	m.s.now = m.s.now.Add(80 * time.Hour)
	for range 12 {
		m.s.now = m.s.now.Add(10 * time.Second)
		m.settle(t)
	}
}

// checkOrder says what a network at rest looks like.
func (m *model) checkOrder(t *rapid.T) {
	p := m.look()
	eligible := 0
	for _, member := range m.s.members {
		if member.Alive && !member.Leaving {
			eligible++
		}
		if _, in := p.server[member.ID]; in && !member.Alive && member.ID != p.self {
			t.Fatalf("a dead server is left: %v", member)
		}
	}
	if p.member[p.self].Leaving {
		return // nobody could take over
	}
	want := min(eligible, testTiming.MaxVoters)
	if len(p.servers) != want {
		t.Fatalf("%d servers for %d members: %v\n%+v\n%v", len(p.servers), eligible, p.servers, m.s.members, p.reasons())
	}
	if want%2 == 0 {
		want--
	}
	if len(p.voters) != want {
		t.Fatalf("%d voters of %d members: %v", len(p.voters), eligible, p.servers)
	}
	if len(p.nodes) != eligible {
		t.Fatalf("%d nodes in the catalogue for %d members", len(p.nodes), eligible)
	}
	for _, server := range p.servers {
		if server.Address != p.member[server.ID].Raft {
			t.Fatalf("%s is at %s and not at %s", server.ID, server.Address, p.member[server.ID].Raft)
		}
	}
}
