package consensus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/bucket-relay/bucket-relay/fsm"
)

// Peer is this node's part in raft. All its methods are safe for concurrent use.
//
// Every node has one, also those that are no servers of raft: theirs waits to be
// adopted by a leader. Each method that waits does so no longer than its context
// says, and returns ErrClosed after Close.
type Peer struct {
	cfg     Config // with defaults filled in
	log     *slog.Logger
	machine *machine
	engine  *engine
	lead    *leadership
	news    *news
	wedge   *wedge
	former  *former

	turn      chan struct{} // holds one token: who decides on the configuration
	line      chan struct{} // holds one token: who puts a command in line
	confirmed confirmed
	notify    chan bool                         // raft's word on whether this node leads
	failed    chan error                        // room for one
	reasons   atomic.Pointer[map[string]string] // of the leader's loop; nil elsewhere

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup
	close  func(context.Context) error
}

// Open starts the peer with the state that cfg.Dir has. With none it forms a
// network as cfg.Expect says, or waits to be adopted; Open does not wait for it.
//
// Errors: what Config.Validate finds; ErrRunning when the store is locked;
// otherwise what keeps the disk or the port from being used. ctx bounds Open only.
func Open(ctx context.Context, cfg Config) (*Peer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	p := &Peer{
		cfg:    cfg,
		log:    cfg.Logger,
		lead:   newLeadership(),
		line:   make(chan struct{}, 1),
		turn:   make(chan struct{}, 1),
		notify: make(chan bool, 8),
		failed: make(chan error, 1),
	}
	p.news = newNews(p.look)
	p.wedge = &wedge{ask: p.barrier, limit: cfg.Timing.Wedged}
	p.machine = newMachine(fsm.New(), p.fail)
	p.former = newFormer(p)
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.close = onceClose(p.shutDown)
	if err := p.start(ctx); err != nil {
		p.cancel()
		p.loops.Wait()
		return nil, err
	}
	return p, nil
}

func (p *Peer) start(ctx context.Context) error {
	t := p.cfg.Timing
	g := &guard{hang: t.Hang, fatal: t.HangFatal, withdraw: p.withdraw, failed: p.fail, lastGood: time.Now()}
	gossip := &addresses{members: p.cfg.Members}
	p.loops.Go(p.drainLoop) // before raft, which blocks when nobody takes its word
	var err error
	p.engine, err = openEngine(ctx, p.cfg, p.machine, g, gossip.of, p.networkID, p.notify)
	if err != nil {
		return err
	}
	if err := p.machine.Failed(); err != nil {
		return errors.Join(err, p.engine.close(t.Shutdown))
	}
	leads := p.leadsFor
	p.engine.trans.leads.Store(&leads)
	p.loops.Go(func() { p.lead.run(p.ctx, func(ctx context.Context) { p.cfg.lead(ctx, p) }) })
	p.loops.Go(p.probeLoop)
	p.loops.Go(p.watchLoop)
	p.loops.Go(p.formUntilState)
	return nil
}

// Addr is the host:port that peers dial.
func (p *Peer) Addr() string { return p.engine.stream.addr.String() }

// FSM is the replicated state. Only raft may change it.
func (p *Peer) FSM() *fsm.FSM { return p.machine.FSM }

// Failed yields the error that the node must stop for, once: the state machine met
// a command it does not know, the disk failed (ErrDisk), or raft is stuck
// (ErrWedged). Until it stops, the peer takes part in nothing.
func (p *Peer) Failed() <-chan error { return p.failed }

func (p *Peer) fail(err error) {
	select {
	case p.failed <- err:
		p.log.Error("raft cannot go on", "err", err)
	default: // the first one counts
	}
}

// withdraw takes this node out of raft, or back in, as its disk does.
func (p *Peer) withdraw(gone bool) {
	p.lead.withdraw(gone)
	p.news.poke()
	if gone {
		p.log.Error("disk does not answer, withdrawn from raft")
		return
	}
	p.log.Warn("disk answers again, back in raft")
}

// drainLoop takes raft's word at once: raft waits for whoever takes it.
func (p *Peer) drainLoop() {
	for {
		select {
		case leads := <-p.notify:
			p.lead.elect(leads)
			p.news.poke()
		case <-p.ctx.Done():
			return
		}
	}
}

// probeLoop tries the disk whenever nothing else has done so for a while.
func (p *Peer) probeLoop() {
	g := p.engine.guard
	for {
		if idle := g.quietFor(); idle < p.cfg.Timing.Probe {
			if !pause(p.ctx, p.cfg.Timing.Probe-idle) {
				return
			}
			continue
		}
		done := make(chan error, 1)
		go func() { done <- g.do("probe", p.probe) }() // ends with the disk's answer, or with the guard's patience
		select {
		case err := <-done:
			if err != nil {
				return // the guard has said so
			}
		case <-p.ctx.Done(): // Close does not wait for a disk that hangs
			return
		}
	}
}

// probe tries the disk. What comes of it while the node closes, and the file with
// it, says nothing about the disk.
func (p *Peer) probe() error {
	if err := p.cfg.disk.probe(p.engine.probe); err != nil && p.ctx.Err() == nil {
		return err
	}
	return nil
}

// formUntilState runs the former for as long as there is no raft state.
func (p *Peer) formUntilState() {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	var former sync.WaitGroup
	if !p.hasState() {
		former.Go(func() { p.formLoop(ctx) })
	}
	for !p.hasState() && ctx.Err() == nil {
		changed := p.news.changed()
		if p.hasState() {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	cancel()
	former.Wait()
}

// Close hands the leadership over if this node has it and others can take it,
// and stops raft. It is idempotent; every call returns what the first returned.
func (p *Peer) Close(ctx context.Context) error { return p.close(ctx) }

func (p *Peer) shutDown(ctx context.Context) error {
	t := p.cfg.Timing
	if p.engine.raft.State() == raft.Leader && !p.lead.gone() && p.standby("") != "" {
		// While everything still works: the others need not wait for a timeout.
		if err := p.transfer(ctx, ""); err != nil {
			p.log.Warn("leadership not handed over", "err", err)
		}
	}
	p.cancel() // the loops, which use raft
	p.loops.Wait()
	patience := t.times(t.Shutdown)
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, max(lastMoment, time.Until(deadline)))
	}
	if err := p.engine.close(patience); err != nil {
		return fmt.Errorf("close raft: %w", err)
	}
	return nil
}

// lastMoment is how long raft is given to stop when there is no time left: mostly
// it is enough to close the store.
const lastMoment = 250 * time.Millisecond

// onceClose makes f idempotent.
func onceClose(f func(context.Context) error) func(context.Context) error {
	var once sync.Once
	var err error
	return func(ctx context.Context) error {
		once.Do(func() { err = f(ctx) })
		return err
	}
}
