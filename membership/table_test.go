package membership

import (
	"testing"
	"time"
)

func started(i int, generation uint64) Member {
	m := Member{Meta: testMeta(i), Address: address(i)}
	m.Generation = generation
	return m
}

// The words of an older start come late, in any order; they change nothing.
func TestAnOlderStartDoesNotTouchTheNewer(t *testing.T) {
	now := time.Now()
	tab := newTable(started(1, 1))
	tab.comes(started(2, 1), now)
	tab.comes(started(2, 2), now.Add(time.Second))
	if !tab.newerStart(started(2, 1).Meta) || tab.newerStart(started(2, 2).Meta) || tab.newerStart(started(2, 3).Meta) {
		t.Error("which start is newer is judged wrong")
	}
	old := started(2, 1).gossipName()
	if _, gone := tab.goes(old, now); gone {
		t.Error("the older start took the newer with it")
	}
	if tab.suspect(old) || tab.answers(old, true) || tab.answersByTCP(old) || tab.drop(old) {
		t.Error("the older start changed the newer")
	}
	if e := tab.others[nodeID(2)]; e == nil || e.Generation != 2 || e.State != StateAlive {
		t.Errorf("%+v", e)
	}
	for _, name := range []string{"", ".", nodeID(2), nodeID(2) + ".x", "rubbish"} {
		if tab.find(name) != nil {
			t.Errorf("%q was found", name)
		}
	}
}

func TestSinceMovesWhenANodeComesOrGoes(t *testing.T) {
	t0 := time.Now()
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	tab := newTable(started(1, 1))
	since := func() time.Time { return tab.others[nodeID(2)].Since }
	name := started(2, 1).gossipName()
	if came := tab.comes(started(2, 1), at(1)); !came || !since().Equal(at(1)) {
		t.Error("came")
	}
	if came := tab.comes(started(2, 1), at(2)); came || !since().Equal(at(1)) {
		t.Error("said something new")
	}
	if tab.suspect(name); !since().Equal(at(1)) {
		t.Error("is suspected")
	}
	if tab.goes(name, at(3)); !since().Equal(at(3)) {
		t.Error("failed")
	}
	if tab.goes(name, at(4)); !since().Equal(at(3)) {
		t.Error("is still gone")
	}
	if came := tab.comes(started(2, 1), at(5)); !came || !since().Equal(at(5)) {
		t.Error("is back")
	}
	if came := tab.comes(started(2, 2), at(6)); !came || !since().Equal(at(6)) {
		t.Error("was started again")
	}
}

func TestWhereToDialAMember(t *testing.T) {
	m := Member{Meta: Meta{HTTPPort: 1, RaftPort: 2}, Address: "[fd00::1]:10090"}
	if m.HTTP() != "[fd00::1]:1" || m.Raft() != "[fd00::1]:2" {
		t.Errorf("%s, %s", m.HTTP(), m.Raft())
	}
	m.Advertise = "n1.example.org"
	if m.HTTP() != "n1.example.org:1" || m.Raft() != "n1.example.org:2" {
		t.Errorf("%s, %s", m.HTTP(), m.Raft())
	}
	m.RaftPort = 0
	if m.Raft() != "" || (Member{}).HTTP() != "" {
		t.Error("an address without a port")
	}
}

func TestTheElderOfTwo(t *testing.T) {
	plain, state := started(2, 5), started(9, 1)
	state.HasState = true
	often := started(3, 7)
	for _, c := range []struct{ a, b Member }{{state, plain}, {often, plain}, {state, often}, {started(1, 1), started(2, 1)}} {
		if !elder(c.a, c.b) || elder(c.b, c.a) {
			t.Errorf("%s of start %d is to be the elder of %s", c.a.NodeID, c.a.Generation, c.b.NodeID)
		}
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	rs := make(refusals)
	now := time.Now()
	for i := range 10 * maxRefusals {
		rs.note(Refusal{NodeID: nodeID(i), Reason: "x", At: now})
	}
	if len(rs) != maxRefusals {
		t.Errorf("%d are kept", len(rs))
	}
	if rs.note(Refusal{NodeID: nodeID(0), Reason: "x", At: now.Add(time.Second)}) {
		t.Error("a repetition is news")
	}
	if rs.expire(now.Add(keepRefusal + time.Millisecond)); len(rs) != 1 {
		t.Errorf("%d are left, want the one that was repeated", len(rs))
	}
}
