package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// client is the node's part in a network that it is no member of: it follows
// the table over HTTP and registers its collectors there, at the servers of the
// configuration. Each of them is a node of the network, a load balancer before
// several, or the network server of the original.
type client struct {
	cfg     Config
	log     *slog.Logger
	id      *identityKeeper
	tables  *assignments
	clients *clientPool

	ctx    context.Context // ends when close begins
	cancel context.CancelFunc
	wg     sync.WaitGroup

	missing map[fsm.CollectorID]time.Time // since when the original's server names them no more; of the follower alone

	mu       sync.Mutex
	reason   string          // why no table comes; empty when it does
	original map[string]bool // servers that speak the original's protocol alone
	answered string          // the server that answered last
}

// openClient starts to follow the table.
func openClient(cfg Config, id *identityKeeper, tables *assignments, log *slog.Logger) *client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{
		cfg: cfg, log: log.With("component", "network"), id: id, tables: tables, clients: newClientPool(),
		ctx: ctx, cancel: cancel, reason: "no server of the network has answered yet", original: map[string]bool{},
		missing: map[fsm.CollectorID]time.Time{},
	}
	f := follower{
		tables: tables, log: c.log, wait: followWait, servers: c.servers, clients: c.clients,
		report: c.report, belongs: c.belongs, foreign: c.foreign, ours: c.setOurs, spread: id.get().NodeID,
	}
	c.wg.Go(func() { f.follow(c.ctx, func() bool { return true }) })
	return c
}

func (c *client) close() {
	c.cancel()
	c.wg.Wait()
	c.clients.close()
}

func (c *client) servers() []string { return slices.Clone(c.cfg.Network.Servers) }

func (c *client) report(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason = reason
}

// belongs takes the network that answers first for the client's own, for good:
// a server of another one would lead the files somewhere else.
func (c *client) belongs(networkID string) error {
	if err := c.id.belongs(networkID); err != nil {
		return fmt.Errorf("%w; to follow it, remove %s and %s from data_dir", err, identityFile, tableFile)
	}
	own := c.id.get().NetworkID
	if networkID == "" && own != "" {
		return fmt.Errorf("it is in no network, this node follows %s", own)
	}
	if own == networkID {
		return nil
	}
	// A table of the original may be here; its index was counted by this node.
	c.tables.forgetIndex()
	if err := c.tables.save(); err != nil {
		return err
	}
	return c.id.joined(networkID)
}

// status completes what the node says of itself.
func (c *client) status(st *httpapi.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st.Role, st.NetworkID = httpapi.RoleClient, c.id.get().NetworkID
	if c.reason != "" && st.Ready {
		st.Ready, st.Reason = false, c.reason
	}
}

// foreign handles a server that does not speak our API: one of the original is
// asked for its clusters, at the pace of the heartbeat.
//
// Once the network has an id there is no way back: what else may be called at an
// address has no say in where files are owed to.
func (c *client) foreign(ctx context.Context, server *httpapi.Client) error {
	if own := c.id.get().NetworkID; own != "" {
		return fmt.Errorf("%s: %w; this node follows network %s; to follow another one, remove %s and %s from data_dir",
			server.Addr(), httpapi.ErrForeign, own, identityFile, tableFile)
	}
	clusters, err := c.originalClusters(ctx, server)
	if err != nil {
		return err
	}
	table, err := clusters.Table()
	if err != nil {
		return err
	}
	c.setOriginal(server.Addr())
	now, _ := c.tables.get()
	c.keepMissing(table, now)
	if table.Index = now.Index; !sameCollectors(table, now) {
		table.Index++
		c.tables.replace(table)
	}
	c.report("")
	timer := time.NewTimer(min(c.cfg.Network.Heartbeat, originalPoll))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil
}

// missingBeats is for how many heartbeats a collector stays that the original's
// server does not name any more.
const missingBeats = 3

// keepMissing puts collectors of the table at hand into the next one that are
// missing there, for some heartbeats. The original's server keeps its table in
// memory alone: after a restart it knows nobody until they register again, and
// what is owed to them is not to be forgiven meanwhile. One whose address is
// another's now is gone.
func (c *client) keepMissing(next, now fsm.Table) {
	known, places := map[fsm.CollectorID]bool{}, map[string]bool{}
	for _, cl := range next.Clusters {
		for _, m := range cl.Collectors {
			known[m.ID], places[m.HostPort()] = true, true
			delete(c.missing, m.ID)
		}
	}
	for name, was := range now.Clusters {
		is := next.Clusters[name]
		for _, m := range was.Collectors {
			if known[m.ID] || places[m.HostPort()] {
				continue
			}
			since, waits := c.missing[m.ID]
			if !waits {
				since = time.Now()
				c.missing[m.ID] = since
			}
			if time.Since(since) < missingBeats*c.cfg.Network.Heartbeat {
				is.Collectors = append(is.Collectors, m)
			} else {
				delete(c.missing, m.ID)
			}
		}
		if len(is.Collectors) > len(next.Clusters[name].Collectors) {
			is.Name, is.Mode, is.FailoverAfter = name, fsm.ModeAll, fsm.DefaultFailoverAfter
			fsm.SortCollectors(is.Collectors)
			next.Clusters[name] = is
		}
	}
}

func (c *client) originalClusters(ctx context.Context, server *httpapi.Client) (httpapi.OriginalClusters, error) {
	ctx, cancel := context.WithTimeout(ctx, followAnswer)
	defer cancel()
	return server.OriginalClusters(ctx)
}

// originalPoll is how often the original's network server is asked, at least:
// it has no way to wait for a change.
const originalPoll = 5 * time.Second

func (c *client) setOriginal(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.original[addr] {
		c.original[addr] = true
		c.log.Info("server speaks the original's protocol", "server", addr)
	}
}

// setOurs notes that a server speaks our API, whatever spoke there before.
func (c *client) setOurs(addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.original, addr)
}

// sameCollectors reports whether two tables have the same clusters with the same
// collectors, whatever their index is.
func sameCollectors(a, b fsm.Table) bool {
	if len(a.Clusters) != len(b.Clusters) {
		return false
	}
	for name, x := range a.Clusters {
		y, ok := b.Clusters[name]
		if !ok || !slices.Equal(x.Collectors, y.Collectors) {
			return false
		}
	}
	return true
}

// PutCollector implements registry, at whichever server answers.
func (c *client) PutCollector(ctx context.Context, cluster, id string, reg httpapi.Registration) (httpapi.Registered, error) {
	var out httpapi.Registered
	err := c.anyServer(ctx, func(ctx context.Context, server *httpapi.Client, original bool) (err error) {
		if original {
			out, err = server.Register(ctx, httpapi.OriginalRegistration{Cluster: cluster, ID: id, Address: reg.Address, Port: reg.Port})
			out.Index = 0 // it has none: the next poll tells
			return err
		}
		out, err = server.PutCollector(ctx, cluster, id, reg)
		return err
	})
	return out, err
}

// removeCollector takes a collector of this node out of the table.
func (c *client) removeCollector(ctx context.Context, cluster, id string) error {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	return c.anyServer(ctx, func(ctx context.Context, server *httpapi.Client, original bool) error {
		if original {
			return server.Remove(ctx, id)
		}
		return server.DeleteCollector(ctx, cluster, id)
	})
}

// anyServer calls do at the server that answered last, then at the others, until
// one does. A refusal in words ends it: others would say the same.
func (c *client) anyServer(ctx context.Context, do func(ctx context.Context, server *httpapi.Client, original bool) error) error {
	var errs []error
	servers := c.ordered()
	for i, addr := range servers {
		err := c.atServer(ctx, addr, len(servers)-i, do)
		if err == nil {
			c.mu.Lock()
			c.answered = addr
			c.mu.Unlock()
			return nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil || !worthAnotherServer(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// atServer calls do at one of the servers. Of the time that ctx leaves, the
// others get their share: one that is silent is not to use it up.
func (c *client) atServer(ctx context.Context, addr string, left int,
	do func(ctx context.Context, server *httpapi.Client, original bool) error) error {
	server, err := c.clients.get(addr)
	if err != nil {
		return err
	}
	if end, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(left))
		defer cancel()
	}
	c.mu.Lock()
	original := c.original[server.Addr()]
	c.mu.Unlock()
	return do(ctx, server, original)
}

// ordered are the servers, the one that answered last first.
func (c *client) ordered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.servers()
	if i := slices.Index(out, c.answered); i > 0 {
		out[0], out[i] = out[i], out[0]
	}
	return out
}

func worthAnotherServer(err error) bool {
	p, refused := errors.AsType[*httpapi.Problem](err)
	return !refused || p.Status >= 500 || p.Status == 404
}

// clientAPI is what the admin API of a client can do with the network: leave it.
type clientAPI struct {
	memberAPI // answers everything else with ErrClientOnly
}

// Leave implements httpapi.Network: the node's collectors leave the table, and
// the node stops.
func (a clientAPI) Leave(ctx context.Context) error {
	n := a.n
	n.mu.Lock()
	c, registrars := n.client, slices.Clone(n.registrars)
	n.mu.Unlock()
	if c == nil {
		return fmt.Errorf("%w: the node is starting or stopping", httpapi.ErrNotInNetwork)
	}
	if err := n.beginLeave(); err != nil {
		return err
	}
	defer n.endLeave()
	n.stopRegistering()
	var errs []error
	for _, r := range registrars {
		err := c.removeCollector(ctx, string(r.cfg.Cluster), string(r.has.ID))
		if err != nil && !errors.Is(err, httpapi.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		n.startRegistering()
		return err
	}
	n.leaveNow()
	return nil
}
