package consensus

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// maxSnapshot bounds what Load takes in, in bytes: it is held in memory to be
// checked before anything is changed, and a table of a million collectors is smaller.
const maxSnapshot = 1 << 30

// Save writes a snapshot of the state as it is on this node, in the format that
// Load and fsm.ReadSnapshot read. For one that is not stale, Confirm first.
// ErrNoState when there is none.
func (p *Peer) Save(ctx context.Context, w io.Writer) error {
	if p.ctx.Err() != nil {
		return ErrClosed
	}
	if !p.hasState() {
		return ErrNoState
	}
	s, err := p.machine.Snapshot()
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	defer s.Release()
	if err := s.Persist(&savedSink{ctx: ctx, w: w}); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}

// savedSink has a snapshot written to somewhere else than raft's directory.
type savedSink struct {
	ctx context.Context
	w   io.Writer
}

func (s *savedSink) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(b)
}

func (s *savedSink) Close() error  { return nil }
func (s *savedSink) Cancel() error { return nil }
func (s *savedSink) ID() string    { return "saved" }

// Load replaces the state of the whole network by a snapshot that Save wrote. It
// returns once a quorum has it. On the leader only. The servers stay as they are,
// and so do the collectors that are registered now, whatever the snapshot says of
// them: what is owed to one must not be forgiven by the way.
//
// Errors: *NotLeaderError; fsm.ErrBadSnapshot, ErrTooLarge and ErrWrongNetwork (unless force): nothing was
// changed; ErrUnavailable when it took longer than ctx allows: it may or may not
// come about.
func (p *Peer) Load(ctx context.Context, r io.Reader, force bool) error {
	if err := p.mayLead(); err != nil {
		return err
	}
	raw, err := readSnapshot(r)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	// Raft gives it the index after this one. What is under way may take some.
	before := p.engine.raft.LastIndex() + loadGap
	b, view, err := p.takeIn(raw, before+1, force)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	meta := &raft.SnapshotMeta{Version: raft.SnapshotVersionMax, Size: int64(len(b)), Index: before}
	err = p.engine.asks.await(ctx, func() raft.Future {
		return failed{p.engine.raft.Restore(meta, bytes.NewReader(b), 0)}
	})
	if err != nil {
		return fmt.Errorf("load: %w", p.explain(ctx, err))
	}
	p.log.Warn("state replaced by a snapshot", "index", view.Applied, "network_id", view.NetworkID)
	return nil
}

// loadGap is how many entries may be added to the log while a snapshot is loaded,
// from when all of it has arrived: whoever sends it may take as long as they like.
// It has an index beyond them, for the index of the table must never go back:
// those who wait for a change would not see it.
const loadGap = 10_000

func readSnapshot(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSnapshot {
		return nil, ErrTooLarge
	}
	return b, nil
}

// takeIn checks a snapshot, and makes it the state at index. One of
// another network that is wanted all the same becomes one of ours: nodes know
// each other by the id.
func (p *Peer) takeIn(b []byte, index uint64, force bool) ([]byte, fsm.View, error) {
	view, _, err := fsm.ReadSnapshot(bytes.NewReader(b))
	if err != nil {
		return nil, fsm.View{}, err
	}
	ours := p.networkID()
	if view.NetworkID != ours && !force {
		return nil, fsm.View{}, fmt.Errorf("%w: %q, and this is %q", ErrWrongNetwork, view.NetworkID, ours)
	}
	var changed bytes.Buffer
	to := fsm.Target{NetworkID: ours, Index: index, Beats: p.machine.Beats()}
	for _, c := range p.machine.View().Table.Clusters {
		to.Collectors = append(to.Collectors, c.Collectors...)
	}
	err = fsm.CopySnapshot(&changed, bytes.NewReader(b), to)
	return changed.Bytes(), view, err
}
