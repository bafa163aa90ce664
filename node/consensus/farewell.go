package consensus

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// farewellEntries is how many entries a server may lack to be sent them at last.
const farewellEntries = 64

// farewell sends a removed server the log up to its removal, if it answers at
// all. Raft means to do so, but gives it up when a request to the server happens
// to be under way. A server that does not know that it was removed looks for a
// leader for ever.
func (p *Peer) farewell(ctx context.Context, s Server, index uint64) error {
	if p.engine.trans.down(s.ID) != nil {
		return nil
	}
	term := p.engine.raft.CurrentTerm()
	_, last := p.engine.trans.seen(s.ID)
	for ctx.Err() == nil {
		req, err := p.entriesAfter(last, index, term)
		if err != nil {
			return err
		}
		var resp raft.AppendEntriesResponse
		id, addr := raft.ServerID(s.ID), raft.ServerAddress(s.Address)
		if err := p.engine.trans.inner.AppendEntries(id, p.engine.trans.target(id, addr), req, &resp); err != nil {
			return err
		}
		if resp.Success || resp.Term > term || last == 0 {
			return nil
		}
		last = min(last-1, resp.LastLog)
	}
	return ctx.Err()
}

// entriesAfter is the request of this leader for the log after last, up to index.
func (p *Peer) entriesAfter(last, index, term uint64) (*raft.AppendEntriesRequest, error) {
	if index > last+farewellEntries {
		return nil, fmt.Errorf("it lacks %d entries", index-last)
	}
	req := &raft.AppendEntriesRequest{
		RPCHeader:    raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(p.cfg.NodeID), Addr: []byte(p.Addr())},
		Term:         term,
		PrevLogEntry: last,
		// The entry of the removal, which this leader has seen committed.
		LeaderCommitIndex: index,
	}
	if last > 0 {
		var before raft.Log
		if err := p.engine.logs.GetLog(last, &before); err != nil {
			return nil, err
		}
		req.PrevLogTerm = before.Term
	}
	for i := last + 1; i <= index; i++ {
		l := new(raft.Log)
		if err := p.engine.logs.GetLog(i, l); err != nil {
			return nil, err
		}
		req.Entries = append(req.Entries, l)
	}
	return req, nil
}
