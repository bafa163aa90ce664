package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// The node's part in a network: what is opened, what goes on, and what ends.

// networkAPI is what the admin API does with the network; nil in a static one.
func (n *Node) networkAPI() httpapi.Network {
	switch n.cfg.Kind() {
	case KindMember:
		return memberAPI{n}
	case KindClient:
		return clientAPI{memberAPI{n}}
	}
	return nil
}

// openNetwork opens the part that the configuration asks for.
func (n *Node) openNetwork(ctx context.Context) error {
	switch n.cfg.Kind() {
	case KindMember:
		m, err := openMember(ctx, memberConfig{
			cfg: n.cfg, http: n.Addr(), id: n.id, tables: n.tables, log: n.log, down: n.setOutOfSight, failed: n.fail,
		})
		if err != nil {
			return err
		}
		n.setRoles(func() { n.member = m })
	case KindClient:
		c := openClient(n.cfg, n.id, n.tables, n.log)
		n.setRoles(func() { n.client = c })
	}
	return nil
}

// networkCloseTime bounds how long handing over and saying goodbye may take.
const networkCloseTime = 10 * time.Second

func (n *Node) closeNetwork() error {
	n.mu.Lock()
	m, c := n.member, n.client
	n.mu.Unlock()
	if c != nil {
		c.close()
	}
	if m == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), networkCloseTime)
	defer cancel()
	return m.close(ctx)
}

// startLoops starts what follows the table: its file, and the uploaders' routes.
func (n *Node) startLoops() {
	if n.cfg.Kind() == KindStatic {
		return
	}
	n.loops.Go(func() { n.tables.keepLoop(n.stopLoops) })
	n.loops.Go(n.routeLoop)
}

// routeLoop gives the uploaders every new table.
func (n *Node) routeLoop() {
	for {
		_, changed := n.tables.get()
		n.route()
		select {
		case <-n.stopLoops:
			return
		case <-changed:
		}
	}
}

// route gives the uploaders the table, the rules and the nodes out of sight as
// they are now.
func (n *Node) route() {
	n.routing.Lock()
	defer n.routing.Unlock()
	table, _ := n.tables.get()
	n.mu.Lock()
	rules := map[string]Uploader{}
	for _, u := range n.cfg.Uploaders {
		rules[u.Spool] = u
	}
	ups, out := slices.Clone(n.uploaders), n.out
	n.mu.Unlock()
	down := downCollectors(table, out)
	for _, r := range ups {
		r.uploader.setRoutes(routesOf(rules[r.cfg.Spool], table))
		r.uploader.setDown(down)
	}
}

// setOutOfSight notes which nodes gossip has lost sight of. Their collectors
// are asked last, and what is owed to them waits.
func (n *Node) setOutOfSight(nodes map[string]bool) {
	n.setRoles(func() { n.out = nodes })
	n.routing.Lock()
	defer n.routing.Unlock()
	table, _ := n.tables.get()
	down := downCollectors(table, nodes)
	ups, _ := n.roles()
	for _, r := range ups {
		r.uploader.setDown(down)
	}
}

// downCollectors are the collectors of the nodes that are out of sight.
func downCollectors(t fsm.Table, nodes map[string]bool) map[fsm.CollectorID]bool {
	down := map[fsm.CollectorID]bool{}
	for _, cl := range t.Clusters {
		for _, c := range cl.Collectors {
			if !c.External && nodes[c.Node] {
				down[c.ID] = true
			}
		}
	}
	return down
}

// addCollector opens a collector of the configuration, or prepares the one that
// the network is to give id or port.
func (n *Node) addCollector(ctx context.Context, c Collector) error {
	if n.cfg.Kind() == KindStatic {
		role, err := openCollector(ctx, c, n.id.get().NodeID, n.log, n.fail)
		if err != nil {
			return err
		}
		n.replaceCollector(nil, role)
		return nil
	}
	r := &registrar{
		cfg: c, reach: n.reach(c), nodeID: n.id.get().NodeID, network: n.registry(), tables: n.tables, book: n.book,
		log: n.log.With("component", "registrar", "cluster", c.Cluster), opened: n.replaceCollector,
		open: func(ctx context.Context, c Collector) (*collectorRole, error) {
			return openCollector(ctx, c, n.id.get().NodeID, n.log, n.fail)
		},
	}
	if n.cfg.Kind() == KindClient {
		r.heartbeat = n.cfg.Network.Heartbeat
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	n.setRoles(func() { n.registrars = append(n.registrars, r) })
	return nil
}

// reach is the address under which others find a collector.
func (n *Node) reach(c Collector) string {
	if isEveryInterface(c.Address) && n.cfg.Advertise != "" {
		return n.cfg.Advertise
	}
	return dialAddress(c.Address)
}

func (n *Node) registry() registry {
	if n.client != nil {
		return n.client
	}
	return memberAPI{n}
}

// replaceCollector puts a collector's role in the place of another; either may be nil.
func (n *Node) replaceCollector(was, is *collectorRole) {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := slices.Index(n.collectors, was)
	switch {
	case is == nil && at < 0: // it is gone already
	case at < 0:
		n.collectors = append(n.collectors, is)
	case is == nil:
		n.collectors = slices.Delete(slices.Clone(n.collectors), at, at+1)
	default:
		n.collectors[at] = is
	}
}

// startRegistering lets every collector make itself known. The node is ready
// for it: what it could recover is recovered. It does nothing when they do so
// already, when the node stops, or when it has left its network.
func (n *Node) startRegistering() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.registering != nil || n.closing || n.hasLeft() {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.registering = cancel
	for _, r := range n.registrars {
		n.registrations.Go(func() { r.loop(ctx) })
	}
}

// stopRegistering ends that, and waits for its end.
func (n *Node) stopRegistering() {
	n.mu.Lock()
	cancel := n.registering
	n.registering = nil
	n.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel()
	n.registrations.Wait()
}

// leaveNow lets the process end: the node is no part of the network any more.
func (n *Node) leaveNow() {
	n.setReady(false, "left the network")
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.hasLeft() {
		close(n.gone)
	}
}

// hasLeft reports whether leaveNow was called.
func (n *Node) hasLeft() bool {
	select {
	case <-n.gone:
		return true
	default:
		return false
	}
}

// beginLeave lets one request to leave through at a time, and reports whether
// this is it: one that fails undoes what the other did. Its end calls endLeave.
func (n *Node) beginLeave() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leaving || n.closing || n.hasLeft() {
		return fmt.Errorf("%w: the node leaves or stops already", httpapi.ErrConflict)
	}
	n.leaving = true
	n.leaves.Add(1) // close, which waits for it, has not begun
	return nil
}

func (n *Node) endLeave() {
	n.setRoles(func() { n.leaving = false })
	n.leaves.Done()
}

// forgetIfLeft makes the data directory that of a new node after the node has
// left its network, when everything that used it is closed.
func (n *Node) forgetIfLeft() error {
	if !n.hasLeft() {
		return nil
	}
	if err := forget(n.cfg.DataDir, n.cfg.Name); err != nil {
		return fmt.Errorf("%w; remove data_dir before the node starts again", err)
	}
	return nil
}
