package spool

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func secondsOf(n uint64) time.Duration { return time.Duration(n) * time.Second }

var idTestSpool = SpoolID{0xf8, 0x1d, 0x4f, 0xae, 0x7d, 0xec, 0x41, 0xd0, 0x87, 0x65, 0x00, 0xa0, 0xc9, 0x1e, 0x6b, 0xf6}

func TestIDText(t *testing.T) {
	id := ID{idTestSpool, 0x1f, 0x2a}
	const want = "f81d4fae-7dec-41d0-8765-00a0c91e6bf6.000000000000001f.2a"
	if got := id.String(); got != want {
		t.Errorf("got %s", got)
	}
	if got, err := ParseID(want); err != nil || got != id {
		t.Errorf("parsed %v, %v", got, err)
	}
}

func TestParseIDTakesOneSpellingOnly(t *testing.T) {
	const uuid = "f81d4fae-7dec-41d0-8765-00a0c91e6bf6"
	for _, s := range []string{
		"", ".", "..", uuid, uuid + ".1.1", uuid + ".000000000000001f", uuid + ".000000000000001f.",
		uuid + ".000000000000001f.0", uuid + ".000000000000001f.02", uuid + ".000000000000001F.2",
		uuid + ".000000000000001f.A", uuid + ".000000000000001f.2.x", uuid + ".000000000000001f.2.",
		uuid + ".000000000000001f.+2", uuid + ".000000000000001f.10000000000000000",
		uuid + ".+00000000000001f.2", uuid + ". 00000000000001f.2", strings.ToUpper(uuid) + ".000000000000001f.2",
		strings.ReplaceAll(uuid, "-", "") + ".000000000000001f.2", "{" + uuid + "}.000000000000001f.2",
		"f81d4fae-7dec-41d0-8765-00a0c91e6b-6.000000000000001f.2", uuid + ".000000000000001f.2\n",
	} {
		if id, err := ParseID(s); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
}

func TestIDsReadBackAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := ID{Epoch: rapid.Uint64().Draw(t, "epoch"), Seq: rapid.Uint64Range(1, math.MaxUint64).Draw(t, "seq")}
		copy(id.Spool[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "spool"))
		if got, err := ParseID(id.String()); err != nil || got != id {
			t.Fatalf("%v reads back as %v, %v", id, got, err)
		}
		name := rapid.StringMatching(`[a-z.]{1,20}`).Draw(t, "name")
		epoch, seq, rest, ok := cutClaimID(claimName(id.Epoch, id.Seq, name))
		if !ok || epoch != id.Epoch || seq != id.Seq || rest != name {
			t.Fatalf("claim of %q reads back as %x %x %q %v", name, epoch, seq, rest, ok)
		}
	})
}

func TestNewSpoolIDsAreVersion4UUIDs(t *testing.T) {
	seen := map[SpoolID]bool{}
	for range 100 {
		id := NewSpoolID()
		s := id.String()
		if got, err := ParseSpoolID(s); err != nil || got != id {
			t.Fatalf("%s reads back as %v, %v", s, got, err)
		}
		if seen[id] || s[14] != '4' || !strings.ContainsRune("89ab", rune(s[19])) {
			t.Fatalf("%s", s)
		}
		seen[id] = true
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(ID{idTestSpool, 1, 2}.String())
	f.Add("f81d4fae-7dec-41d0-8765-00a0c91e6bf6.000000000000001f.0")
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		switch {
		case err != nil && !errors.Is(err, ErrID):
			t.Errorf("%q: %v is not ErrID", s, err)
		case err == nil && id.String() != s:
			t.Errorf("%q reads as %s", s, id)
		case err == nil && id.Seq == 0:
			t.Errorf("%q has no seq", s)
		}
	})
}
