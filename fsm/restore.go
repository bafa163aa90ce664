package fsm

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Restore implements raft.FSM. It takes over the whole snapshot, or nothing:
// ErrBadSnapshot for one that is damaged, cut, or of a newer format. It closes r.
// A failed FSM stays failed.
func (f *FSM) Restore(r io.ReadCloser) error {
	s, err := readState(r)
	_ = r.Close() // only ever read
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.s = s
	f.announceLocked()
	return nil
}

// ReadSnapshot reads a snapshot to look at it, with the errors of Restore. Its
// heartbeats are those of the external collectors.
func ReadSnapshot(r io.Reader) (View, map[CollectorID]Beat, error) {
	s, err := readState(r)
	if err != nil {
		return View{}, nil, err
	}
	s.show()
	return s.view(), s.beats, nil
}

func readState(r io.Reader) (*state, error) {
	s, err := parseSnapshot(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadSnapshot, err)
	}
	return s, nil
}

// parseSnapshot reads a whole snapshot, and takes nothing on trust.
func parseSnapshot(r io.Reader) (*state, error) {
	in := &summedReader{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	head := make([]byte, len(snapshotMagic)+1)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, fmt.Errorf("beginning: %w", err)
	}
	if !bytes.HasPrefix(head, []byte(snapshotMagic)) {
		return nil, fmt.Errorf("it begins with %q", head)
	}
	if v := head[len(snapshotMagic)]; v != snapshotVersion {
		return nil, fmt.Errorf("format %d, and this program reads format %d: use a newer program", v, snapshotVersion)
	}
	p := parser{s: newState()}
	for !p.ended {
		kind, raw, err := in.record()
		if err == nil {
			err = p.record(kind, raw)
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", p.records+1, err)
		}
	}
	want := in.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in.r, got); err != nil {
		return nil, fmt.Errorf("digest: %w", err)
	}
	if !bytes.Equal(got, want) {
		return nil, fmt.Errorf("digest %x, want %x", got[:8], want[:8])
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, errors.New("data after the end")
	}
	return p.s, nil
}

// summedReader hashes what is read through it.
type summedReader struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (r *summedReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.sum.Write(b[:n])
	return n, err
}

// record reads one record. Its length is believed only within bounds.
func (r *summedReader) record() (kind byte, raw []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if size > maxRecord {
		return 0, nil, fmt.Errorf("%d bytes", size)
	}
	raw = make([]byte, size)
	_, err = io.ReadFull(r, raw)
	return head[0], raw, err
}
