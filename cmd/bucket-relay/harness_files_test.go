package main_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
)

// samples makes files whose names tell what is in them, so that a reader can
// judge each one alone: <number>-<start of the SHA-256 in hex>.json. The same
// seed gives the same files. Safe for concurrent use.
type samples struct {
	seed uint64
	n    atomic.Int64
}

// newSamples starts a series of samples.
func newSamples(seed uint64) *samples { return &samples{seed: seed} }

// made is how many there are; they are numbered from 0.
func (s *samples) made() int { return int(s.n.Load()) }

// next makes the next sample: 0–4 KiB, one in a thousand up to 3 MiB.
func (s *samples) next() (name string, body []byte) {
	i := s.made()
	size := rand.New(rand.NewPCG(s.seed, uint64(i))).IntN(4 << 10)
	switch {
	case i%100 == 7:
		size = i / 100 % 2 // empty files and files of one byte
	case i%1000 == 500:
		size *= 768
	}
	return s.nextOf(size)
}

// nextOf makes the next sample with a given size in bytes.
func (s *samples) nextOf(size int) (name string, body []byte) {
	i := s.n.Add(1) - 1
	body = make([]byte, size)
	key := [32]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(s.seed)}
	_, _ = rand.NewChaCha8(key).Read(body) // never fails
	return fmt.Sprintf("%06d-%s.json", i, sampleSum(body)), body
}

func sampleSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// published is the name of a sample in an inbox, with the suffix of a second one.
var published = regexp.MustCompile(`^(\d{6,})-([0-9a-f]{16})(~[0-9a-f]+)?\.json$`)

// identifySample tells which sample a published file is. The error says that
// it is none, or not whole.
func identifySample(name string, body []byte) (id string, err error) {
	m := published.FindStringSubmatch(name)
	if m == nil {
		return "", errors.New("not a name that was ever produced")
	}
	if sum := sampleSum(body); sum != m[2] {
		return "", fmt.Errorf("%d bytes with SHA-256 %s…", len(body), sum)
	}
	n, err := strconv.Atoi(m[1])
	return strconv.Itoa(n), err
}

// producer puts files into an outbox as a service would.
type producer struct {
	t       testing.TB
	outbox  string
	tmp     string // on the same file system
	samples *samples
}

// newProducer makes a producer for an outbox.
func newProducer(t testing.TB, outbox string, s *samples) *producer {
	t.Helper()
	return &producer{t: t, outbox: outbox, tmp: t.TempDir(), samples: s}
}

// drop puts the next n samples in the outbox by renaming them into it.
func (p *producer) drop(n int) {
	p.t.Helper()
	for range n {
		name, body := p.samples.next()
		p.rename(name, body)
	}
}

// dropOf is drop with files of one size in bytes.
func (p *producer) dropOf(n, size int) {
	p.t.Helper()
	for range n {
		name, body := p.samples.nextOf(size)
		p.rename(name, body)
	}
}

// rename writes a file elsewhere and renames it into the outbox.
func (p *producer) rename(name string, body []byte) {
	p.t.Helper()
	tmp := filepath.Join(p.tmp, "file")
	if err := os.WriteFile(tmp, body, 0o600); err != nil {
		p.t.Error(err)
	}
	if err := os.Rename(tmp, filepath.Join(p.outbox, name)); err != nil {
		p.t.Error(err)
	}
}

// begin writes the first halves of the next n samples where they can be seen
// unfinished; finish writes the rest.
func (p *producer) begin(n int) (finish func()) {
	p.t.Helper()
	type unfinished struct {
		f    *os.File
		rest []byte
	}
	var files []unfinished
	for range n {
		name, body := p.samples.next()
		f, err := os.OpenFile(filepath.Join(p.outbox, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			p.t.Error(err)
			continue
		}
		half := len(body) / 2
		if _, err := f.Write(body[:half]); err != nil {
			p.t.Error(err)
		}
		files = append(files, unfinished{f, body[half:]})
	}
	return func() {
		for _, u := range files {
			_, err := u.f.Write(u.rest)
			if err := errors.Join(err, u.f.Close()); err != nil {
				p.t.Error(err)
			}
		}
	}
}
