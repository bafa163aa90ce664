package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// samples has a body of every kind with every field set.
var samples = map[string]Body{
	"01-network-init":   NetworkInit{NetworkID: "4f5a2f4e-33b6-4cf1-b8d0-7a9a9f1c0001"},
	"02-cluster-put":    ClusterPut{Name: "c", Mode: ModeKey, Key: `^(<[^_]+>)_`, FailoverAfterMS: 1500},
	"03-cluster-delete": ClusterDelete{Name: "c"},
	"04-collector-put": CollectorPut{
		ID: "i", NewID: "new", Cluster: "c", Node: "n", Address: "10.0.0.1", Port: 10100,
		SkipPorts: []int{10101, 10102}, PortStart: 10100, External: true, EveryMS: 10000,
	},
	"05-collector-state":  CollectorState{Cluster: "c", ID: "i", State: StateDraining},
	"06-collector-delete": CollectorDelete{Cluster: "c", ID: "i", IfSilentSinceMS: 1767355200000},
	"07-heartbeat":        Heartbeat{IDs: []CollectorID{"a", "b"}},
	"08-node-put":         NodePut{Node: Node{ID: "n", Name: "n1", HTTP: "n1.example:10088"}},
	"09-node-delete":      NodeDelete{ID: "n"},
}

func sampleCommand(b Body) Command {
	return Command{ReqID: "4f5a2f4e-33b6-4cf1-b8d0-7a9a9f1c0002", Time: noon.Add(7 * time.Millisecond), Actor: "n1", Body: b}
}

// The files stand for logs that exist. A difference calls for a new version with
// a file of its own, not for -update.
func TestCommandsHaveTheBytesOfTheirVersion(t *testing.T) {
	for name, body := range samples {
		t.Run(name, func(t *testing.T) {
			c := sampleCommand(body)
			got, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			want := golden(t, "command-"+name+"-v1.bin", got)
			if back, err := Decode(want); err != nil || !reflect.DeepEqual(back, c) {
				t.Errorf("the file reads as %#v, %v, want %#v", back, err, c)
			}
		})
	}
}

// Whoever adds a kind has to add a sample, and so a golden file, and Apply.
func TestEveryKindHasASample(t *testing.T) {
	sampled := map[Kind]bool{}
	for _, b := range samples {
		sampled[b.kind()] = true
	}
	for kind := range 256 {
		_, err := decodeBody(Kind(kind), []byte("{}"))
		if known := err == nil; known != sampled[Kind(kind)] {
			t.Errorf("kind %d: known %v, sampled %v", kind, known, sampled[Kind(kind)])
		}
	}
}

func TestEveryKindIsApplied(t *testing.T) {
	for name, b := range samples {
		r := newReplica(t)
		if _, err := r.do(b); errors.Is(err, ErrUnknownCommand) || r.Failed() != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sign makes a log entry with the right checksum around any payload.
func sign(kind Kind, version byte, payload string) []byte {
	out := append([]byte{byte(kind), version, 0, 0, 0, 0}, payload...)
	binary.BigEndian.PutUint32(out[2:], commandSum(out))
	return out
}

func TestDecodeTakesNothingThatItDoesNotKnow(t *testing.T) {
	const good = `{"req_id":"r","time_ms":1,"actor":"n1","body":{"id":"n"}}`
	if _, err := Decode(sign(KindNodeDelete, 1, good)); err != nil {
		t.Fatal(err)
	}
	huge := `{"req_id":"r","time_ms":1,"actor":"` + strings.Repeat("x", maxPayload) + `","body":{"id":"n"}}`
	for name, b := range map[string][]byte{
		"nothing":                   nil,
		"less than a header":        sign(KindNodeDelete, 1, "")[:5],
		"no payload":                sign(KindNodeDelete, 1, ""),
		"kind 0":                    sign(0, 1, good),
		"a kind of the future":      sign(KindNodeDelete+1, 1, good),
		"version 0":                 sign(KindNodeDelete, 0, good),
		"a version of the future":   sign(KindNodeDelete, 2, good),
		"data after the end":        sign(KindNodeDelete, 1, good+"{}"),
		"a byte after the end":      sign(KindNodeDelete, 1, good+"x"),
		"no JSON":                   sign(KindNodeDelete, 1, "hello"),
		"null":                      sign(KindNodeDelete, 1, "null"),
		"an array":                  sign(KindNodeDelete, 1, "[]"),
		"unknown field":             sign(KindNodeDelete, 1, `{"req_id":"r","time_ms":1,"more":1,"body":{"id":"n"}}`),
		"unknown field of body":     sign(KindNodeDelete, 1, `{"req_id":"r","time_ms":1,"body":{"id":"n","more":1}}`),
		"unknown field of node":     sign(KindNodePut, 1, `{"req_id":"r","time_ms":1,"body":{"node":{"id":"n","more":1}}}`),
		"wrong type in body":        sign(KindNodeDelete, 1, `{"req_id":"r","time_ms":1,"body":{"id":1}}`),
		"null body":                 sign(KindNodeDelete, 1, `{"req_id":"r","time_ms":1,"body":null}`),
		"no body":                   sign(KindNodeDelete, 1, `{"req_id":"r","time_ms":1}`),
		"no request id":             sign(KindNodeDelete, 1, `{"time_ms":1,"body":{"id":"n"}}`),
		"request id of 65 bytes":    sign(KindNodeDelete, 1, `{"req_id":"`+strings.Repeat("r", 65)+`","time_ms":1,"body":{"id":"n"}}`),
		"payload larger than 1 MiB": sign(KindNodeDelete, 1, huge),
	} {
		if c, err := Decode(b); !errors.Is(err, ErrUnknownCommand) {
			t.Errorf("%s: %#v, %v", name, c, err)
		}
	}
}

func TestDecodeSeesEveryBitThatIsWrong(t *testing.T) {
	good, err := sampleCommand(samples["04-collector-put"]).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if _, err := Decode(bad); !errors.Is(err, ErrUnknownCommand) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
	for n := range good {
		if _, err := Decode(good[:n]); !errors.Is(err, ErrUnknownCommand) {
			t.Fatalf("first %d bytes: %v", n, err)
		}
	}
}

// grown is a body with a field that no version has.
type grown struct {
	NodeDelete
	More int `json:"more"`
}

// An entry that only Decode refuses would stop every node.
func TestEncodeRefusesWhatDecodeWouldNotTake(t *testing.T) {
	big := strings.Repeat("x", maxPayload)
	for name, c := range map[string]Command{
		"no request id":          {Body: NodeDelete{ID: "n"}},
		"request id of 65 bytes": {ReqID: strings.Repeat("r", 65), Body: NodeDelete{ID: "n"}},
		"request id not UTF-8":   {ReqID: "\xff", Body: NodeDelete{ID: "n"}},
		"no body":                {ReqID: "r"},
		"a body of another make": {ReqID: "r", Body: grown{NodeDelete{ID: "n"}, 1}},
		"body larger than 1 MiB": {ReqID: "r", Body: NodeDelete{ID: big}},
		"actor of 1 MiB":         {ReqID: "r", Actor: big, Body: NodeDelete{ID: "n"}},
	} {
		if b, err := c.Encode(); !errors.Is(err, ErrInvalid) || b != nil {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

func TestEncodeTakesWhatIsJustWithinBounds(t *testing.T) {
	c := Command{ReqID: strings.Repeat("r", 64), Time: noon, Body: NodeDelete{}}
	empty, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	c.Body = NodeDelete{ID: strings.Repeat("x", maxPayload-(len(empty)-commandHeader))}
	full, err := c.Encode()
	if err != nil || len(full) != commandHeader+maxPayload {
		t.Fatalf("%d bytes, %v", len(full), err)
	}
	if back, err := Decode(full); err != nil || !reflect.DeepEqual(back, c) {
		t.Error(err)
	}
	c.Body = NodeDelete{ID: c.Body.(NodeDelete).ID + "x"}
	if _, err := c.Encode(); !errors.Is(err, ErrInvalid) {
		t.Errorf("one byte more: %v", err)
	}
}

func TestTimesAreKeptToTheMillisecondInUTC(t *testing.T) {
	at := time.Date(2026, 7, 8, 9, 10, 11, 123456789, time.FixedZone("x", 3600))
	b, err := Command{ReqID: "r", Time: at, Body: NodeDelete{ID: "n"}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Decode(b); err != nil || c.Time != at.Truncate(time.Millisecond).UTC() {
		t.Errorf("%v, %v", c.Time, err)
	}
}

// FuzzDecode looks for bytes that Decode takes and Encode, Apply or a snapshot
// after them stumbles over. Half of its inputs get the right checksum.
func FuzzDecode(f *testing.F) {
	for _, body := range samples {
		b, err := sampleCommand(body).Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Add(sign(KindCollectorPut, 1, `{"req_id":"r","time_ms":-9223372036854775808,"body":{"cluster":"c","new_id":"a","address":"A.","external":true}}`), true)
	f.Add(sign(KindClusterPut, 1, fmt.Sprintf(`{"req_id":"r","time_ms":1,"body":{"name":%q}}`, "\u2028")), true)
	f.Fuzz(func(t *testing.T, b []byte, resign bool) {
		if resign && len(b) >= commandHeader {
			b = sign(Kind(b[0]), b[1], string(b[commandHeader:]))
		}
		c, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrUnknownCommand) {
				t.Fatal(err)
			}
			return
		}
		again, err := c.Encode()
		if err != nil {
			if !errors.Is(err, ErrInvalid) || len(b) < maxPayload/6 { // escapes may make it larger
				t.Fatal(err)
			}
			return
		}
		if back, err := Decode(again); err != nil || !sameCommand(back, c) {
			t.Fatalf("%#v reads back as %#v, %v", c, back, err)
		}
		r := newReplica(t)
		r.must(own("i", "n", 0), ext("a", 0))
		if _, err := r.run(c); errors.Is(err, ErrUnknownCommand) {
			t.Fatal(err)
		}
		checkReplica(t, r)
	})
}

// sameCommand takes an empty list for one that is not there.
func sameCommand(a, b Command) bool {
	one, err1 := a.Encode()
	two, err2 := b.Encode()
	return err1 == nil && err2 == nil && bytes.Equal(one, two)
}
