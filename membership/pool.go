package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Pool is this node's seat in the gossip. Safe for concurrent use.
//
// Goroutines: logLoop writes what was said under locks, updateLoop tells the
// others of changes and forgets what is old, joinLoop looks for nodes that
// should be there and are not. Close waits for them. The library's own end
// within a probe interval or two of Close; it offers no way to wait for them.
type Pool struct {
	config    Config
	gossip    string // this node's name in gossip
	bridge    *bridge
	transport Transport
	list      *memberlist.Memberlist // set before a loop starts

	dirty  chan struct{} // one waiting: the others are to be told of this node
	reseed chan struct{} // one waiting: look for nodes now
	lifecycle

	// mu guards what follows. The library calls back with its own lock held, so
	// nothing of the library is called while mu is held.
	mu      sync.Mutex
	table   *table
	meta    []byte // of table.self, encoded
	refused refusals
	seeds   []string
	alone   string // why nobody is found; empty when someone is, or nobody is looked for
	changed chan struct{}
}

// lifecycle is what the end of a pool takes.
type lifecycle struct {
	loops   context.Context // ends when the node departs: nothing new is begun
	stop    context.CancelFunc
	wg      sync.WaitGroup
	updated chan struct{} // closed when updateLoop has ended
	stopLog context.CancelFunc
	logWait sync.WaitGroup

	exit     chan struct{} // taken by Leave and Close, one at a time, while they wait
	departed bool
	closed   bool
}

// Open takes part in the gossip. It returns as soon as this node listens; the
// others are looked for in the background, for as long as the pool is open.
// ctx bounds the opening only.
//
// Errors: all that is wrong with the configuration at once, ErrAdvertise among
// it; net errors when the address cannot be listened on.
func Open(ctx context.Context, config Config) (*Pool, error) {
	if config.Profile == (Profile{}) {
		config.Profile = DefaultProfile()
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	meta, err := config.Meta.encode()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		config: config, gossip: config.Meta.gossipName(), bridge: newBridge(config.Logger), transport: config.Transport,
		dirty: make(chan struct{}, 1), reseed: make(chan struct{}, 1), changed: make(chan struct{}),
		table: newTable(Member{Meta: config.Meta, State: StateAlive, Since: time.Now()}),
		meta:  meta, refused: make(refusals), seeds: slices.Clone(config.Seeds),
	}
	p.exit, p.updated = make(chan struct{}, 1), make(chan struct{})
	p.bridge.heard = p.heard
	if err := p.listen(ctx); err != nil {
		return nil, err
	}
	logs, stopLog := context.WithCancel(context.Background())
	p.stopLog = stopLog
	p.logWait.Go(func() { p.bridge.logLoop(logs) })
	p.loops, p.stop = context.WithCancel(context.Background())
	p.wg.Go(p.updateLoop)
	p.wg.Go(p.joinLoop)
	return p, nil
}

// listen opens the transport and the library on it.
func (p *Pool) listen(ctx context.Context) error {
	if p.transport == nil {
		s, err := openSockets(ctx, p.config.Listen, p.bridge)
		if err != nil {
			return err
		}
		p.transport = s
	}
	ip, problem := advertise(ctx, p.transport, p.config.Advertise)
	if problem != nil {
		p.bridge.log(slog.LevelWarn, "advertised name not used in gossip, taking the address that is listened on",
			slog.String("advertise", p.config.Advertise), slog.Any("err", problem))
	}
	c := p.config.Profile.listConfig()
	c.Name, c.Transport, c.Logger = p.gossip, p.transport, p.bridge.logger()
	back := callbacks{p}
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict, c.Ping = back, back, back, back, back, back
	if s, ok := p.transport.(*sockets); ok {
		c.AdvertisePort = int(s.listen.Port())
	}
	c.AdvertiseAddr, c.BindPort = ip, c.AdvertisePort
	self, port, err := p.transport.FinalAdvertiseAddr(c.AdvertiseAddr, c.AdvertisePort)
	if err == nil && self.IsUnspecified() {
		err = errors.New("every address of the machine is listened on")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrAdvertise, cmp.Or(problem, err)), p.transport.Shutdown())
	}
	p.table.self.Address = net.JoinHostPort(self.String(), strconv.Itoa(port))
	if p.list, err = memberlist.Create(c); err != nil {
		return errors.Join(err, p.transport.Shutdown())
	}
	return nil
}

// Addr is the host:port that the others reach this node's gossip by.
func (p *Pool) Addr() string { return p.table.self.Address } // does not change

// Self is this node as it shows itself. It is alive until Leave or Close.
func (p *Pool) Self() Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.self
}

// Members returns all nodes that are known, this one included, sorted by node
// id, one entry for each: the newest start that is there. Those that failed or
// stopped are shown for 72 hours, those that left for one. After Close it is
// what was known last.
func (p *Pool) Members() []Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.table.members()
}

// Changed returns a channel that is closed at the next change of Members,
// Refusals or Reason. Take it before reading them.
func (p *Pool) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Refusals returns the nodes that were not let in within the last two minutes,
// and the clashes of names among those that are there, sorted by name.
func (p *Pool) Refusals() []Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused.list(p.table.clashes())
}

// Reason says in words why no other node is found; empty when one is, or when
// there are no seeds to find one by.
func (p *Pool) Reason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alone
}

// Update changes what this node tells of itself. It never blocks; changes that
// follow each other closely are told once. The node id and the generation stay
// as they are. A change that breaks a rule of Meta is logged and not made. From
// the first network id on, nodes of another network are gone from Members.
//
// change is called with a lock held and must not call the pool.
func (p *Pool) Update(change func(*Meta)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	meta := p.table.self.Meta
	change(&meta)
	meta.NodeID, meta.Generation = p.table.self.NodeID, p.table.self.Generation
	if meta == p.table.self.Meta {
		return
	}
	encoded, err := meta.encode()
	if err != nil {
		p.bridge.log(slog.LevelError, "metadata not changed", slog.Any("err", err))
		return
	}
	p.table.self.Meta, p.meta = meta, encoded
	for _, m := range p.table.foreign() {
		p.table.drop(m.gossipName())
		p.refuseLocked(m, p.otherNetworkLocked(m.Meta))
	}
	p.changedLocked()
	wake(p.dirty)
}

// SetSeeds replaces the nodes to join through. Those that make no sense are
// logged and left out.
func (p *Pool) SetSeeds(seeds []string) {
	var good []string
	for _, seed := range seeds {
		if _, _, err := splitPort(seed, DefaultPort); err != nil {
			p.bridge.log(slog.LevelWarn, "seed left out", slog.Any("err", err))
			continue
		}
		good = append(good, seed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(p.seeds, good) {
		return
	}
	p.seeds = good
	wake(p.reseed)
}

// Forget removes a node that is gone from Members. One that is there stays.
func (p *Pool) Forget(nodeID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.table.forget(nodeID) {
		p.changedLocked()
	}
}

// changedLocked wakes all that wait for a change.
func (p *Pool) changedLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// wake leaves a token in a channel for one.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
