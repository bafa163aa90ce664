package membership

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// openReal opens a pool on sockets.
func openReal(t *testing.T, i int, listen string, change func(*Config)) *Pool {
	t.Helper()
	c := Config{Meta: testMeta(i), Listen: listen}
	if change != nil {
		change(&c)
	}
	p, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// eventually waits until cond is true, on real time.
func eventually(t *testing.T, p *Pool, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	limit := time.After(30 * time.Second)
	for {
		changed := p.Changed()
		if cond() {
			return time.Since(began)
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("not within 30 s: %s; members %+v, refusals %+v, reason %q", what, p.Members(), p.Refusals(), p.Reason())
		}
	}
}

// noLeaks checks at the end that no goroutine is left; register it first.
func noLeaks(t *testing.T) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		var err error
		for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); {
			if err = goleak.Find(ignore); err == nil { // waits half a second; the library's last probe may take two
				return
			}
		}
		t.Error(err)
	})
}

func TestNodesOnSocketsMeetAndPart(t *testing.T) {
	noLeaks(t)
	a := openReal(t, 1, "127.0.1.1:0", nil)
	b := openReal(t, 2, "127.0.1.2:0", func(c *Config) { c.Seeds = []string{a.Addr()} })
	c := openReal(t, 3, "0.0.0.0:0", func(c *Config) { c.Seeds, c.Advertise = []string{b.Addr()}, "localhost" })
	if host, port, _ := net.SplitHostPort(c.Addr()); host != "127.0.0.1" || port == "0" {
		t.Errorf("advertises %s, want the address of localhost", c.Addr())
	}
	for _, p := range []*Pool{a, b, c} {
		eventually(t, p, "three", func() bool { return alive(p) == 3 })
	}
	b.Update(func(m *Meta) { m.Role = RoleVoter })
	eventually(t, a, "the role", func() bool { return member(a, 2).Role == RoleVoter })
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, a, "the stop", func() bool { return state(a, 2) == StateLeft && member(a, 2).Intent == IntentStop })
	if _, err := Open(t.Context(), Config{Meta: testMeta(4), Listen: a.Addr()}); err == nil {
		t.Error("two pools on one port")
	}
}

func TestARestartOnSocketsIsSeenAtOnce(t *testing.T) {
	noLeaks(t)
	a := openReal(t, 1, "127.0.2.1:0", nil)
	b := openReal(t, 2, "127.0.2.2:0", func(c *Config) { c.Seeds = []string{a.Addr()} })
	eventually(t, a, "two", func() bool { return state(a, 2) == StateAlive })
	if err := b.transport.Shutdown(); err != nil { // as kill -9: without a word
		t.Fatal(err)
	}
	began := time.Now()
	openReal(t, 2, "127.0.2.3:0", func(c *Config) { c.Meta.Generation, c.Seeds = 2, []string{a.Addr()} })
	eventually(t, a, "the new start", func() bool { return member(a, 2).Generation == 2 })
	t.Logf("seen %v after it was started", time.Since(began))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("seen after %v", took)
	}
}

// A peer that takes the stream and says nothing holds up neither the pool nor
// its end.
func TestCloseCutsAStreamThatHangs(t *testing.T) {
	noLeaks(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 16)
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				close(taken)
				return
			}
			taken <- conn
		}
	}()
	p := openReal(t, 1, "127.0.0.1:0", func(c *Config) { c.Seeds = []string{silent.Addr().String()} })
	conn := <-taken
	if _, err := io.ReadFull(conn, make([]byte, 16)); err != nil { // it is in the exchange
		t.Error(err)
	}
	began := time.Now()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > streamTimeout/2 {
		t.Errorf("Close took %v", took)
	}
	_ = conn.Close()
	_ = silent.Close()
	for conn := range taken {
		_ = conn.Close()
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	noLeaks(t)
	good := Config{Meta: testMeta(1), Listen: "127.0.0.1:0"}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"no node id":            {func(c *Config) { c.Meta.NodeID = "" }, "node id"},
		"no listen address":     {func(c *Config) { c.Listen = "" }, "listen address"},
		"a port out of range":   {func(c *Config) { c.Listen = "127.0.0.1:99999" }, "port"},
		"a seed that is none":   {func(c *Config) { c.Seeds = []string{"a:b:c:"} }, "seed"},
		"an empty seed":         {func(c *Config) { c.Seeds = []string{""} }, "seed"},
		"an address for all":    {func(c *Config) { c.Advertise = "0.0.0.0" }, "advertise"},
		"a profile with a hole": {func(c *Config) { c.Profile = DefaultProfile(); c.Profile.GossipInterval = 0 }, "profile"},
		"an impatient profile":  {func(c *Config) { c.Profile = DefaultProfile(); c.Profile.ProbeTimeout = time.Second }, "probe timeout"},
		"every IPv6 address":    {func(c *Config) { c.Listen = "[::]:0" }, "advertise"},
		"a host that is none":   {func(c *Config) { c.Listen = "no-such-host.invalid:0" }, "listen on"},
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			c.change(&config)
			p, err := Open(t.Context(), config)
			if err == nil {
				t.Fatal(p.Close(t.Context()), "opened")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v: does not mention %q", err, c.want)
			}
		})
	}
	t.Run("everything at once", func(t *testing.T) {
		_, err := Open(t.Context(), Config{Advertise: "::", Seeds: []string{""}})
		for _, want := range []error{ErrMeta, ErrAdvertise} {
			if !errors.Is(err, want) {
				t.Errorf("%v is missing in %v", want, err)
			}
		}
	})
}

// A container's name may not be known to its name server yet.
func TestAnUnknownAdvertisedNameKeepsNobodyDown(t *testing.T) {
	noLeaks(t)
	var log logBuffer
	p := openReal(t, 1, "127.0.0.1:0", func(c *Config) {
		c.Advertise, c.Logger = "no-such-host.invalid", slog.New(slog.NewTextHandler(&log, nil))
	})
	if !strings.HasPrefix(p.Addr(), "127.0.0.1:") {
		t.Errorf("advertises %s", p.Addr())
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "advertised name not used") {
		t.Errorf("nothing said:\n%s", log.String())
	}
}

// The own address among the seeds is skipped in each of its forms.
func TestTheOwnAddressIsNoSeed(t *testing.T) {
	noLeaks(t)
	p := openReal(t, 1, "127.0.3.1:0", func(c *Config) { c.Advertise = "127.0.3.2" }) // as behind a NAT
	_, port, _ := net.SplitHostPort(p.Addr())
	found, err := p.resolve([]string{"127.0.3.1:" + port, p.Addr(), "127.0.3.3:" + port, "127.0.3.1:1"})
	if err != nil || len(found) != 2 {
		t.Errorf("got %v, %v; want the last two", found, err)
	}
}

func TestWhichAddressesAreOwn(t *testing.T) {
	bound := &sockets{listen: netip.MustParseAddrPort("127.0.0.1:10090")}
	every := &sockets{listen: netip.MustParseAddrPort("0.0.0.0:10090")}
	for addr, want := range map[string][2]bool{
		"127.0.0.1:10090": {true, true},
		"127.0.0.2:10090": {false, true},
		"127.0.0.1:10091": {false, false},
		"192.0.2.1:10090": {false, false},
	} {
		at := netip.MustParseAddrPort(addr)
		if got := [2]bool{bound.Own(at), every.Own(at)}; got != want {
			t.Errorf("%s: got %v, want %v", addr, got, want)
		}
	}
}

func TestSplitPort(t *testing.T) {
	for in, want := range map[string]struct {
		host string
		port int
	}{
		"n1": {"n1", 10090}, "n1:7": {"n1", 7}, "::1": {"::1", 10090}, "[::1]:7": {"::1", 7}, "10.0.0.1": {"10.0.0.1", 10090},
	} {
		if host, port, err := splitPort(in, DefaultPort); err != nil || host != want.host || port != want.port {
			t.Errorf("%s: got %s %d %v", in, host, port, err)
		}
	}
}
