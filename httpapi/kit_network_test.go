package httpapi

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
)

// fakeNetwork is a Network of functions. A call without one fails its test.
type fakeNetwork struct {
	t          *testing.T
	members    Members
	health     func(ctx context.Context) (Health, error)
	remove     func(ctx context.Context, node string) error
	putCluster func(ctx context.Context, name string, spec ClusterSpec) error
	delCluster func(ctx context.Context, name string) error
	put        func(ctx context.Context, cluster, id string, reg Registration) (Registered, error)
	del        func(ctx context.Context, cluster, id string) error
	drain      func(ctx context.Context, cluster, id string, drain bool) error
	register   func(ctx context.Context, o OriginalRegistration) (Registered, error)
	unregister func(ctx context.Context, id string) error
	transfer   func(ctx context.Context, to string) error
	leave      func(ctx context.Context) error
	save       func(ctx context.Context, w io.Writer) error
	load       func(ctx context.Context, r io.Reader, force bool) error
	probe      func(ctx context.Context, q Probe) (ProbeAnswer, error)
	confirm    func(ctx context.Context) error
}

// call runs f, which must be there.
func call[T any](t *testing.T, name string, there bool, f func() T) T {
	t.Helper()
	if !there {
		t.Errorf("unexpected call of %s", name)
		var none T
		return none
	}
	return f()
}

type registered struct {
	Registered
	error
}

func (f *fakeNetwork) Members() (Members, error) { return f.members, nil }
func (f *fakeNetwork) Health(ctx context.Context) (Health, error) {
	if f.health == nil {
		f.t.Error("unexpected call of Health")
		return Health{}, nil
	}
	return f.health(ctx)
}
func (f *fakeNetwork) RemoveMember(ctx context.Context, node string) error {
	return call(f.t, "RemoveMember", f.remove != nil, func() error { return f.remove(ctx, node) })
}
func (f *fakeNetwork) PutCluster(ctx context.Context, name string, spec ClusterSpec) error {
	return call(f.t, "PutCluster", f.putCluster != nil, func() error { return f.putCluster(ctx, name, spec) })
}
func (f *fakeNetwork) DeleteCluster(ctx context.Context, name string) error {
	return call(f.t, "DeleteCluster", f.delCluster != nil, func() error { return f.delCluster(ctx, name) })
}
func (f *fakeNetwork) PutCollector(ctx context.Context, cluster, id string, reg Registration) (Registered, error) {
	out := call(f.t, "PutCollector", f.put != nil, func() registered {
		got, err := f.put(ctx, cluster, id, reg)
		return registered{got, err}
	})
	return out.Registered, out.error
}
func (f *fakeNetwork) DeleteCollector(ctx context.Context, cluster, id string) error {
	return call(f.t, "DeleteCollector", f.del != nil, func() error { return f.del(ctx, cluster, id) })
}
func (f *fakeNetwork) DrainCollector(ctx context.Context, cluster, id string, drain bool) error {
	return call(f.t, "DrainCollector", f.drain != nil, func() error { return f.drain(ctx, cluster, id, drain) })
}
func (f *fakeNetwork) Register(ctx context.Context, o OriginalRegistration) (Registered, error) {
	out := call(f.t, "Register", f.register != nil, func() registered {
		got, err := f.register(ctx, o)
		return registered{got, err}
	})
	return out.Registered, out.error
}
func (f *fakeNetwork) Unregister(ctx context.Context, id string) error {
	return call(f.t, "Unregister", f.unregister != nil, func() error { return f.unregister(ctx, id) })
}
func (f *fakeNetwork) TransferLeadership(ctx context.Context, to string) error {
	return call(f.t, "TransferLeadership", f.transfer != nil, func() error { return f.transfer(ctx, to) })
}
func (f *fakeNetwork) Leave(ctx context.Context) error {
	return call(f.t, "Leave", f.leave != nil, func() error { return f.leave(ctx) })
}
func (f *fakeNetwork) SaveSnapshot(ctx context.Context, w io.Writer) error {
	return call(f.t, "SaveSnapshot", f.save != nil, func() error { return f.save(ctx, w) })
}
func (f *fakeNetwork) LoadSnapshot(ctx context.Context, r io.Reader, force bool) error {
	return call(f.t, "LoadSnapshot", f.load != nil, func() error { return f.load(ctx, r, force) })
}
func (f *fakeNetwork) Probe(ctx context.Context, q Probe) (ProbeAnswer, error) {
	if f.probe == nil {
		f.t.Error("unexpected call of Probe")
		return ProbeAnswer{}, nil
	}
	return f.probe(ctx, q)
}
func (f *fakeNetwork) Confirm(ctx context.Context) error {
	return call(f.t, "Confirm", f.confirm != nil, func() error { return f.confirm(ctx) })
}

// newNetworkAdmin is the admin API of a node in a network of several.
func newNetworkAdmin(t *testing.T, f *fakeNode, n *fakeNetwork) http.Handler {
	n.t = t
	return NewAdmin(AdminConfig{Reporter: f, DeadLetters: f, Network: n})
}

func newTextLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
