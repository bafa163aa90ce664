package spool

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestEpochsOfEarlierOpensAreKept(t *testing.T) {
	d := newOutboxDir(t)
	var drawn []uint64
	for range 3 {
		o := d.mustOpen()
		if got := o.epochs.list(); !slices.Equal(got, drawn) {
			t.Fatalf("file says %x, want %x", got, drawn)
		}
		key, err := o.nextKey("s")
		if err != nil {
			t.Fatal(err)
		}
		drawn = append(drawn, key.epoch)
		_ = o.Close()
	}
}

func TestAnOpenThatClaimsNothingDrawsNoEpoch(t *testing.T) {
	d := newOutboxDir(t)
	mustPickNothing(t, d.mustOpen())
	if _, err := os.Stat(d.at(".relay", "epochs")); !os.IsNotExist(err) {
		t.Errorf("epochs: %v", err)
	}
}

func TestEpochLines(t *testing.T) {
	good := string(formatEpochs([]uint64{1, 0xfedcba9876543210}))
	if good != "1 0000000000000001 74fd0dd6\n1 fedcba9876543210 6b565844\n" {
		t.Errorf("format changed: %q", good)
	}
	for name, c := range map[string]struct {
		text string
		want []uint64
	}{
		"whole":           {good, []uint64{1, 0xfedcba9876543210}},
		"torn last line":  {good[:len(good)-5], []uint64{1}},
		"no last newline": {good[:len(good)-1], []uint64{1, 0xfedcba9876543210}},
		"a flipped digit": {strings.Replace(good, "fed", "fec", 1), []uint64{1}},
		"other version":   {strings.Replace(good, "1 0", "2 0", 1), []uint64{0xfedcba9876543210}},
		"empty":           {"", nil},
		"rubbish":         {"\x00\x00\n\n\n1", nil},
	} {
		if got := parseEpochs(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: %x, want %x", name, got, c.want)
		}
	}
	var many []uint64
	for i := range uint64(100) {
		many = append(many, i)
	}
	if got := parseEpochs(string(formatEpochs(many))); !slices.Equal(got, many[36:]) {
		t.Errorf("kept %d, the first %d", len(got), got[0])
	}
}

func TestClaimAgesAreThinnedOutAndForgotten(t *testing.T) {
	var a ageLine
	start := someTime
	for i := range uint64(2000) {
		a.add(i+1, start.Add(secondsOf(i)))
	}
	if len(a.samples) > maxAges {
		t.Errorf("%d samples", len(a.samples))
	}
	if at, ok := a.of(1000); !ok || at.After(start.Add(secondsOf(999))) || at.Before(start.Add(secondsOf(980))) {
		t.Errorf("claim 1000 is of %v, %v", at.Sub(start), ok)
	}
	if a.samples[0].seq > 1000 {
		t.Error("the sample in use was forgotten")
	}
	if _, ok := (&ageLine{}).of(1); ok {
		t.Error("an age from nothing")
	}
}
