package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

// fakeRegistry is a network of a function.
type fakeRegistry struct {
	mu  sync.Mutex
	all []httpapi.Registration
	put func(cluster, id string, reg httpapi.Registration) (httpapi.Registered, error)
}

func (f *fakeRegistry) PutCollector(_ context.Context, cluster, id string, reg httpapi.Registration) (httpapi.Registered, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	reg.SkipPorts = slices.Clone(reg.SkipPorts)
	f.all = append(f.all, reg)
	return f.put(cluster, id, reg)
}

func (f *fakeRegistry) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all)
}

// gives answers every registration with a port, and puts it in the table.
func gives(tables *assignments, ports ...int) *fakeRegistry {
	f := &fakeRegistry{}
	f.put = func(cluster, id string, reg httpapi.Registration) (httpapi.Registered, error) {
		port := reg.Port
		for _, p := range ports {
			if port == 0 && !slices.Contains(reg.SkipPorts, p) {
				port = p
			}
		}
		now, _ := tables.get()
		next := tableAt(now.Index+1, fsm.Collector{
			ID: fsm.CollectorID(id), Cluster: fsm.ClusterName(cluster), Node: reg.Node, Address: reg.Address, Port: port,
			State: fsm.StateActive, External: reg.External,
		})
		if !sameCollectors(next, now) {
			tables.offer(next)
		}
		return httpapi.Registered{ID: id, Port: port, Index: tables.index()}, nil
	}
	return f
}

// registrarIn makes the registrar of a collector at port, 0 for one that the
// network gives. taken are ports that cannot be listened on here.
func registrarIn(t *testing.T, dir string, port int, network *fakeRegistry, tables *assignments, taken ...int) *registrar {
	t.Helper()
	book, err := openAssignedBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	return &registrar{
		cfg:   Collector{Cluster: "c", Spool: "/in", Port: port, Address: "127.0.0.1"},
		reach: "127.0.0.1", nodeID: "n", network: network, tables: tables, book: book, log: slog.New(slog.DiscardHandler),
		open: func(_ context.Context, c Collector) (*collectorRole, error) {
			if slices.Contains(taken, c.Port) {
				return nil, fmt.Errorf("listen: %w", syscall.EADDRINUSE)
			}
			return nowhere(t, dir, c)
		},
		opened: func(*collectorRole, *collectorRole) {},
	}
}

// nowhere opens a collector at a port of the system's choice.
func nowhere(t *testing.T, dir string, c Collector) (*collectorRole, error) {
	c.Port, c.Spool, c.OnConflict = 0, filepath.Join(dir, "in"), "suffix"
	if err := os.MkdirAll(c.Spool, 0o750); err != nil {
		return nil, err
	}
	role, err := openCollector(t.Context(), c, "n", slog.New(slog.DiscardHandler), func(err error) { t.Error(err) })
	if err == nil {
		t.Cleanup(func() { _ = role.Close(context.Background()) })
	}
	return role, err
}

func TestRegistrarKeepsIdAndPort(t *testing.T) {
	dir, tables := t.TempDir(), newAssignments(fsm.Table{})
	r := registrarIn(t, dir, 0, gives(tables, 10100), tables)
	if err := r.begin(t.Context()); err != nil || r.role != nil || r.has.ID == "" {
		t.Fatalf("%+v %v", r.has, err)
	}
	if _, err := r.register(t.Context()); err != nil || r.role == nil || r.has.Port != 10100 {
		t.Fatalf("%+v %v", r.has, err)
	}
	if err := r.role.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Alone at the next start, it listens at once, as the same.
	again := registrarIn(t, dir, 0, nil, tables)
	if err := again.begin(t.Context()); err != nil || again.role == nil || again.has.ID != r.has.ID || again.has.Port != 10100 {
		t.Errorf("after a restart %+v %v, was %+v", again.has, err, r.has)
	}
	if again.status() == "" {
		t.Error("it says that it is registered before it is")
	}
}

func TestRegistrarSkipsPortsThatAreTakenHere(t *testing.T) {
	tables := newAssignments(fsm.Table{})
	network := gives(tables, 10100, 10101, 10102)
	r := registrarIn(t, t.TempDir(), 0, network, tables, 10100, 10101)
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.register(t.Context()); err == nil {
			t.Error("registered at a port that is taken")
		}
	}
	if _, err := r.register(t.Context()); err != nil || r.has.Port != 10102 || r.role == nil {
		t.Errorf("%+v %v", r.has, err)
	}
	if want := []int{10100, 10101}; !slices.Equal(network.all[2].SkipPorts, want) {
		t.Errorf("skipped %v, want %v", network.all[2].SkipPorts, want)
	}
	// A port of the configuration is not given back: the start fails.
	fixed := registrarIn(t, t.TempDir(), 10100, network, tables, 10100)
	if err := fixed.begin(t.Context()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("port of the configuration: %v", err)
	}
}

// A collector that could not be opened, for whatever reason, is not registered
// as if it were.
func TestRegistrarOpensBeforeItIsRegistered(t *testing.T) {
	dir, tables := t.TempDir(), newAssignments(fsm.Table{})
	r := registrarIn(t, dir, 0, gives(tables, 10100), tables)
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	open := r.open
	r.open = func(context.Context, Collector) (*collectorRole, error) { return nil, errors.New("no space") }
	for range 2 {
		if _, err := r.register(t.Context()); err == nil || r.role != nil {
			t.Errorf("registered although nobody listens: %v", err)
		}
	}
	r.open = open
	// The port is not in the book until that can be written.
	r.book.path = filepath.Join(dir, "gone", assignedFile)
	for range 2 {
		if _, err := r.register(t.Context()); err == nil || r.role == nil {
			t.Errorf("registered although the port is not kept: %v", err)
		}
	}
	r.book.path = filepath.Join(dir, assignedFile)
	if _, err := r.register(t.Context()); err != nil || r.book.get("/in").Port != 10100 {
		t.Errorf("%+v %v", r.book.get("/in"), err)
	}
}

func TestRegistrarGivesUpAPortThatIsAnothers(t *testing.T) {
	dir, tables := t.TempDir(), newAssignments(fsm.Table{})
	network := gives(tables, 10100)
	r := registrarIn(t, dir, 0, network, tables)
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.register(t.Context()); err != nil {
		t.Fatal(err)
	}
	put := network.put
	network.put = func(cluster, id string, reg httpapi.Registration) (httpapi.Registered, error) {
		if reg.Port == 10100 {
			return httpapi.Registered{}, httpapi.ErrConflict
		}
		return httpapi.Registered{ID: id, Port: 10105, Index: 9}, nil
	}
	// As long as the table has nobody else there, it stays.
	if _, err := r.register(t.Context()); !errors.Is(err, httpapi.ErrConflict) || r.role == nil {
		t.Errorf("%v", err)
	}
	tables.replace(tableAt(8, fsm.Collector{ID: "other", Cluster: "c", Node: "m", Address: "127.0.0.1", Port: 10100, State: fsm.StateActive}))
	if _, err := r.register(t.Context()); !errors.Is(err, httpapi.ErrConflict) || r.role != nil {
		t.Errorf("%v", err)
	}
	if _, err := r.register(t.Context()); err != nil || r.has.Port != 10105 || r.book.get("/in").Port != 10105 {
		t.Errorf("%+v %v", r.has, err)
	}
	network.put = put
}

func TestRegistrarRepeatsWhatTheTableLost(t *testing.T) {
	dir := t.TempDir()
	role, err := nowhere(t, dir, Collector{ID: "c1", Cluster: "c", Address: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	book, err := openAssignedBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, heartbeat := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			tables := newAssignments(fsm.Table{})
			network := gives(tables)
			r := &registrar{
				cfg: Collector{ID: "c1", Cluster: "c", Spool: "/in", Port: 10100}, reach: "a", nodeID: "n", heartbeat: heartbeat,
				network: network, tables: tables, book: book, log: slog.New(slog.DiscardHandler),
				open:   func(context.Context, Collector) (*collectorRole, error) { return role, nil },
				opened: func(*collectorRole, *collectorRole) {},
			}
			if err := r.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { r.loop(ctx) })
			synctest.Wait()
			if network.count() != 1 || r.status() != "" {
				t.Errorf("%d registrations, %q", network.count(), r.status())
			}
			time.Sleep(55 * time.Second)
			synctest.Wait()
			want := 1
			if heartbeat > 0 {
				want = 6
			}
			if n := network.count(); n != want {
				t.Errorf("in 55 s %d registrations, want %d", n, want)
			}
			// Whatever of it the table says otherwise, it is put right.
			for _, lost := range []fsm.Table{tableAt(0), tableAt(0, fsm.Collector{ID: "c1", Cluster: "c", Node: "n", Address: "b", Port: 10100})} {
				lost.Index = tables.index() + 1
				tables.replace(lost)
				time.Sleep(time.Second)
				synctest.Wait()
				want++
				if table, _ := tables.get(); !r.agrees(table) || network.count() != want {
					t.Errorf("%d registrations, want %d; the table has %+v", network.count(), want, table)
				}
			}
			if last := network.all[want-1]; last.External != (heartbeat > 0) || last.External && last.Heartbeat != "10s" {
				t.Errorf("%+v", last)
			}
			cancel()
			wg.Wait()
		})
	}
}

// The original's server tells no index, and its table no nodes: the heartbeat
// repeats the registration, and nothing else does.
func TestRegistrarCallsTheOriginalOnceAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, tables := t.TempDir(), newAssignments(tableAt(3))
		network := &fakeRegistry{}
		network.put = func(_, id string, reg httpapi.Registration) (httpapi.Registered, error) {
			time.Sleep(time.Millisecond) // else a loop without a pause would stop the clock
			return httpapi.Registered{ID: id, Port: reg.Port}, nil
		}
		r := registrarIn(t, dir, 10100, network, tables)
		r.open = func(context.Context, Collector) (*collectorRole, error) { return &collectorRole{}, nil }
		r.heartbeat = 10 * time.Second
		if err := r.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.loop(ctx) })
		time.Sleep(15 * time.Second)
		tables.replace(tableAt(4, fsm.Collector{ID: r.has.ID, Cluster: "c", Address: "127.0.0.1", Port: 10100, External: true}))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := network.count(); n != 3 {
			t.Errorf("%d registrations in 25 s", n)
		}
		cancel()
		wg.Wait()
	})
}

func TestRegistrarPausesLongerWhileItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := newAssignments(fsm.Table{})
		network := &fakeRegistry{put: func(string, string, httpapi.Registration) (httpapi.Registered, error) {
			return httpapi.Registered{}, httpapi.ErrNoLeader
		}}
		r := registrarIn(t, t.TempDir(), 0, network, tables)
		if err := r.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { r.loop(ctx) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := network.count(); n < 12 || n > 20 { // 0.1 0.2 0.4 0.8 1.6 3.2 5 5 …
			t.Errorf("%d tries in a minute", n)
		}
		if r.status() != "not registered: no leader" {
			t.Error(r.status())
		}
		cancel()
		wg.Wait()
	})
}

// A network may never say of a collector what was registered: it is told again
// and again, with growing pauses. One that knows no nodes, as the original's,
// says all that it can.
func TestRegistrarDoesNotArgueWithoutEnd(t *testing.T) {
	dir := t.TempDir()
	role, err := nowhere(t, dir, Collector{ID: "c1", Cluster: "c", Address: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	book, err := openAssignedBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		says fsm.Collector
		most int
	}{
		{fsm.Collector{ID: "c1", Cluster: "c", Address: "a", Port: 10100}, 6}, // of no node
		{fsm.Collector{ID: "c1", Cluster: "c", Address: "b", Port: 10100}, 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			tables := newAssignments(tableAt(1, c.says))
			network := &fakeRegistry{put: func(_, id string, reg httpapi.Registration) (httpapi.Registered, error) {
				return httpapi.Registered{ID: id, Port: reg.Port}, nil
			}}
			r := &registrar{
				cfg: Collector{ID: "c1", Cluster: "c", Spool: "/in", Port: 10100}, reach: "a", nodeID: "n", heartbeat: 10 * time.Second,
				network: network, tables: tables, book: book, log: slog.New(slog.DiscardHandler),
				open:   func(context.Context, Collector) (*collectorRole, error) { return role, nil },
				opened: func(*collectorRole, *collectorRole) {},
			}
			if err := r.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { r.loop(ctx) })
			time.Sleep(59 * time.Second)
			synctest.Wait()
			if n := network.count(); n < 6 || n > c.most {
				t.Errorf("a table with %+v: %d registrations in a minute", c.says, n)
			}
			cancel()
			wg.Wait()
		})
	}
}
