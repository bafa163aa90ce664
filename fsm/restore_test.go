package fsm

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// closer tells whether it was closed.
type closer struct {
	io.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

// mustRefuse restores something bad over a replica, which has to stay as it was.
func mustRefuse(t *testing.T, r *replica, name string, snapshot []byte) {
	t.Helper()
	_, before := r.Hash()
	changed := r.Changed()
	in := &closer{Reader: bytes.NewReader(snapshot)}
	if err := r.Restore(in); !errors.Is(err, ErrBadSnapshot) || !in.closed {
		t.Errorf("%s: %v, closed %v", name, err, in.closed)
	}
	if _, after := r.Hash(); before != after || isClosed(changed) {
		t.Errorf("%s: changed the state", name)
	}
}

func TestRestoreReplacesEverything(t *testing.T) {
	r := full(t)
	snapshot := r.snapshot()
	other := newReplica(t)
	other.must(own("x", "y", 1), ClusterPut{Name: "gone"}, NodePut{Node{ID: "y", Name: "y"}}, ext("old", 2))
	in := &closer{Reader: bytes.NewReader(snapshot)}
	if err := other.Restore(in); err != nil || !in.closed {
		t.Fatal(err, in.closed)
	}
	if !bytes.Equal(other.snapshot(), snapshot) || viewText(other.View()) != viewText(r.View()) {
		t.Errorf("restored as %s", viewText(other.View()))
	}
	if _, err := other.do(own("x2", "y", 1)); err != nil {
		t.Errorf("an address of before is still taken: %v", err)
	}
}

func TestRestoreSeesAllDamage(t *testing.T) {
	r := full(t)
	good := r.snapshot()
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if err := r.Restore(io.NopCloser(bytes.NewReader(bad))); !errors.Is(err, ErrBadSnapshot) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range good {
		if err := r.Restore(io.NopCloser(bytes.NewReader(good[:n]))); !errors.Is(err, ErrBadSnapshot) {
			t.Fatalf("cut at %d: %v", n, err)
		}
	}
	mustRefuse(t, r, "one byte more", append(bytes.Clone(good), 0))
	mustRefuse(t, r, "twice", append(bytes.Clone(good), good...))
}

// records makes a snapshot with the right lengths, count and digest of any records.
type records []struct {
	kind byte
	text string
}

func (rs records) file() []byte {
	out := []byte(snapshotMagic + "\x01")
	for _, r := range rs {
		out = append(out, r.kind)
		out = binary.BigEndian.AppendUint32(out, uint32(len(r.text)))
		out = append(out, r.text...)
	}
	return seal(out)
}

func seal(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

const (
	headText      = `{"applied":9,"network_id":"net","table_index":5}`
	clusterText   = `{"name":"c","mode":"all","failover_after_ms":30000}`
	collectorText = `{"id":"i","cluster":"c","node":"n","address":"h","port":1,"state":"active"}`
	externalText  = `{"id":"e","cluster":"c","address":"h","port":2,"state":"active","external":true}`
	beatText      = `{"id":"e","last_ms":1,"every_ms":10000}`
	nodeText      = `{"id":"n","name":"n1","http":""}`
	requestText   = `{"req_id":"r","index":1}`
)

// A digest that is right proves nothing of what a program of another kind, or
// somebody, has written before it.
func TestRestoreTakesNothingOnTrust(t *testing.T) {
	good := records{{1, headText}, {2, clusterText}, {3, externalText}, {3, collectorText}, {4, nodeText}, {5, beatText}, {6, requestText}, {255, `{"records":7}`}}
	if err := New().Restore(io.NopCloser(bytes.NewReader(good.file()))); err != nil {
		t.Fatal(err)
	}
	r := full(t)
	// Each case replaces the text of one record, or its kind too.
	for _, tc := range []struct {
		name string
		at   int
		kind byte
		text string
	}{
		{"no header", 0, 2, clusterText},
		{"header twice", 1, 1, headText},
		{"header of the future", 0, 1, `{"applied":9,"network_id":"net","table_index":5,"more":1}`},
		{"network id", 0, 1, `{"applied":9,"network_id":"a b","table_index":5}`},
		{"table younger than the state", 0, 1, `{"applied":4,"network_id":"net","table_index":5}`},
		{"unknown type", 6, 7, requestText},
		{"type 0", 0, 0, headText},
		{"wrong order", 6, 4, nodeText},
		{"no JSON", 1, 2, `x`},
		{"null", 1, 2, `null`},
		{"trailing data", 1, 2, clusterText + "{}"},
		{"cluster name", 1, 2, `{"name":"a/b","mode":"all","failover_after_ms":30000}`},
		{"cluster without mode", 1, 2, `{"name":"c","mode":"","failover_after_ms":30000}`},
		{"cluster without failover_after", 1, 2, `{"name":"c","mode":"all","failover_after_ms":0}`},
		{"cluster with a bad key", 1, 2, `{"name":"c","mode":"key","key":"(","failover_after_ms":30000}`},
		{"collector without its cluster", 1, 2, `{"name":"d","mode":"all","failover_after_ms":30000}`},
		{"collector twice", 3, 3, externalText},
		{"collectors out of order", 3, 3, strings.Replace(collectorText, `"i"`, `"a"`, 1)},
		{"collector id", 3, 3, strings.Replace(collectorText, `"i"`, `"i j"`, 1)},
		{"collector's node", 3, 3, strings.Replace(collectorText, `"n"`, `"n m"`, 1)},
		{"collector without a node", 3, 3, strings.Replace(collectorText, `"n"`, `""`, 1)},
		{"collector's address", 3, 3, strings.Replace(collectorText, `"h"`, `"h\n"`, 1)},
		{"collector's port", 3, 3, strings.Replace(collectorText, `:1`, `:65536`, 1)},
		{"collector without a port", 3, 3, strings.Replace(collectorText, `:1`, `:0`, 1)},
		{"collector's state", 3, 3, strings.Replace(collectorText, `active`, `gone`, 1)},
		{"two at one address", 3, 3, strings.Replace(strings.Replace(collectorText, `:1`, `:2`, 1), `"h"`, `"H."`, 1)},
		{"external without heartbeats", 3, 3, strings.Replace(collectorText, `"active"`, `"active","external":true`, 1)},
		{"node id", 4, 4, `{"id":"","name":"n1","http":""}`},
		{"node name", 4, 4, `{"id":"n","name":"n 1","http":""}`},
		{"node address", 4, 4, `{"id":"n","name":"n1","http":"` + strings.Repeat("x", 301) + `"}`},
		{"heartbeat of nobody", 5, 5, strings.Replace(beatText, `"e"`, `"z"`, 1)},
		{"heartbeat of one that is not external", 5, 5, strings.Replace(beatText, `"e"`, `"i"`, 1)},
		{"heartbeat never due", 5, 5, strings.Replace(beatText, `10000`, `0`, 1)},
		{"heartbeat due in a year", 5, 5, strings.Replace(beatText, `10000`, `31536000000`, 1)},
		{"request without an id", 6, 6, `{"req_id":"","index":1}`},
		{"request with a long id", 6, 6, `{"req_id":"` + strings.Repeat("r", 65) + `","index":1}`},
		{"failure of the future", 6, 6, `{"req_id":"r","index":1,"failure":{"code":"new","text":"x"}}`},
		{"failure too long", 6, 6, `{"req_id":"r","index":1,"failure":{"code":"taken","text":"` + strings.Repeat("x", 501) + `"}}`},
		{"a record too few", 7, 255, `{"records":8}`},
		{"a record too many", 7, 255, `{"records":6}`},
		{"no end", 7, 6, `{"req_id":"s","index":1}`},
	} {
		bad := append(records{}, good...)
		bad[tc.at].kind, bad[tc.at].text = tc.kind, tc.text
		mustRefuse(t, r, tc.name, bad.file())
	}
	headless := append(append(records{}, good[1:7]...), records{{255, `{"records":6}`}}...)
	mustRefuse(t, r, "without a header", headless.file())
	twice := append(append(append(records{}, good[:7]...), good[6]), records{{255, `{"records":8}`}}...)
	mustRefuse(t, r, "request twice", twice.file())
	nodes := append(append(append(records{}, good[:5]...), good[4]), records{{5, beatText}, {255, `{"records":7}`}}...)
	mustRefuse(t, r, "node twice", nodes.file())
}

func TestRestoreRefusesTooManyRequests(t *testing.T) {
	f := New().s.freeze()
	for i := range maxRequests + 1 {
		f.requests = append(f.requests, answered{fmt.Sprint("request ", i), &Outcome{}})
	}
	mustRefuse(t, newReplica(t), "4097 requests", mustWrite(t, f))
	f.requests = f.requests[1:]
	restored(t, mustWrite(t, f), 0)
}

func TestRestoreRefusesNewerFormatsAndSaysSo(t *testing.T) {
	r := full(t)
	good := r.snapshot()
	body := bytes.Clone(good[:len(good)-sha256.Size])
	body[len(snapshotMagic)] = 2
	err := r.Restore(io.NopCloser(bytes.NewReader(seal(body))))
	if !errors.Is(err, ErrBadSnapshot) || !strings.Contains(err.Error(), "format 2") {
		t.Error(err)
	}
}

// endless is a snapshot that never ends, of one byte again and again.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 0xff
	}
	e.read += len(b)
	return len(b), nil
}

func TestRestoreBelievesNoLength(t *testing.T) {
	head := []byte(snapshotMagic + "\x01")
	for name, length := range map[string]uint32{"4 GiB": 1<<32 - 1, "a byte more than a record may have": maxRecord + 1} {
		rest := &endless{}
		in := io.MultiReader(bytes.NewReader(binary.BigEndian.AppendUint32(append(bytes.Clone(head), recordHeader), length)), rest)
		if err := New().Restore(io.NopCloser(in)); !errors.Is(err, ErrBadSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
		if rest.read > 128<<10 {
			t.Errorf("%s: read %d bytes", name, rest.read)
		}
	}
}

// FuzzRestore looks for snapshots that Restore takes and that then have no
// stable form of their own. Half of its inputs get the right digest.
func FuzzRestore(f *testing.F) {
	f.Add(full(f).snapshot(), false)
	f.Add(full(f).snapshot(), true)
	f.Add(newReplica(f).snapshot(), true)
	f.Add(records{{1, headText}, {2, clusterText}, {3, externalText}, {3, collectorText}, {4, nodeText}, {5, beatText}, {6, requestText}, {255, `{"records":7}`}}.file(), true)
	f.Add([]byte(snapshotMagic+"\x01\x01\xff\xff\xff\xff"), false)
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if reseal && len(b) >= sha256.Size {
			b = seal(b[:len(b)-sha256.Size])
		}
		r := newReplica(t)
		if err := r.Restore(io.NopCloser(bytes.NewReader(b))); err != nil {
			if !errors.Is(err, ErrBadSnapshot) {
				t.Fatal(err)
			}
			return
		}
		checkReplica(t, r)
		r.index = r.View().Applied
		_, _ = r.do(own("fuzz", "n", 0)) // may be taken; must not panic
		checkReplica(t, r)
	})
}
