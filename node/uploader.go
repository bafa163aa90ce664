package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/spool"
)

// deliverer hands files to collectors. httpapi.Sender is the real one.
type deliverer interface {
	Put(ctx context.Context, to httpapi.Peer, o httpapi.Offer) (httpapi.Receipt, error)
	PutBatch(ctx context.Context, to httpapi.Peer, os []httpapi.Offer) ([]httpapi.Result, error)
}

// uploaderConfig is what one uploader needs beside its outbox.
type uploaderConfig struct {
	Name    string        // of the outbox, for rules and status
	MaxConn int           // requests per collector at the same time
	Window  int           // items held in memory, shared by the collectors
	MaxAge  time.Duration // 0: no limit
	Logger  *slog.Logger
}

// uploader empties one outbox: it claims what is ready, keeps a queue for each
// collector, sends, and finishes what every collector has.
//
// Goroutines: pickLoop (reads the directories and claims), timerLoop (back-off
// and fail-over), finishLoop (removes what is over), and one for each request.
// They share the state below mu. Lock order: the outbox's own lock comes
// first, since it calls admit and skipClaim while it looks around; so no method
// of the outbox is ever called with mu held.
type uploader struct {
	cfg    uploaderConfig
	outbox *spool.Outbox
	send   deliverer
	log    *slog.Logger

	cancel context.CancelFunc
	ctx    context.Context // ends every wait when Close begins
	wg     sync.WaitGroup
	wake   chan struct{} // capacity 1: pickLoop has work
	ended  chan struct{} // capacity 1: finishLoop has work
	rearm  chan struct{} // capacity 1: timerLoop must look at the clock anew

	cursor spool.Cursor // of pickLoop alone, through the claims on disk

	mu      sync.Mutex
	closing bool
	routes  routes
	turn    int // for taking turns among equally busy collectors
	active  map[claimKey]*tracked
	targets map[fsm.CollectorID]*target
	down    map[fsm.CollectorID]bool // of whose nodes gossip says that they are dead
	newest  claimKey                 // of the claims that this run made; zero before the first
	planned map[string]plan          // admitted by the current Pick, by name
	delayed delayQueue               // debts that wait for a back-off of their own

	over       []*tracked // waiting for finishLoop
	unfinished []*tracked // could not be finished; over again at finishAt
	finishAt   time.Time

	unrouted  map[string]*spool.SeqSet // claims without a collector, by reason
	recovered bool                     // every claim on disk is known
	rewind    bool                     // pickLoop is to read the claims from the beginning
	readAt    time.Time                // when to read them again after an error; zero: no need
	begun     bool                     // pickLoop is in the middle of reading them
	paged     int                      // parked claims brought back since the reading began
	fruitless bool                     // a whole reading brought nothing back; wait for a change
	waiting   bool                     // pickLoop waits for room
	passAgain bool                     // files were passed by that there is room for now
	stale     bool                     // items planned with older routes may be active
}

// openUploader starts an uploader on an open outbox, which Close does not
// close: the node opened it. Claims of earlier runs are taken up again.
func openUploader(cfg uploaderConfig, ob *spool.Outbox, send deliverer, r routes) *uploader {
	ctx, cancel := context.WithCancel(context.Background())
	u := &uploader{
		cfg: cfg, outbox: ob, send: send, log: cfg.Logger, ctx: ctx, cancel: cancel,
		wake: make(chan struct{}, 1), ended: make(chan struct{}, 1), rearm: make(chan struct{}, 1),
		active: map[claimKey]*tracked{}, targets: map[fsm.CollectorID]*target{},
		planned: map[string]plan{}, unrouted: map[string]*spool.SeqSet{},
	}
	u.setRoutes(r)
	u.wg.Go(u.pickLoop)
	u.wg.Go(u.timerLoop)
	u.wg.Go(u.finishLoop)
	poke(u.wake)
	return u
}

// Close stops claiming, waits for the requests under way until ctx ends, then
// cuts them, and returns when every goroutine has ended. What was not finished
// stays claimed and is taken up by the next start.
func (u *uploader) Close(ctx context.Context) error {
	u.mu.Lock()
	u.closing = true
	u.mu.Unlock()
	u.awaitIdle(ctx)
	u.cancel()
	u.wg.Wait()
	u.drainOver(context.WithoutCancel(ctx))
	return u.cursor.Close()
}

// awaitIdle waits until no request is under way or ctx ends.
func (u *uploader) awaitIdle(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for u.inFlight() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (u *uploader) inFlight() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, t := range u.targets {
		n += t.itemsSending
	}
	return n
}

// rescan is what the schedule calls: look at the whole outbox again.
func (u *uploader) rescan() {
	u.mu.Lock()
	u.fruitless = false
	u.mu.Unlock()
	u.outbox.Rescan()
	poke(u.wake)
}

// poke leaves a signal unless one is waiting already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// canceled reports whether an error only says that the uploader is closing.
func (u *uploader) canceled(err error) bool {
	return u.ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, spool.ErrClosed))
}
