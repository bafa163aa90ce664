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
	id       *identityKeeper
	lock     *os.File
	started  time.Time
	admin    *http.Server
	listener net.Listener
	wg       sync.WaitGroup
	cron     *cron.Cron
	tables   *assignments
	book     *assignedBook // nil in a static network

	life      context.Context    // of requests; ends when close begins
	stopWaits context.CancelFunc // ends life, and with it long polls
	leaves    sync.WaitGroup     // the request to leave that is under way, if any
	stopLoops chan struct{}      // closed when the loops over the table are to end
	loops     sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
	failed    chan error    // capacity 1: the node can't go on
	gone      chan struct{} // closed when the node has left its network

	routing sync.Mutex // held while routes are given to the uploaders, so that the newest come last

	registering   context.CancelFunc // ends the loops of the registrars; nil while none run
	registrations sync.WaitGroup

	mu         sync.Mutex // guards what follows
	cfg        Config     // as last loaded
	ready      bool
	reason     string // why it is not ready
	closing    bool   // close has begun
	leaving    bool   // a request to leave is under way
	collectors []*collectorRole
	uploaders  []*uploaderRole
	registrars []*registrar
	member     *member         // of a network of full nodes; nil in another, and before it is open
	client     *client         // of a network followed over HTTP; likewise
	out        map[string]bool // nodes that are out of sight
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
		version: version, log: log, started: time.Now(), cfg: cfg, tables: newAssignments(cfg.Table),
		stopLoops: make(chan struct{}), gone: make(chan struct{}), failed: make(chan error, 1), reason: "starting",
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
	if err := n.openNetwork(ctx); err != nil {
		return nil, err
	}
	// Collectors come before uploaders: a node that relays to itself finds them.
	for _, c := range cfg.Collectors {
		if err := n.addCollector(ctx, c); err != nil {
			return nil, err
		}
	}
	table, _ := n.tables.get()
	for _, c := range cfg.Uploaders {
		r, err := openUploaderRole(ctx, c, n.id.get().NodeID, table, log)
		if err != nil {
			return nil, err
		}
		n.setRoles(func() { n.uploaders = append(n.uploaders, r) })
	}
	n.startLoops()
	n.startRegistering()
	if err := n.startSchedule(); err != nil {
		return nil, err
	}
	n.setReady(true, "")
	n.warn()
	n.log.Info("ready", "name", cfg.Name, "node", n.id.get().NodeID, "http", n.Addr(), "version", version)
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
	id, err := openIdentity(dir, n.cfg.Name)
	if err != nil {
		return err
	}
	n.id = &identityKeeper{dir: dir, id: id}
	if n.cfg.Kind() == KindStatic {
		return nil
	}
	n.tables = openAssignments(dir, n.log)
	if id.NetworkID == "" {
		n.tables.forgetIndex()
	}
	n.book, err = openAssignedBook(dir)
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
		Reporter: n, DeadLetters: n, Network: n.networkAPI(), Registry: registry, Hosts: hosts,
		Logger: n.log.With("component", "admin"),
	})
	n.listener, n.admin = ln, httpapi.NewServer(h, limits, n.log)
	base, stop := context.WithCancel(context.Background())
	n.life, n.stopWaits = base, stop
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

// Gone is closed when the node has left its network for good; then Close it.
func (n *Node) Gone() <-chan struct{} { return n.gone }

// Reload puts new rules, filters and static table in place. Everything else in
// next needs a restart; restart names what of it changed.
func (n *Node) Reload(next Config) (restart []string) {
	n.mu.Lock()
	restart = Reloadable(n.cfg, next)
	n.cfg.Uploaders = slices.Clone(n.cfg.Uploaders)
	for i, u := range n.cfg.Uploaders {
		for _, v := range next.Uploaders {
			if v.Spool == u.Spool {
				n.cfg.Uploaders[i].Nexthop, n.cfg.Uploaders[i].Filter = v.Nexthop, v.Filter
			}
		}
	}
	static := n.cfg.Kind() == KindStatic
	n.mu.Unlock()
	if static {
		table := next.Table
		table.Index = n.tables.index() + 1
		n.tables.replace(table)
	}
	n.route()
	n.log.Info("configuration reloaded", "index", n.tables.index())
	return restart
}

// Close stops the node and returns when all of it has stopped. The order: be
// unready, so that nobody new comes; end long polls, which would hold up the
// admin API; stop the schedule and what follows the table, which poke uploaders;
// stop the uploaders, whose last requests may go to our own collectors; then the
// collectors; then the part in the network, while others still answer; last the
// admin API, which can tell about the stop till then, and the lock.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	n.setReady(false, "stopping")
	n.setRoles(func() { n.closing = true })
	if n.stopWaits != nil {
		n.stopWaits()
	}
	n.leaves.Wait()
	if n.cron != nil {
		<-n.cron.Stop().Done()
	}
	n.stopRegistering()
	close(n.stopLoops)
	n.loops.Wait()
	var errs []error
	ups, cols := n.roles()
	errs = append(errs, closeAll(ctx, ups)...)
	errs = append(errs, closeAll(ctx, cols)...)
	errs = append(errs, n.closeNetwork())
	if n.admin != nil {
		if err := n.admin.Shutdown(ctx); err != nil {
			errs = append(errs, n.admin.Close())
		}
	}
	n.wg.Wait()
	errs = append(errs, n.forgetIfLeft())
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
	t, _ := n.tables.get()
	return t
}
