package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

const (
	registerPauseMin = 100 * time.Millisecond
	registerPauseMax = 5 * time.Second
	// registerTime bounds one try to register.
	registerTime = 5 * time.Second
	// maxSkipped bounds the ports that the network is told to skip. Older ones may
	// be free again.
	maxSkipped = 200
)

// registry is where collectors are made known. The member and the client of a
// network each are one.
type registry interface {
	PutCollector(ctx context.Context, cluster, id string, reg httpapi.Registration) (httpapi.Registered, error)
}

// registrar keeps one collector of this node known to the network, under the id
// and port that it was given or gives, and opens it as soon as these are known.
// Everything but status is for the goroutine of loop, or for the start before it.
type registrar struct {
	cfg       Collector // as configured
	reach     string    // the address that others are told
	nodeID    string
	heartbeat time.Duration // 0: a member runs it, which needs none
	network   registry
	tables    *assignments
	book      *assignedBook
	log       *slog.Logger
	open      func(ctx context.Context, c Collector) (*collectorRole, error)
	opened    func(was, is *collectorRole) // told when the role is another one; is may be nil

	has  Collector // with the id and port in force; port 0 while there is none
	skip []int     // ports that are taken on this machine
	role *collectorRole

	mu     sync.Mutex
	reason string // why it is not registered; empty when it is
}

// begin gives the collector its id, and opens it if its port is known: from the
// configuration, or from an earlier run. So a node that starts with nobody else
// there receives.
func (r *registrar) begin(ctx context.Context) error {
	r.has = r.cfg
	known := r.book.get(r.cfg.Spool)
	if r.has.ID == "" {
		r.has.ID = known.ID
	}
	if r.has.ID == "" {
		r.has.ID = newCollectorID(r.cfg.Cluster)
	}
	if err := r.book.put(r.cfg.Spool, assigned{ID: r.has.ID, Port: known.Port}); err != nil {
		return fmt.Errorf("collector %s: %w", r.has.ID, err)
	}
	if r.has.Port == 0 {
		r.has.Port = known.Port
	}
	r.setReason("not registered yet")
	if r.has.Port == 0 {
		return nil
	}
	return r.listen(ctx)
}

// newCollectorID draws an id for a collector that has none.
func newCollectorID(c fsm.ClusterName) fsm.CollectorID {
	return fsm.CollectorID(string(c[:min(len(c), 80)]) + "-" + newNodeID()[:8])
}

// listen opens the collector at the port it has. A port that is taken on this
// machine is given back, if the configuration does not insist on it.
func (r *registrar) listen(ctx context.Context) error {
	role, err := r.open(ctx, r.has)
	if err != nil && r.cfg.Port == 0 && errors.Is(err, syscall.EADDRINUSE) {
		r.log.Warn("port is taken on this machine, asking for another", "collector", r.has.ID, "port", r.has.Port)
		r.skip = append(r.skip[max(0, len(r.skip)-maxSkipped):], r.has.Port)
		r.has.Port = 0
		return nil
	}
	if err != nil {
		return err
	}
	r.opened(r.role, role)
	r.role = role
	return nil
}

// loop registers the collector and repeats it whenever the table says something
// else, or the heartbeat is due, until ctx ends.
func (r *registrar) loop(ctx context.Context) {
	pause := registerPauseMin
	for ctx.Err() == nil {
		index, err := r.register(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.fail(err)
			r.sleep(ctx, pause)
			pause = min(2*pause, registerPauseMax)
			continue
		}
		r.setReason("")
		began := time.Now()
		lost := r.stay(ctx, index)
		if !lost || time.Since(began) >= registerPauseMax {
			pause = registerPauseMin
		}
		if lost { // a table may never say what was registered
			r.sleep(ctx, pause)
			pause = min(2*pause, registerPauseMax)
		}
	}
}

// register makes the collector known once, and opens it where it is given a port.
// It returns the index from which on the table has it.
func (r *registrar) register(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	reg := httpapi.Registration{Node: r.nodeID, Address: r.reach, Port: r.has.Port, SkipPorts: r.skip}
	if r.heartbeat > 0 {
		reg.External, reg.Heartbeat = true, r.heartbeat.String()
	}
	got, err := r.network.PutCollector(ctx, string(r.cfg.Cluster), string(r.has.ID), reg)
	if errors.Is(err, httpapi.ErrConflict) && r.cfg.Port == 0 && r.has.Port != 0 && r.tables.takenElsewhere(r.reach, r.has.Port, r.has.ID) {
		// Somebody else was given our port while we were not in the table.
		return 0, errors.Join(err, r.giveUpPort(ctx))
	}
	if err != nil {
		return 0, err
	}
	if got.Port != r.has.Port {
		if err := r.moveTo(ctx, got.Port); err != nil {
			return 0, err
		}
	}
	return got.Index, r.book.put(r.cfg.Spool, assigned{ID: r.has.ID, Port: got.Port})
}

// moveTo opens the collector at the port that it was given. On an error it is at none.
func (r *registrar) moveTo(ctx context.Context, port int) error {
	if r.role != nil {
		if err := r.giveUpPort(ctx); err != nil {
			return err
		}
	}
	r.has.Port = port
	if err := r.listen(ctx); err != nil {
		r.has.Port = 0 // to be asked for again, and opened then
		return err
	}
	if r.role == nil {
		return fmt.Errorf("port %d is taken on this machine", port)
	}
	return nil
}

// giveUpPort closes the collector, for another port.
func (r *registrar) giveUpPort(ctx context.Context) error {
	r.skip = append(r.skip[max(0, len(r.skip)-maxSkipped):], r.has.Port)
	r.has.Port = 0
	if r.role == nil {
		return nil
	}
	role := r.role
	r.role = nil
	r.opened(role, nil)
	return role.Close(ctx)
}

// stay waits while the network knows the collector as it is, until the next
// heartbeat is due. It reports whether the table says something else.
func (r *registrar) stay(ctx context.Context, index uint64) (lost bool) {
	beat := time.NewTimer(time.Hour)
	defer beat.Stop()
	if r.heartbeat > 0 {
		beat.Reset(r.heartbeat)
	}
	for {
		table, changed := r.tables.get()
		// Without an index, as from the original's server, nobody can tell since when
		// the table has it: then only the heartbeat repeats it.
		if index > 0 && table.Index >= index && !r.agrees(table) {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-beat.C:
			if r.heartbeat > 0 {
				return false
			}
		case <-changed:
		}
	}
}

// agrees reports whether a table has the collector as it is. The original's
// network server knows no nodes.
func (r *registrar) agrees(t fsm.Table) bool {
	c, ok := t.Collector(r.has.ID)
	return ok && c.Cluster == r.cfg.Cluster && (c.Node == r.nodeID || c.Node == "") && c.Address == r.reach && c.Port == r.has.Port
}

func (r *registrar) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (r *registrar) fail(err error) {
	reason := fmt.Sprintf("not registered: %v", err)
	if r.status() != reason {
		r.log.Warn("collector is not registered", "collector", r.has.ID, "err", err)
	}
	r.setReason(reason)
}

func (r *registrar) setReason(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason = reason
}

// status says why the collector is not known to the network; empty when it is.
// Safe for concurrent use.
func (r *registrar) status() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

// takenElsewhere reports whether another collector has an address.
func (a *assignments) takenElsewhere(address string, port int, id fsm.CollectorID) bool {
	t, _ := a.get()
	for _, cl := range t.Clusters {
		for _, c := range cl.Collectors {
			if c.Address == address && c.Port == port && c.ID != id {
				return true
			}
		}
	}
	return false
}
