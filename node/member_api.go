package node

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
	"github.com/bucket-relay/bucket-relay/membership"
	"github.com/bucket-relay/bucket-relay/node/consensus"
)

// memberAPI is what the admin API can do with a network. The API is up before
// the member is, so that a start explains itself.
type memberAPI struct {
	n *Node
}

// member returns the node's member once it is open.
func (a memberAPI) member() (*member, error) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	if a.n.cfg.Kind() == KindClient {
		return nil, fmt.Errorf("%w: ask one of its servers: %s", httpapi.ErrClientOnly, strings.Join(a.n.cfg.Network.Servers, ", "))
	}
	if a.n.member == nil {
		return nil, fmt.Errorf("%w: the node is starting or stopping", httpapi.ErrNotInNetwork)
	}
	return a.n.member, nil
}

// write brings a command to the leader.
func (a memberAPI) write(ctx context.Context, body fsm.Body, call func(context.Context, *httpapi.Client) error) (fsm.Result, error) {
	m, err := a.member()
	if err != nil {
		return fsm.Result{}, err
	}
	return m.write(ctx, body, call)
}

// PutCluster implements httpapi.Network.
func (a memberAPI) PutCluster(ctx context.Context, name string, spec httpapi.ClusterSpec) error {
	body := fsm.ClusterPut{Name: fsm.ClusterName(name), Mode: spec.Mode, Key: spec.Key}
	if spec.FailoverAfter != "" {
		d, err := time.ParseDuration(spec.FailoverAfter)
		if err != nil || d < time.Millisecond {
			return fmt.Errorf("%w: failover_after %q: want a time span such as 30s", httpapi.ErrInvalid, spec.FailoverAfter)
		}
		body.FailoverAfterMS = d.Milliseconds()
	}
	_, err := a.write(ctx, body, func(ctx context.Context, c *httpapi.Client) error { return c.SetCluster(ctx, name, spec) })
	return err
}

// DeleteCluster implements httpapi.Network.
func (a memberAPI) DeleteCluster(ctx context.Context, name string) error {
	_, err := a.write(ctx, fsm.ClusterDelete{Name: fsm.ClusterName(name)},
		func(ctx context.Context, c *httpapi.Client) error { return c.DeleteCluster(ctx, name) })
	return err
}

// PutCollector implements httpapi.Network.
func (a memberAPI) PutCollector(ctx context.Context, cluster, id string, reg httpapi.Registration) (httpapi.Registered, error) {
	body := fsm.CollectorPut{
		ID: fsm.CollectorID(id), Cluster: fsm.ClusterName(cluster), Node: reg.Node, Address: reg.Address, Port: reg.Port,
		SkipPorts: reg.SkipPorts, PortStart: a.portStart(reg.PortStart), External: reg.External,
	}
	if reg.External {
		every, err := time.ParseDuration(reg.Heartbeat)
		if err != nil || every < time.Second {
			return httpapi.Registered{}, fmt.Errorf("%w: heartbeat %q: want at least 1s", httpapi.ErrInvalid, reg.Heartbeat)
		}
		body.EveryMS = every.Milliseconds()
	}
	return a.register(ctx, body, func(ctx context.Context, c *httpapi.Client) (httpapi.Registered, error) {
		return c.PutCollector(ctx, cluster, id, reg)
	})
}

func (a memberAPI) portStart(asked int) int {
	if asked != 0 {
		return asked
	}
	return a.n.cfg.Network.PortStart
}

// register proposes a registration and words its outcome, here or at the leader.
func (a memberAPI) register(ctx context.Context, body fsm.CollectorPut,
	call func(context.Context, *httpapi.Client) (httpapi.Registered, error)) (httpapi.Registered, error) {
	var out httpapi.Registered
	res, err := a.write(ctx, body, func(ctx context.Context, c *httpapi.Client) (err error) {
		out, err = call(ctx, c)
		return err
	})
	if err != nil {
		return httpapi.Registered{}, err
	}
	if out.ID == "" {
		out = httpapi.Registered{ID: string(res.Collector.ID), Port: res.Collector.Port, Index: res.Index}
	}
	return out, nil
}

// DeleteCollector implements httpapi.Network.
func (a memberAPI) DeleteCollector(ctx context.Context, cluster, id string) error {
	_, err := a.write(ctx, fsm.CollectorDelete{Cluster: fsm.ClusterName(cluster), ID: fsm.CollectorID(id)},
		func(ctx context.Context, c *httpapi.Client) error { return c.DeleteCollector(ctx, cluster, id) })
	return err
}

// DrainCollector implements httpapi.Network.
func (a memberAPI) DrainCollector(ctx context.Context, cluster, id string, drain bool) error {
	state := fsm.StateActive
	if drain {
		state = fsm.StateDraining
	}
	_, err := a.write(ctx, fsm.CollectorState{Cluster: fsm.ClusterName(cluster), ID: fsm.CollectorID(id), State: state},
		func(ctx context.Context, c *httpapi.Client) error {
			return c.DrainIn(ctx, cluster, id, drain)
		})
	return err
}

// Register implements httpapi.Network: a collector of the original, which repeats
// the call as its heartbeat. One that is known as it is needs no more than that.
func (a memberAPI) Register(ctx context.Context, o httpapi.OriginalRegistration) (httpapi.Registered, error) {
	m, err := a.member()
	if err != nil {
		return httpapi.Registered{}, err
	}
	body := fsm.CollectorPut{
		ID: fsm.CollectorID(o.ID), Cluster: fsm.ClusterName(o.Cluster), Address: o.Address, Port: o.Port,
		PortStart: a.portStart(0), External: true, EveryMS: m.cfg.Network.Heartbeat.Milliseconds(),
	}
	if body.ID == "" {
		body.NewID = newCollectorID(fsm.ClusterName(o.Cluster))
	}
	return a.register(ctx, body, func(ctx context.Context, c *httpapi.Client) (httpapi.Registered, error) {
		return c.Register(ctx, o)
	})
}

// Unregister implements httpapi.Network.
func (a memberAPI) Unregister(ctx context.Context, id string) error {
	_, err := a.write(ctx, fsm.CollectorDelete{ID: fsm.CollectorID(id)},
		func(ctx context.Context, c *httpapi.Client) error { return c.Remove(ctx, id) })
	return err
}

// RemoveMember implements httpapi.Network. A node that is alive would only come
// back: it is told to leave instead.
func (a memberAPI) RemoveMember(ctx context.Context, node string) error {
	m, err := a.member()
	if err != nil {
		return err
	}
	return m.remove(ctx, node)
}

// TransferLeadership implements httpapi.Network.
func (a memberAPI) TransferLeadership(ctx context.Context, to string) error {
	m, err := a.member()
	if err != nil {
		return err
	}
	id := ""
	if to != "" {
		if id, err = m.resolve(to); err != nil {
			return err
		}
	}
	return m.atLeader(context.WithoutCancel(ctx), newNodeID(),
		func(context.Context) error { return m.peer.Transfer(ctx, id) },
		func(_ context.Context, c *httpapi.Client) error {
			return c.TransferLeadership(httpapi.Forward(ctx, newNodeID()), to)
		})
}

// SaveSnapshot implements httpapi.Network. What is saved has every write that
// was acknowledged before. A node that raft does not reach passes on the leader's.
func (a memberAPI) SaveSnapshot(ctx context.Context, w io.Writer) error {
	m, err := a.member()
	if err != nil {
		return err
	}
	if err := m.confirm(ctx); err != nil {
		return err
	}
	if rafted(membership.Role(m.peer.Status().Role)) {
		return apiError(m.peer.Save(ctx, w))
	}
	leader, ok := m.leader()
	if !ok {
		return m.noLeader(ctx, errNobodyLeads)
	}
	c, err := m.clients.get(leader.HTTP())
	if err != nil {
		return err
	}
	return c.SaveSnapshot(httpapi.Forward(ctx, newNodeID()), w)
}

// LoadSnapshot implements httpapi.Network.
func (a memberAPI) LoadSnapshot(ctx context.Context, r io.Reader, force bool) error {
	m, err := a.member()
	if err != nil {
		return err
	}
	return m.load(ctx, r, force)
}

// Probe implements httpapi.Network: the answer to a node that would form a network.
func (a memberAPI) Probe(_ context.Context, q httpapi.Probe) (httpapi.ProbeAnswer, error) {
	m, err := a.member()
	if err != nil {
		return httpapi.ProbeAnswer{}, err
	}
	return m.answer(q), nil
}

// Confirm implements httpapi.Network: it returns when the table that this node
// has is at least as new as every write that was acknowledged before.
func (a memberAPI) Confirm(ctx context.Context) error {
	m, err := a.member()
	if err != nil {
		return err
	}
	return m.confirm(ctx)
}

// confirm asks the leader how far the table is, and waits until it is here.
func (m *member) confirm(ctx context.Context) error {
	var index uint64
	err := m.atLeader(ctx, newNodeID(),
		func(ctx context.Context) error {
			err := m.peer.Confirm(ctx)
			index = m.peer.FSM().View().Table.Index
			return err
		},
		func(ctx context.Context, c *httpapi.Client) (err error) {
			index, err = c.ConsistentIndex(ctx)
			return err
		})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		table, changed := m.tables.get()
		if table.Index >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: this node is behind the leader", httpapi.ErrUnavailable)
		case <-changed:
		}
	}
}

// load replaces the network's state by a snapshot, at the leader.
func (m *member) load(ctx context.Context, r io.Reader, force bool) error {
	tried := false
	return m.atLeader(context.WithoutCancel(ctx), newNodeID(),
		func(context.Context) error {
			if tried {
				return httpapi.ErrUnavailable // the body is gone
			}
			tried = true
			return m.peer.Load(ctx, r, force)
		},
		func(_ context.Context, c *httpapi.Client) error {
			if tried {
				return httpapi.ErrUnavailable
			}
			tried = true
			return c.RestoreSnapshot(httpapi.Forward(ctx, newNodeID()), r, force)
		})
}

// ask carries the question of a node that would form a network.
func (m *member) ask(ctx context.Context, http string, q consensus.Query) (consensus.Answer, error) {
	c, err := m.clients.get(http)
	if err != nil {
		return consensus.Answer{}, err
	}
	a, err := c.Probe(ctx, httpapi.Probe{From: q.From, Name: q.Name, Expect: q.Expect, Members: q.Members, Version: commandLevel})
	if err != nil {
		return consensus.Answer{}, err
	}
	return consensus.Answer{OK: a.OK, HasState: a.HasState, NetworkID: a.NetworkID, Expect: a.Expect, Members: a.Members, Reason: a.Reason}, nil
}

// answer answers another's.
func (m *member) answer(q httpapi.Probe) httpapi.ProbeAnswer {
	if q.Version != commandLevel {
		return httpapi.ProbeAnswer{Reason: fmt.Sprintf("it speaks version %d, this node %d", q.Version, commandLevel)}
	}
	a := m.peer.Answer(consensus.Query{From: q.From, Name: q.Name, Expect: q.Expect, Members: q.Members})
	return httpapi.ProbeAnswer{OK: a.OK, HasState: a.HasState, NetworkID: a.NetworkID, Expect: a.Expect, Members: a.Members, Reason: a.Reason}
}
