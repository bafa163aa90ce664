package node

import (
	"fmt"
	"path/filepath"
	"sync"
)

// identityKeeper holds the identity of a running node. Safe for concurrent use.
type identityKeeper struct {
	dir string

	mu sync.Mutex
	id identity
}

func (k *identityKeeper) get() identity {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.id
}

// joined notes the network that the node is part of. Durable when it returns nil.
func (k *identityKeeper) joined(networkID string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.id.joined(k.dir, networkID)
}

// setLeaving notes that the node is about to be let go, or that it was not.
// Durable when it returns nil.
func (k *identityKeeper) setLeaving(leaving bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.id
	next.Leaving = leaving
	if err := writeDurably(filepath.Join(k.dir, identityFile), next); err != nil {
		return fmt.Errorf("note that the node leaves: %w", err)
	}
	k.id = next
	return nil
}

// belongs returns an error when a network is another than the node's own. One
// that has no id yet may become its.
func (k *identityKeeper) belongs(networkID string) error {
	own := k.get().NetworkID
	if own == "" || networkID == "" || own == networkID {
		return nil
	}
	return fmt.Errorf("it is of another network (%s) than this node (%s)", networkID, own)
}
