package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkPickAndFinish takes files of 1 KiB that were renamed in from claim to
// removal, 256 at a time.
func BenchmarkPickAndFinish(b *testing.B) {
	d := outboxDir{b, b.TempDir()}
	o := d.mustOpen(watched)
	text := string(make([]byte, 1024))
	for n := 0; n < b.N; n += 256 {
		b.StopTimer()
		for i := range min(256, b.N-n) {
			d.moveIn(fmt.Sprint("f", i), text)
		}
		b.StartTimer()
		mustFinish(b, o, mustPick(b, o, min(256, b.N-n))...)
	}
}

// BenchmarkOpenWithManyClaims opens an outbox with 100,000 pending claims.
func BenchmarkOpenWithManyClaims(b *testing.B) {
	const claims = 100_000
	d := outboxDir{b, b.TempDir()}
	if err := d.mustOpen().Close(); err != nil {
		b.Fatal(err)
	}
	for i := range uint64(claims) {
		if err := os.WriteFile(filepath.Join(d.at(".relay", "claimed"), claimName(7, i+1, "file.json")), nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		o, err := d.open()
		if err != nil {
			b.Fatal(err)
		}
		if got := o.Stats().Claimed; got != claims {
			b.Fatalf("%d claims", got)
		}
		if err := o.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
