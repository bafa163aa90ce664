package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Arrival is what is known of a file before its first byte.
type Arrival struct {
	Key               string    // the id, or a stranger's key; "" for a plain PUT
	Name              string    // decoded once; the inbox says whether it is legal
	Size              int64     // of the whole file in bytes; -1 when unknown
	Digest            *Digest   // of the whole file; nil when not announced
	MTime             time.Time // UTC; zero when unknown
	Hops              string    // ids of the nodes passed, "a, b", first to last
	PossibleDuplicate bool      // another collector of the cluster may have it
}

// Inbox is where a Collector puts files. Its errors are the sentinels of this
// package, a *DeliveredError or an *OffsetError, or wrap one of them; all others
// are answered 500. The receipts need no Collector and no Durability. All
// methods may be called at the same time.
type Inbox interface {
	// Begin decides about a new file before its body is read.
	Begin(ctx context.Context, a Arrival) (Staging, error)
	// Resume goes on with a file of which offset bytes are on stable storage.
	Resume(ctx context.Context, a Arrival, offset int64) (Staging, error)
	// Progress tells how far an upload has come: ErrUnknownUpload when nothing
	// is known of it, ErrUnderWay while it is being received.
	Progress(ctx context.Context, key string) (Progress, error)
	// Settle notes up to where everything of key's outbox is over. It returns at
	// once, and passes over a key that is none of ours.
	Settle(key string, marks []Mark)
}

// Staging is a file on its way into an inbox. One goroutine writes it; exactly
// one of Publish, Keep and Drop ends it.
type Staging interface {
	io.Writer
	// Publish checks size and digest and returns when the file is durable and
	// visible. It may wait for a group of others.
	Publish(ctx context.Context) (Receipt, error)
	// Keep makes durable what has been written, for a later Resume. An inbox may
	// find it not worth keeping.
	Keep() error
	// Drop removes what has been written.
	Drop() error
}

// Progress is how far an upload has come.
type Progress struct {
	Offset  int64    // bytes on stable storage
	Size    int64    // of the whole file; -1 when unknown
	Receipt *Receipt // it is published, and Offset and Size do not matter; nil when it is not
}

// CollectorConfig says what a collector is and what it takes.
type CollectorConfig struct {
	ID      string // stands in every receipt
	Cluster string // that it collects for; a file meant for another is refused. "" takes any
	NodeID  string // for the line at GET /
	Inbox   Inbox

	// MaxFileBytes is the largest file; 0 leaves it to the inbox.
	MaxFileBytes int64
	// MaxHops is how many nodes a file may have passed; default 16.
	MaxHops int
	// MinRate is how fast a body must arrive, in bytes per second, and
	// RateWindow the time over which that is asked, so also the longest stall.
	// Defaults: 16 KiB/s, 10 s.
	MinRate    int64
	RateWindow time.Duration
	// Logger gets a line per file at debug, and refusals that someone may have
	// to act on as warnings, at most one a minute for each kind. nil discards.
	Logger *slog.Logger
}

// answerTime is how long a peer may take to read an answer.
const answerTime = 30 * time.Second

// Collector is the endpoint that files are delivered to:
//
//	PUT   /<escaped name>  a file            201 or 200 with its receipt
//	POST  /                a batch           200 with one line per part
//	HEAD  /<escaped name>  how far is it?    204, or 200 when it is published
//	PATCH /<escaped name>  the rest of it    201 or 200, or 204 when more is to come
//	GET   /                what this is, in one line
//
// Nothing of a body is read before the inbox has decided to take it, so a peer
// that says "Expect: 100-continue" sends none in vain. A file whose body is
// whole is published even if its sender is gone by then. A Collector is an
// http.Handler and safe for concurrent use; it starts nothing and needs no
// Close.
type Collector struct {
	cfg      CollectorConfig
	origin   *http.CrossOriginProtection
	handler  http.Handler
	warnings warnings
	slots    chan struct{} // one for each part of a batch that is staged and not yet published
}

// NewCollector returns the endpoint of one collector.
func NewCollector(cfg CollectorConfig) *Collector {
	cfg.MaxHops = cmp.Or(cfg.MaxHops, MaxHops)
	cfg.MinRate = cmp.Or(cfg.MinRate, 16<<10)
	cfg.RateWindow = cmp.Or(cfg.RateWindow, 10*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{cfg: cfg, origin: http.NewCrossOriginProtection(), slots: make(chan struct{}, maxStagedParts)}
	c.handler = authorize(allowAll, RightDeliver, http.HandlerFunc(c.serve))
	return c
}

// ServeHTTP answers one request.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.handler.ServeHTTP(w, r)
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	body := newPacedBody(w, r, c.cfg.RateWindow, c.cfg.MinRate)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	err := c.dispatch(w, r, body)
	if err == nil {
		return
	}
	c.beforeAnswer(w, body)
	if off, ok := errors.AsType[*OffsetError](err); ok {
		w.Header().Set(headerOffset, formatCount(off.Have))
	}
	p := WriteProblem(w, r, err)
	c.logRefusal(r.Context(), &p, err, "peer", r.RemoteAddr, "method", r.Method, "path", r.URL.Path)
}

// dispatch calls what answers the request. An error means that nothing has
// been written yet.
func (c *Collector) dispatch(w http.ResponseWriter, r *http.Request, body *pacedBody) error {
	if err := c.origin.Check(r); err != nil {
		return fmt.Errorf("%w: %w", ErrCrossOrigin, err)
	}
	// Without the cancel: a client that closes at once, with its whole request
	// in our buffers, has delivered its file all the same.
	ctx := context.WithoutCancel(r.Context())
	root, allowed := r.URL.Path == "/", "HEAD, PATCH, PUT"
	if root {
		allowed = "GET, HEAD, POST"
	}
	switch {
	case r.Method == http.MethodPut:
		return c.put(ctx, w, r, body)
	case r.Method == http.MethodPatch && !root:
		return c.patch(ctx, w, r, body)
	case r.Method == http.MethodHead && !root:
		return c.head(ctx, w, r, body)
	case r.Method == http.MethodPost && root:
		return c.batch(ctx, w, r, body)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && root:
		c.hello(w, body)
		return nil
	}
	w.Header().Set("Allow", allowed)
	return ErrMethod
}

// hello says in a line what this is, for a person who has found the port.
func (c *Collector) hello(w http.ResponseWriter, body *pacedBody) {
	c.beforeAnswer(w, body)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintf(w, "bucket-relay collector %s of cluster %q on node %s: PUT /<name> delivers a file\n",
		c.cfg.ID, c.cfg.Cluster, c.cfg.NodeID) // the peer may be gone
}

// beforeAnswer bounds the time that the answer may take.
func (c *Collector) beforeAnswer(w http.ResponseWriter, body *pacedBody) {
	body.giveUp()
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(answerTime)) // net/http takes it off again
}

// check refuses what this collector must not take, whatever the inbox says, and
// passes on what the sender says of earlier files.
func (c *Collector) check(m Meta) error {
	if m.Cluster != "" && c.cfg.Cluster != "" && m.Cluster != c.cfg.Cluster {
		return fmt.Errorf("%w: this one serves %s", ErrWrongCluster, c.cfg.Cluster)
	}
	if len(m.Hops) > c.cfg.MaxHops {
		return fmt.Errorf("%w: %d, more than %d", ErrTooManyHops, len(m.Hops), c.cfg.MaxHops)
	}
	if len(m.Settled) > 0 {
		c.cfg.Inbox.Settle(m.Key, m.Settled)
	}
	return nil
}

// arrival joins what path, headers and length say of a file.
func arrival(name string, m Meta, size int64) Arrival {
	return Arrival{
		Key: m.Key, Name: name, Size: size, Digest: m.Digest, MTime: m.MTime,
		Hops: formatHops(m.Hops), PossibleDuplicate: m.PossibleDuplicate,
	}
}

// sign completes the receipt of an arrival.
func (c *Collector) sign(r Receipt, a Arrival) Receipt {
	r.ID = cmp.Or(r.ID, a.Key)
	r.Name = cmp.Or(r.Name, a.Name)
	r.Collector, r.Durability = c.cfg.ID, DurabilityGroup
	return r
}

// logRefusal writes a refusal to the log: as a warning when someone may have to
// act, but not for every file of a million.
func (c *Collector) logRefusal(ctx context.Context, p *Problem, err error, attrs ...any) {
	level := slog.LevelDebug
	if worthWarning(err) && c.warnings.due(p.Code, time.Now()) {
		level = slog.LevelWarn
	}
	attrs = append(attrs, "code", p.Code, "request_id", p.RequestID, "err", err)
	c.cfg.Logger.Log(ctx, level, "delivery refused", attrs...)
}

// warningPause is how long a kind of refusal is not warned of again.
const warningPause = time.Minute

// warnings remembers when each kind of refusal was last warned of. The zero
// value is ready.
type warnings struct {
	mu   sync.Mutex
	last map[string]time.Time // by code, of which there are few; guarded by mu
}

func (w *warnings) due(code string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if last, ok := w.last[code]; ok && now.Sub(last) < warningPause {
		return false
	}
	if w.last == nil {
		w.last = map[string]time.Time{}
	}
	w.last[code] = now
	return true
}
