package fsm

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/hashicorp/raft"
)

// The format of a snapshot; see the package comment for the layout.
const (
	snapshotMagic   = "BRSNAP"
	snapshotVersion = 1
	maxRecord       = 1 << 20 // bytes
)

// frozen is the state at one moment, for writing. Nothing of it changes.
type frozen struct {
	View
	beats    map[CollectorID]Beat
	requests []answered // oldest first
}

// freeze takes the state as it is. Only small things are copied, and clusters
// that have changed since the last view.
func (s *state) freeze() frozen {
	s.show()
	return frozen{View: s.view(), beats: maps.Clone(s.beats), requests: s.requests.list()}
}

// Snapshot implements raft.FSM. It takes the state as it is now, and returns at
// once; writing it, in Persist, does not hold up Apply. It refuses once the FSM
// has failed: a snapshot would take the place of log entries that were not applied.
func (f *FSM) Snapshot() (raft.FSMSnapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return nil, f.failed
	}
	return f.s.freeze(), nil
}

// Persist implements raft.FSMSnapshot. A snapshot that cannot be written in full
// is cancelled.
func (z frozen) Persist(sink raft.SnapshotSink) error {
	if _, err := z.write(sink); err != nil {
		_ = sink.Cancel() // the error that matters is the first
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (z frozen) Release() {}

// write renders a snapshot and returns the digest at its end. The same state
// gives the same bytes.
func (z frozen) write(to io.Writer) (sum [sha256.Size]byte, err error) {
	hash := sha256.New()
	buf := bufio.NewWriterSize(io.MultiWriter(to, hash), 64<<10)
	w := recordWriter{buf: buf}
	w.raw([]byte(snapshotMagic + string(rune(snapshotVersion))))
	w.put(recordHeader, headerRecord{z.Applied, z.NetworkID, z.Table.Index})
	for _, name := range z.Table.Names() {
		w.put(recordCluster, clusterRecordOf(z.Table.Clusters[name]))
	}
	for _, name := range z.Table.Names() {
		for _, c := range z.Table.Clusters[name].Collectors {
			w.put(recordCollector, recordOf(c))
		}
	}
	for _, n := range z.Nodes {
		w.put(recordNode, n)
	}
	for _, id := range slices.Sorted(maps.Keys(z.beats)) {
		w.put(recordBeat, beatRecordOf(id, z.beats[id]))
	}
	for _, r := range z.requests {
		w.put(recordRequest, requestOf(r.reqID, *r.outcome))
	}
	w.put(recordEnd, endRecord{w.records})
	if w.err == nil {
		w.err = buf.Flush()
	}
	if w.err != nil {
		return sum, w.err
	}
	hash.Sum(sum[:0])
	_, err = to.Write(sum[:])
	return sum, err
}

// recordWriter writes records and remembers the first error.
type recordWriter struct {
	buf     *bufio.Writer
	records int
	err     error
}

func (w *recordWriter) raw(b []byte) {
	if w.err == nil {
		_, w.err = w.buf.Write(b)
	}
}

func (w *recordWriter) put(kind byte, record any) {
	if w.err != nil {
		return
	}
	raw, err := json.Marshal(record)
	if err == nil && len(raw) > maxRecord {
		err = fmt.Errorf("record of %d bytes", len(raw)) // better no snapshot than one that no one can read
	}
	if err != nil {
		w.err = err
		return
	}
	if kind != recordEnd {
		w.records++
	}
	w.raw([]byte{kind})
	w.raw(binary.BigEndian.AppendUint32(nil, uint32(len(raw))))
	w.raw(raw)
}
