package main

import (
	"bytes"
	"testing"
	"time"
)

func TestTableAlignsAndEscapes(t *testing.T) {
	var out bytes.Buffer
	tab := newTable("NAME", toRight+"SIZE", "WHY")
	tab.add("grün.txt", "5", ">a<")
	tab.add("x\ny", "12345", "")
	tab.print(&out)
	want := "NAME       SIZE  WHY\n" +
		"grün.txt      5  >a<\n" +
		"x\\ny      12345\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB", 1536 << 20: "1.5 GiB", 1 << 62: "4.0 EiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestAgeText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", 59 * time.Second: "59s", 192 * time.Second: "3m12s",
		2*time.Hour + 5*time.Minute: "2h5m", 76 * time.Hour: "3d4h",
	} {
		if got := ageText(d); got != want {
			t.Errorf("%s: got %q, want %q", d, got, want)
		}
	}
}
