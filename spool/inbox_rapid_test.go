//go:build unix

package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// inboxModel is what an inbox must do, in a few maps.
type inboxModel struct {
	t    *rapid.T
	dir  string
	fd   *faultDisk
	in   *Inbox
	open map[uint64]*Staging // by seq

	written   map[uint64]string  // bytes of the open stagings
	kept      map[uint64]string  // bytes that a resume goes on with
	delivered map[uint64]Receipt // until settled
	files     map[string]string  // what a reader sees
	mark      uint64
	noted     uint64 // a mark that the next group writes
}

func modelText(seq uint64) string {
	return fmt.Sprintf("the text of item %d, which is long enough to be cut", seq)
}
func modelName(seq uint64) string { return fmt.Sprintf("n%d", seq%3) }

func (m *inboxModel) seq() uint64 { return rapid.Uint64Range(1, 12).Draw(m.t, "seq") }

func (m *inboxModel) arrival(seq uint64) Arrival {
	d := Digest(sha256.Sum256([]byte(modelText(seq))))
	return Arrival{Key: testID(seq), Name: modelName(seq), Size: int64(len(modelText(seq))), Digest: &d}
}

func (m *inboxModel) reopen() {
	if m.in != nil {
		if err := m.in.Close(); err != nil {
			m.t.Fatalf("close: %v", err)
		}
		m.mark = max(m.mark, m.noted)
	}
	var err error
	if m.in, err = faultInbox(m.dir, m.fd); err != nil {
		m.t.Fatalf("open: %v", err)
	}
}

// cut ends the process, or the power, with stagings open. A mark that was only
// noted is lost; both senders and we go on from what the ledger says.
func (m *inboxModel) cut(power bool) {
	m.fd.cutPower()
	for _, s := range m.open {
		_ = s.Drop()
	}
	_ = m.in.Close()
	if power {
		m.fd.restore(nil, m.dir)
	} else {
		m.fd.revive()
		for seq, text := range m.written {
			if delete(m.kept, seq); len(text) >= 8 && seq > m.mark {
				m.kept[seq] = text
			}
		}
	}
	if power {
		for seq := range m.open {
			delete(m.kept, seq) // may be there or not: see begin
		}
	}
	m.open, m.written, m.noted, m.in = map[uint64]*Staging{}, map[uint64]string{}, m.mark, nil
	m.reopen()
}

// refusal checks an answer to Begin or Resume and reports whether it was one.
func (m *inboxModel) refusal(seq uint64, err error) bool {
	_, busy := m.open[seq]
	first, known := m.delivered[seq]
	var want string
	switch {
	case busy:
		want = ErrUnderWay.Error()
	case seq <= m.mark:
		want = "settled"
	case known:
		want = "delivered"
	default:
		return false
	}
	got := "nothing"
	if d, ok := errors.AsType[*DeliveredError](err); ok {
		got = "delivered"
		if first.Duplicate = true; d.Receipt != first {
			m.t.Fatalf("item %d: receipt %+v, first was %+v", seq, d.Receipt, first)
		}
	} else if _, ok := errors.AsType[*SettledError](err); ok {
		got = "settled"
	} else if errors.Is(err, ErrUnderWay) {
		got = ErrUnderWay.Error()
	}
	if got != want {
		m.t.Fatalf("item %d: %v (%s), want %s", seq, err, got, want)
	}
	return true
}

func (m *inboxModel) begin(seq uint64) {
	s, err := m.in.Begin(context.Background(), m.arrival(seq))
	if m.refusal(seq, err) {
		return
	}
	if err != nil {
		m.t.Fatalf("begin %d: %v", seq, err)
	}
	delete(m.kept, seq)
	m.open[seq], m.written[seq] = s, ""
}

func (m *inboxModel) resume(seq uint64) {
	offset := int64(len(m.kept[seq]))
	s, err := m.in.Resume(context.Background(), m.arrival(seq), offset)
	if m.refusal(seq, err) {
		return
	}
	if off, ok := errors.AsType[*OffsetError](err); ok && m.kept[seq] == "" {
		// After a power cut more may be there than the model knows.
		if s, err = m.in.Resume(context.Background(), m.arrival(seq), off.Have); err == nil {
			m.kept[seq] = modelText(seq)[:off.Have]
		}
	}
	if err != nil {
		m.t.Fatalf("resume %d at %d: %v", seq, offset, err)
	}
	m.open[seq], m.written[seq] = s, m.kept[seq]
	delete(m.kept, seq)
}

func (m *inboxModel) publish(seq uint64) {
	s, text := m.open[seq], m.written[seq]
	delete(m.open, seq)
	delete(m.written, seq)
	r, err := s.Publish(context.Background())
	if len(text) < len(modelText(seq)) {
		if !errors.Is(err, ErrShort) {
			m.t.Fatalf("publish %d of %d bytes: %v", seq, len(text), err)
		}
		m.keepText(seq, text)
		return
	}
	if err != nil {
		m.t.Fatalf("publish %d: %v", seq, err)
	}
	m.mark = max(m.mark, m.noted)
	for k := range m.kept {
		if k <= m.mark {
			delete(m.kept, k)
		}
	}
	if _, taken := m.files[r.PublishedAs]; taken {
		m.t.Fatalf("publish %d: %s is taken", seq, r.PublishedAs)
	}
	m.files[r.PublishedAs] = text
	m.delivered[seq] = r
}

func (m *inboxModel) keepText(seq uint64, text string) {
	if len(text) >= 8 {
		m.kept[seq] = text
	}
}

// check compares what a reader sees with the model.
func (m *inboxModel) check() {
	des, err := os.ReadDir(m.dir)
	if err != nil {
		m.t.Fatal(err)
	}
	if len(des)-1 != len(m.files) {
		m.t.Fatalf("%d files, want %d", len(des)-1, len(m.files))
	}
	for name, want := range m.files {
		if got, err := os.ReadFile(filepath.Join(m.dir, name)); err != nil || string(got) != want {
			m.t.Fatalf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
}

// TestInboxAgainstModel runs random steps of senders, a reader, kills and power
// cuts against a model. rapid prints the steps and the seed of a failure.
func TestInboxAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &inboxModel{
			t: rt, dir: memDir(t), fd: newFaultDisk(t), open: map[uint64]*Staging{}, written: map[uint64]string{},
			kept: map[uint64]string{}, delivered: map[uint64]Receipt{}, files: map[string]string{},
		}
		m.reopen()
		defer func() { _ = m.in.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"begin":  func(rt *rapid.T) { m.begin(m.seq()) },
			"resume": func(rt *rapid.T) { m.resume(m.seq()) },
			"write": func(rt *rapid.T) {
				seq := m.seq()
				s, ok := m.open[seq]
				if !ok {
					return
				}
				rest := modelText(seq)[len(m.written[seq]):]
				n := len(rest)
				if rapid.Bool().Draw(rt, "part") {
					n = rapid.IntRange(0, n).Draw(rt, "n")
				}
				if _, err := s.Write([]byte(rest[:n])); err != nil {
					rt.Fatalf("write: %v", err)
				}
				m.written[seq] += rest[:n]
			},
			"publish": func(rt *rapid.T) {
				if seq := m.seq(); m.open[seq] != nil {
					m.publish(seq)
				}
			},
			"keep or drop": func(rt *rapid.T) {
				seq := m.seq()
				s, ok := m.open[seq]
				if !ok {
					return
				}
				end := s.Drop
				if rapid.Bool().Draw(rt, "keep") {
					end = s.Keep
					m.keepText(seq, m.written[seq])
				}
				if err := end(); err != nil {
					rt.Fatalf("end: %v", err)
				}
				delete(m.open, seq)
				delete(m.written, seq)
			},
			"progress": func(rt *rapid.T) {
				seq := m.seq()
				p, err := m.in.Progress(context.Background(), testID(seq))
				_, busy := m.open[seq]
				_, known := m.delivered[seq]
				switch {
				case busy && errors.Is(err, ErrUnderWay), !busy && seq <= m.mark && p.Settled:
				case !busy && seq > m.mark && known && p.Receipt != nil:
				case !busy && seq > m.mark && !known && p.Offset == int64(len(m.kept[seq])) && (p.Offset > 0) == (err == nil):
				case !busy && seq > m.mark && !known && m.kept[seq] == "" && err == nil:
					m.kept[seq] = modelText(seq)[:p.Offset] // after a power cut
				default:
					rt.Fatalf("progress of %d: %+v, %v", seq, p, err)
				}
			},
			"settle": func(rt *rapid.T) {
				if len(m.delivered) == 0 {
					return // of an unknown epoch nothing is noted
				}
				// As a sender does: everything up to the mark was delivered.
				for m.delivered[m.noted+1].ID != "" && rapid.Bool().Draw(rt, "one more") {
					m.noted++
				}
				m.in.Settle(testSpool, []Mark{{Epoch: 7, Seq: m.noted}})
			},
			"read": func(rt *rapid.T) {
				for _, name := range slices.Sorted(maps.Keys(m.files)) {
					if rapid.Bool().Draw(rt, "take") {
						if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
							rt.Fatal(err)
						}
						delete(m.files, name)
					}
				}
			},
			"restart": func(rt *rapid.T) {
				for seq, s := range m.open {
					if err := s.Drop(); err != nil {
						rt.Fatal(err)
					}
					delete(m.open, seq)
					delete(m.written, seq)
				}
				m.reopen()
			},
			"kill":      func(rt *rapid.T) { m.cut(false) },
			"power cut": func(rt *rapid.T) { m.cut(true) },
			"":          func(rt *rapid.T) { m.check() },
		})
	})
}
