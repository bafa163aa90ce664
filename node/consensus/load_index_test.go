package consensus

import (
	"bytes"
	"io"
	"testing"
)

// Whoever waits for a change of the table waits for a higher index.
func TestTheIndexOfTheTableNeverGoesBack(t *testing.T) {
	n := newNodes(t, nil)
	leader := n.mustForm("n1")
	n.mustName(leader)
	mustPropose(t, leader, "saved")
	var saved bytes.Buffer
	if err := leader.Save(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	mustPropose(t, leader, "later")
	before := leader.FSM().View().Table.Index
	if err := leader.Load(t.Context(), &saved, false); err != nil {
		t.Fatal(err)
	}
	loaded, last := leader.FSM().View().Table.Index, leader.Status().LastIndex
	if loaded <= before || loaded > last {
		t.Errorf("loaded at index %d; it was at %d before, and the log goes up to %d", loaded, before, last)
	}
	mustPropose(t, leader, "after")
	if after := leader.FSM().View().Table.Index; after <= loaded {
		t.Errorf("a change of the table of index %d has index %d", loaded, after)
	}
}

// slowly is a reader that does something before it ends.
type slowly struct {
	io.Reader
	last func()
}

func (s slowly) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil {
		s.last()
	}
	return n, err
}

func TestLoadedIndexIsBeyondWhatCameWhileTheSnapshotArrived(t *testing.T) {
	n := newNodes(t, nil)
	leader := n.mustForm("n1")
	n.mustName(leader)
	var saved bytes.Buffer
	if err := leader.Save(t.Context(), &saved); err != nil {
		t.Fatal(err)
	}
	var last uint64
	arrives := slowly{&saved, func() {
		mustPropose(t, leader, "meanwhile")
		last = leader.Status().LastIndex
	}}
	if err := leader.Load(t.Context(), arrives, false); err != nil {
		t.Fatal(err)
	}
	if loaded := leader.FSM().View().Table.Index; loaded <= last+loadGap {
		t.Errorf("loaded at index %d, and the log went up to %d when all had arrived", loaded, last)
	}
}
