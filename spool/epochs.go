package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// epochsName is the file in .relay that remembers the epochs of earlier opens,
// so that receivers can be told when they are over for good. One line each,
// oldest first, at most keptEpochs:
//
//	1 <epoch, 16 hex digits> <CRC-32C of the two fields before it, 8 hex digits>
//
// The file is replaced as a whole before an epoch is used. Lines that do not
// read are ignored: what is lost with one is only that receivers remember longer.
const (
	epochsName = "epochs"
	keptEpochs = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// epochFile draws epochs.
type epochFile struct {
	mu    sync.Mutex // held while an epoch is drawn, also across the write
	known []uint64   // guarded by mu: what the file says, oldest first
}

// load reads the file; one that is not there is empty.
func (e *epochFile) load(relay dir) error {
	text, err := readSmall(relay, epochsName, 64<<10)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = parseEpochs(string(text))
	return nil
}

// list returns what the file says, oldest first.
func (e *epochFile) list() []uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.known)
}

// draw returns a new random epoch that is on disk before anybody can use it.
func (e *epochFile) draw(relay dir) (uint64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	epoch := binary.BigEndian.Uint64(raw[:])
	known := append(slices.Clone(e.known), epoch)
	known = known[max(0, len(known)-keptEpochs):]
	if err := replaceFile(relay, epochsName, formatEpochs(known)); err != nil && !isFull(err) {
		return 0, fmt.Errorf("remember an epoch: %w", err)
	}
	e.known = known
	return epoch, nil
}

func formatEpochs(epochs []uint64) []byte {
	var b []byte
	for _, epoch := range epochs {
		line := fmt.Sprintf("1 %016x", epoch)
		b = fmt.Appendf(b, "%s %08x\n", line, crc32.Checksum([]byte(line), castagnoli))
	}
	return b
}

func parseEpochs(text string) []uint64 {
	var out []uint64
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) != len("1 0123456789abcdef 01234567") {
			continue
		}
		epoch, err := strconv.ParseUint(line[2:18], 16, 64)
		if err == nil && string(formatEpochs([]uint64{epoch})) == line+"\n" {
			out = append(out, epoch)
		}
	}
	return out[max(0, len(out)-keptEpochs):]
}
