package consensus

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// transport is raft's transport with four changes:
//
//   - Heartbeats go the way of every other request. Raft would handle them beside
//     its main loop, which can break log matching (hashicorp/raft#695).
//   - A node is dialled where gossip sees it, not where the configuration says.
//   - It notes when each peer last answered, and which entry it acknowledged last.
//   - Entries for a peer that does not answer wait here until a heartbeat reaches
//     it. Raft would pause after each failure, at length up to ten seconds, and
//     let a peer that is back wait for the rest of the pause.
//
// Requests are not pipelined: a batch has up to 64 entries as it is, and the
// measurements in hashicorp/raft#541 found more in flight to cost latency.
type transport struct {
	inner   *raft.NetworkTransport
	stream  *stream
	resolve func(id string) string // host:port, empty when unknown; returns at once
	contacts
	gate gate
	// leads reports whether this node still leads in that term and that node is
	// still in the configuration. Nil until raft has started.
	leads atomic.Pointer[func(term uint64, id string) bool]
	again time.Duration // how often leads is asked while entries wait

	release sync.Once
	closing chan struct{}
}

func newTransport(cfg Config, s *stream, resolve func(string) string) *transport {
	inner := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger:                  newHCLog(cfg.Logger),
		Stream:                  s,
		MaxPool:                 3,
		MaxRPCsInFlight:         1,
		Timeout:                 cfg.Timing.times(cfg.Timing.RPC),
		MsgpackUseNewTimeFormat: true,
	})
	// How long a snapshot may take: a timeout for every so many bytes. The peer
	// writes them to its disk before it answers.
	inner.TimeoutScale = 16 << 10
	return &transport{
		inner:    inner,
		stream:   s,
		resolve:  resolve,
		contacts: newContacts(cfg.Logger),
		again:    cfg.Timing.times(cfg.Timing.Heartbeat),
		closing:  make(chan struct{}),
	}
}

// target is where to dial the server: where gossip sees it, else as configured.
func (t *transport) target(id raft.ServerID, addr raft.ServerAddress) raft.ServerAddress {
	if known := t.resolve(string(id)); known != "" {
		return target(string(id), known)
	}
	return target(string(id), string(addr))
}

// SetHeartbeatHandler implements raft.Transport by leaving the handler out.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, addr raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if !isHeartbeat(args) {
		t.await(string(id), args.Term)
		t.gate.pass(string(id), t.closing)
	}
	sent := time.Now()
	err := t.inner.AppendEntries(id, t.target(id, addr), args, resp)
	t.note(string(id), err)
	if err != nil || !resp.Success {
		return err
	}
	t.vouched(string(id), sent)
	if !isHeartbeat(args) {
		t.acknowledged(string(id), args.PrevLogEntry+uint64(len(args.Entries)))
	}
	return nil
}

// isHeartbeat tells raft's heartbeats as raft itself does.
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && len(a.Entries) == 0 && a.LeaderCommitIndex == 0
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, addr raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	t.await(string(id), args.Term)
	err := t.inner.InstallSnapshot(id, t.target(id, addr), args, resp, data)
	t.note(string(id), err)
	if err == nil && resp.Success {
		t.acknowledged(string(id), args.LastLogIndex)
	}
	return err
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	err := t.inner.RequestVote(id, t.target(id, addr), args, resp)
	t.note(string(id), err)
	return err
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, addr raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	err := t.inner.RequestPreVote(id, t.target(id, addr), args, resp)
	t.note(string(id), err)
	return err
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(id raft.ServerID, addr raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.inner.TimeoutNow(id, t.target(id, addr), args, resp)
}

// AppendEntriesPipeline implements raft.Transport: there are none.
func (t *transport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.inner.Consumer() }

// LocalAddr implements raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return t.inner.LocalAddr() }

// EncodePeer implements raft.Transport.
func (t *transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// await returns once the peer is thought to answer, or when waiting has become
// pointless: the transport closes, this node leads in that term no more, or the
// peer is not in the configuration.
func (t *transport) await(id string, term uint64) {
	for {
		back := t.down(id)
		if leads := t.leads.Load(); back == nil || leads != nil && !(*leads)(term, id) {
			return
		}
		timer := time.NewTimer(t.again)
		select {
		case <-back:
		case <-timer.C:
		case <-t.closing:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// stopWaiting lets go of the entries that wait, so that raft can shut down.
func (t *transport) stopWaiting() { t.release.Do(func() { close(t.closing) }) }

// Close implements raft.WithClose. Idempotent.
func (t *transport) Close() error {
	t.stopWaiting()
	return t.inner.Close()
}
