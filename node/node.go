package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/robfig/cron/v3"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// drainTime bounds how long Close waits for requests that are under way.
const drainTime = 10 * time.Second

// Node is one running node: its admin API, its collectors and its uploaders.
// All methods are safe for concurrent use.
type Node struct {
	version  string
	log      *slog.Logger
	id       identity
	lock     *os.File
	started  time.Time
	admin    *http.Server
	listener net.Listener
	wg       sync.WaitGroup
	cron     *cron.Cron

	collectors []*collectorRole
	uploaders  []*uploaderRole

	stopWaits context.CancelFunc // ends long polls
	closeOnce sync.Once
	closeErr  error
	failed    chan error // capacity 1: a listener ended by itself

	mu      sync.Mutex    // guards the roles while they are opened, and what follows
	cfg     Config        // as last loaded
	changed chan struct{} // closed and replaced when cfg changes
	ready   bool
	reason  string // why it is not ready
}

// Open starts a node and returns when it is ready: what a crash left is
// recovered, every listener listens. cfg must come from Load. On an error
// everything is as before, and the error names what stands in the way.
//
// ctx bounds the start only. version is reported by the API.
func Open(ctx context.Context, cfg Config, version string, log *slog.Logger) (_ *Node, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		version: version, log: log, started: time.Now(), cfg: cfg,
		changed: make(chan struct{}), failed: make(chan error, 1), reason: "starting",
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if err := n.openDataDir(); err != nil {
		return nil, err
	}
	// The admin API is first, so that a start that takes long explains itself.
	if err := n.openAdmin(ctx); err != nil {
		return nil, err
	}
	// Collectors come before uploaders: a node that relays to itself finds them.
	for _, c := range cfg.Collectors {
		r, err := openCollector(ctx, c, n.id.NodeID, log, n.fail)
		if err != nil {
			return nil, err
		}
		n.setRoles(func() { n.collectors = append(n.collectors, r) })
	}
	for _, c := range cfg.Uploaders {
		r, err := openUploaderRole(ctx, c, n.id.NodeID, cfg.Table, log)
		if err != nil {
			return nil, err
		}
		n.setRoles(func() { n.uploaders = append(n.uploaders, r) })
	}
	if err := n.startSchedule(); err != nil {
		return nil, err
	}
	n.setReady(true, "")
	n.warn()
	n.log.Info("ready", "name", cfg.Name, "node", n.id.NodeID, "http", n.Addr(), "version", version)
	return n, nil
}

func (n *Node) setRoles(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// roles returns the roles opened so far.
func (n *Node) roles() ([]*uploaderRole, []*collectorRole) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.uploaders), slices.Clone(n.collectors)
}

// openDataDir makes the data directory, locks it and counts the start.
func (n *Node) openDataDir() error {
	dir := n.cfg.DataDir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	lock, err := lockDataDir(filepath.Join(dir, "lock"))
	if err != nil {
		return fmt.Errorf("data_dir %s: %w", dir, err)
	}
	n.lock = lock
	n.id, err = openIdentity(dir, n.cfg.Name)
	return err
}

// openAdmin starts the admin API.
func (n *Node) openAdmin(ctx context.Context) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		httpapi.NewMetrics(n))
	limits := httpapi.DefaultLimits()
	ln, err := httpapi.Listen(ctx, n.cfg.HTTP, limits)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	var hosts []string
	if n.cfg.Advertise != "" {
		hosts = append(hosts, n.cfg.Advertise)
	}
	h := httpapi.NewAdmin(httpapi.AdminConfig{
		Reporter: n, DeadLetters: n, Registry: registry, Hosts: hosts, Logger: n.log.With("component", "admin"),
	})
	n.listener, n.admin = ln, httpapi.NewServer(h, limits, n.log)
	base, stop := context.WithCancel(context.Background())
	n.stopWaits = stop
	n.admin.BaseContext = func(net.Listener) context.Context { return base }
	n.wg.Go(func() {
		if err := n.admin.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("admin API stopped: %w", err))
		}
	})
	return nil
}

// startSchedule runs the rescans of all outboxes, in UTC. A rescan only leaves
// a signal, so one can't hold up another.
func (n *Node) startSchedule() error {
	n.cron = cron.New(cron.WithLocation(time.UTC), cron.WithLogger(cron.DiscardLogger),
		cron.WithChain(cron.SkipIfStillRunning(cron.DiscardLogger), cron.Recover(cron.DiscardLogger)))
	for _, r := range n.uploaders {
		if err := r.schedule(n.cron); err != nil {
			return err
		}
	}
	n.cron.Start()
	return nil
}

// warn says once, at the start, what an operator must know.
func (n *Node) warn() {
	for _, w := range n.cfg.Warnings {
		n.log.Warn("configuration", "file", w.File, "line", w.Line, "warning", w.Message, "remedy", w.Remedy)
	}
	if n.cfg.Insecure {
		n.log.Warn("insecure: whoever can reach the listeners can read, send and administer")
	}
}

// Addr is the address that the admin API listens on.
func (n *Node) Addr() string { return n.listener.Addr().String() }

// Failed yields an error when the node can't go on; then Close it.
func (n *Node) Failed() <-chan error { return n.failed }

func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
	default:
	}
}

// Reload puts new rules, filters and static table in place. Everything else in
// next needs a restart; restart names what of it changed.
func (n *Node) Reload(next Config) (restart []string) {
	n.mu.Lock()
	restart = Reloadable(n.cfg, next)
	table := next.Table
	if n.cfg.Network.Static == "" {
		// A network of one has the collectors that run, whatever next has added.
		table = n.cfg.Table
	}
	table.Index = n.cfg.Table.Index + 1
	n.cfg.Table = table
	bySpool := map[string]Uploader{}
	n.cfg.Uploaders = slices.Clone(n.cfg.Uploaders)
	for i, u := range n.cfg.Uploaders {
		for _, v := range next.Uploaders {
			if v.Spool == u.Spool {
				n.cfg.Uploaders[i].Nexthop, n.cfg.Uploaders[i].Filter = v.Nexthop, v.Filter
				bySpool[v.Spool] = v
			}
		}
	}
	close(n.changed)
	n.changed = make(chan struct{})
	n.mu.Unlock()
	ups, _ := n.roles()
	for _, r := range ups {
		if c, ok := bySpool[r.cfg.Spool]; ok {
			r.uploader.setRoutes(routesOf(c, table))
		}
	}
	n.log.Info("configuration reloaded", "index", table.Index)
	return restart
}

// Close stops the node and returns when all of it has stopped. The order: be
// unready, so that nobody new comes; end long polls, which would hold up the
// admin API; stop the schedule, which pokes uploaders; stop the uploaders, whose
// last requests may go to our own collectors; then the collectors; last the
// admin API, which can tell about the stop till then, and the lock.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	n.setReady(false, "stopping")
	if n.stopWaits != nil {
		n.stopWaits()
	}
	if n.cron != nil {
		<-n.cron.Stop().Done()
	}
	var errs []error
	ups, cols := n.roles()
	errs = append(errs, closeAll(ctx, ups)...)
	errs = append(errs, closeAll(ctx, cols)...)
	if n.admin != nil {
		if err := n.admin.Shutdown(ctx); err != nil {
			errs = append(errs, n.admin.Close())
		}
	}
	n.wg.Wait()
	if n.lock != nil {
		errs = append(errs, n.lock.Close())
	}
	return errors.Join(errs...)
}

// closeAll closes roles side by side: they share the time to drain.
func closeAll[R interface{ Close(context.Context) error }](ctx context.Context, roles []R) []error {
	errs := make([]error, len(roles))
	var wg sync.WaitGroup
	for i, r := range roles {
		wg.Go(func() { errs[i] = r.Close(ctx) })
	}
	wg.Wait()
	return errs
}

func (n *Node) setReady(ready bool, reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ready, n.reason = ready, reason
}

// Table returns the assignments as the node knows them now.
func (n *Node) Table() fsm.Table {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cfg.Table
}
