package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// ErrOthersAnswer is returned by Recover when another server of the network
// still runs. If they are a majority, nothing needs recovering; else they are to
// be stopped first, for they must not go on with what they have.
var ErrOthersAnswer = errors.New("other nodes of the network still run")

// recoverAsk bounds how long Recover waits for the answer of another node.
const recoverAsk = 3 * time.Second

// RecoverConfig says which node's network is to be recovered.
type RecoverConfig struct {
	DataDir string // of a node that does not run
	DryRun  bool   // only tell what is there, and what stands in the way
	Force   bool   // also when other nodes answer
	Logger  *slog.Logger
}

// Recovery is what Recover found, and what it did unless that was a dry run.
type Recovery struct {
	NodeID    string           `json:"node_id"`
	Name      string           `json:"name"`
	NetworkID string           `json:"network_id"`
	LastIndex uint64           `json:"last_index"` // of this node's log: compare it with the other nodes'
	LastTerm  uint64           `json:"last_term"`
	Servers   []RecoveryServer `json:"servers"` // the others of the network, sorted by id
	Done      bool             `json:"done"`
}

// RecoveryServer is another server of the network as this node knew it last.
type RecoveryServer struct {
	NodeID  string `json:"node_id"`
	Name    string `json:"name"`
	HTTP    string `json:"http"` // host:port of its admin API; empty: not known
	Voter   bool   `json:"voter"`
	Answers bool   `json:"answers"`
}

// Recover makes a node the only voter of its network, for when a majority of the
// voters is gone for good. Everything in its log holds from then on; changes
// that only the others had are lost. The others may not start again with the
// raft state that they have: they are to be wiped, and join anew.
//
// Errors: ErrOthersAnswer unless Force, with the Recovery that tells who; an
// error in words when the node runs, or the directory has no raft state. After
// an error nothing is changed. ctx bounds the questions to the others.
func Recover(ctx context.Context, cfg RecoverConfig) (r Recovery, err error) {
	id, err := readIdentity(filepath.Join(cfg.DataDir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("%s is no node's data directory: it has no %s", cfg.DataDir, identityFile)
	}
	if err != nil {
		return r, err
	}
	lock, err := lockDataDir(filepath.Join(cfg.DataDir, "lock"))
	if errors.Is(err, errDataDirLocked) {
		return r, fmt.Errorf("node %s runs in %s: stop it first", id.Name, cfg.DataDir)
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	raft := filepath.Join(cfg.DataDir, "raft")
	found, err := consensus.Inspect(raft)
	if err != nil {
		return r, err
	}
	r, address := recoveryOf(id, found)
	if address == "" {
		return r, fmt.Errorf("node %s is no server of its network, only a follower: recover one that is", id.Name)
	}
	askServers(ctx, r.Servers)
	if running := r.running(); len(running) > 0 && !cfg.Force {
		return r, fmt.Errorf("%w: %s", ErrOthersAnswer, strings.Join(running, ", "))
	}
	if cfg.DryRun {
		return r, nil
	}
	_, err = consensus.Recover(ctx, consensus.RecoverConfig{
		Dir: raft, NodeID: id.NodeID, Address: address, Force: cfg.Force, Logger: cfg.Logger,
	})
	r.Done = err == nil
	return r, err
}

// recoveryOf tells what a node's directory holds, and the address of the node's
// own raft, empty when it is no server.
func recoveryOf(id identity, in consensus.Inspection) (r Recovery, address string) {
	r = Recovery{
		NodeID: id.NodeID, Name: id.Name, NetworkID: cmp.Or(in.View.NetworkID, id.NetworkID),
		LastIndex: in.LastIndex, LastTerm: in.LastTerm, Servers: []RecoveryServer{},
	}
	for _, s := range in.Servers {
		if s.ID == id.NodeID {
			address = s.Address
			continue
		}
		one := RecoveryServer{NodeID: s.ID, Voter: s.Voter}
		for _, n := range in.View.Nodes {
			if n.ID == s.ID {
				one.Name, one.HTTP = n.Name, n.HTTP
			}
		}
		r.Servers = append(r.Servers, one)
	}
	return r, address
}

// askServers asks each of the others at once whether it runs. One that answers
// with another id is not the one that was meant: it was wiped.
func askServers(ctx context.Context, servers []RecoveryServer) {
	ctx, cancel := context.WithTimeout(ctx, recoverAsk)
	defer cancel()
	var wg sync.WaitGroup
	for i := range servers {
		s := &servers[i]
		client, err := httpapi.NewClient(s.HTTP)
		if err != nil {
			continue // its address is not known
		}
		wg.Go(func() {
			defer client.Close()
			status, err := client.Status(ctx)
			s.Answers = err == nil && status.NodeID == s.NodeID
		})
	}
	wg.Wait()
}

// running names the others that answer.
func (r Recovery) running() []string {
	var names []string
	for _, s := range r.Servers {
		if s.Answers {
			names = append(names, fmt.Sprintf("%s at %s", cmp.Or(s.Name, s.NodeID), s.HTTP))
		}
	}
	return names
}
