package node

import (
	"fmt"
	"sync"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// maxClients bounds the clients that are kept. Beyond it all are made anew,
// which costs a connection each.
const maxClients = 64

// clientPool keeps the connections to the admin APIs of other nodes. Safe for
// concurrent use.
type clientPool struct {
	mu sync.Mutex
	by map[string]*httpapi.Client
}

func newClientPool() *clientPool { return &clientPool{by: map[string]*httpapi.Client{}} }

// get returns a client of the node at an address. The client stays the pool's.
func (p *clientPool) get(addr string) (*httpapi.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.by[addr]; c != nil {
		return c, nil
	}
	c, err := httpapi.NewClient(addr)
	if err != nil {
		return nil, fmt.Errorf("node at %s: %w", addr, err)
	}
	if len(p.by) >= maxClients {
		p.closeLocked()
	}
	p.by[addr] = c
	return c, nil
}

func (p *clientPool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeLocked()
}

// closeLocked closes idle connections; requests under way go on.
func (p *clientPool) closeLocked() {
	for addr, c := range p.by {
		c.Close()
		delete(p.by, addr)
	}
}
