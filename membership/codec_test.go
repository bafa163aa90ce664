package membership

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fullMeta has every field set.
func fullMeta() Meta {
	return Meta{
		NodeID: "0f1e2d3c-4b5a-4678-9a0b-c1d2e3f40516", NetworkID: networkX, Name: "größer-1", Generation: 1<<40 + 7,
		HTTPPort: 10088, RaftPort: 65535, Advertise: "n1.example.org", Expect: 3, HasState: true,
		Role: RoleFollower, Intent: IntentLeave, Level: 1,
	}
}

// The bytes are read by the other versions of this program.
func TestEncodedMetaIsGolden(t *testing.T) {
	const file = "testdata/meta-1.hex"
	got, err := fullMeta().encode()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	decoded, err := decodeMeta(want)
	if diff := cmp.Diff(fullMeta(), decoded); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestMetaOfAnyKindComesBack(t *testing.T) {
	longest := fullMeta()
	longest.Name, longest.Advertise = strings.Repeat("n", MaxNameBytes), strings.Repeat("a", MaxAdvertiseBytes)
	for name, m := range map[string]Meta{"full": fullMeta(), "bare": {NodeID: nodeID(1), Name: "n"}, "longest": longest} {
		t.Run(name, func(t *testing.T) {
			b, err := m.encode()
			if err != nil || len(b) > 372 {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			got, err := decodeMeta(b)
			if diff := cmp.Diff(m, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestMetaThatBreaksARuleIsNotEncoded(t *testing.T) {
	for name, change := range map[string]func(*Meta){
		"no node id":       func(m *Meta) { m.NodeID = "" },
		"zero node id":     func(m *Meta) { m.NodeID = zeroUUID },
		"upper case":       func(m *Meta) { m.NodeID = strings.ToUpper(m.NodeID) },
		"dashes elsewhere": func(m *Meta) { m.NodeID = "0f1e2d3c4-b5a-4678-9a0b-c1d2e3f40516" },
		"bad network id":   func(m *Meta) { m.NetworkID = "x" },
		"no name":          func(m *Meta) { m.Name = "" },
		"long name":        func(m *Meta) { m.Name = strings.Repeat("x", MaxNameBytes+1) },
		"name not UTF-8":   func(m *Meta) { m.Name = "\xff" },
		"control":          func(m *Meta) { m.Name = "a\x1b[31m" },
		"bidi control":     func(m *Meta) { m.Name = "a\u202eb" },
		"long host":        func(m *Meta) { m.Advertise = strings.Repeat("a", MaxAdvertiseBytes+1) },
		"host with path":   func(m *Meta) { m.Advertise = "a/b" },
		"host with user":   func(m *Meta) { m.Advertise = "u@h" },
		"negative port":    func(m *Meta) { m.HTTPPort = -1 },
		"high port":        func(m *Meta) { m.RaftPort = 65536 },
		"high expect":      func(m *Meta) { m.Expect = 65536 },
		"negative level":   func(m *Meta) { m.Level = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			m := fullMeta()
			change(&m)
			if _, err := m.encode(); !errors.Is(err, ErrMeta) {
				t.Errorf("got %v, want ErrMeta", err)
			}
		})
	}
}

func TestDecodeMetaRefuses(t *testing.T) {
	good, err := fullMeta().encode()
	if err != nil {
		t.Fatal(err)
	}
	nameAt := metaFixed
	with := func(at int, b byte) []byte {
		out := bytes.Clone(good)
		out[at] = b
		return out
	}
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"another format":    {with(0, 2), ErrFormat},
		"nothing":           {nil, ErrMeta},
		"half":              {good[:len(good)/2], ErrMeta},
		"a byte short":      {good[:len(good)-1], ErrMeta},
		"a byte more":       {append(bytes.Clone(good), 0), ErrMeta},
		"too much":          {append(bytes.Clone(good), make([]byte, maxMetaBytes)...), ErrMeta},
		"unknown flag":      {with(50, 0x81), ErrMeta},
		"unknown role":      {with(51, 99), ErrMeta},
		"unknown intent":    {with(52, 99), ErrMeta},
		"name runs out":     {with(nameAt, 255), ErrMeta},
		"control in name":   {with(nameAt+1, '\n'), ErrMeta},
		"no node id":        {append(append(bytes.Clone(good[:2]), make([]byte, 16)...), good[18:]...), ErrMeta},
		"slash in the host": {with(len(good)-1, '/'), ErrMeta},
	} {
		t.Run(name, func(t *testing.T) {
			if m, err := decodeMeta(c.b); !errors.Is(err, c.want) {
				t.Errorf("got %+v, %v; want %v", m, err, c.want)
			}
		})
	}
}

// A later revision may append fields and use numbers we do not know.
func TestDecodeMetaReadsALaterRevision(t *testing.T) {
	b, err := fullMeta().encode()
	if err != nil {
		t.Fatal(err)
	}
	b[1], b[50], b[51], b[52] = 3, 0xff, 200, 200
	got, err := decodeMeta(append(b, 1, 2, 3))
	want := fullMeta()
	want.Role, want.Intent = RoleNone, IntentNone
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// Whatever is decoded is valid, and of our revision comes back byte for byte.
func FuzzDecodeMeta(f *testing.F) {
	full, _ := fullMeta().encode()
	bare, _ := Meta{NodeID: nodeID(1), Name: "n"}.encode()
	f.Add(full)
	f.Add(bare)
	f.Add(append(append([]byte{1, 9}, full[2:]...), "later"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		if err := m.Validate(); err != nil {
			t.Fatalf("decoded %+v: %v", m, err)
		}
		again, err := m.encode()
		if err != nil || b[1] == metaRevision && !bytes.Equal(again, b) {
			t.Fatalf("%v\n got %x\nfrom %x", err, again, b)
		}
	})
}
