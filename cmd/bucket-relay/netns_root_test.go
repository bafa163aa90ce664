//go:build root && linux

package main_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hosts are network namespaces on one switch, each with an address of its own,
// 10.77.0.1 and so on. Links between them are cut and healed by nft rules.
type hosts struct {
	t     testing.TB
	names []string // of the namespaces
}

// newHosts makes n hosts. They go with the test.
func newHosts(t testing.TB, n int) *hosts {
	t.Helper()
	needRoot(t)
	h := &hosts{t: t}
	// The process id keeps runs apart; a namespace's name is its only trace.
	sw := fmt.Sprintf("brsw%d", os.Getpid())
	h.add(sw)
	h.in(sw, "ip", "link", "add", "br0", "type", "bridge")
	h.in(sw, "ip", "link", "set", "br0", "up")
	for i := 1; i <= n; i++ {
		name := fmt.Sprintf("brh%d-%d", os.Getpid(), i)
		h.add(name)
		h.names = append(h.names, name)
		port := fmt.Sprintf("p%d", i)
		h.in(sw, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
		h.in(sw, "ip", "link", "set", port, "master", "br0", "up")
		h.in(name, "ip", "addr", "add", h.ip(i-1)+"/24", "dev", "eth0")
		h.in(name, "ip", "link", "set", "eth0", "up")
		h.in(name, "ip", "link", "set", "lo", "up")
		h.heal(i - 1)
	}
	return h
}

func (h *hosts) add(name string) {
	h.run("ip", "netns", "add", name)
	h.t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			h.t.Logf("ip netns del %s: %v %s", name, err, out)
		}
	})
}

func (h *hosts) ip(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

func (h *hosts) run(name string, args ...string) {
	h.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		h.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (h *hosts) in(ns string, args ...string) {
	h.t.Helper()
	h.run("ip", append([]string{"netns", "exec", ns}, args...)...)
}

// heal lets host i hear everybody.
func (h *hosts) heal(i int) {
	h.t.Helper()
	h.in(h.names[i], "nft", "flush ruleset; add table inet cut; add chain inet cut in { type filter hook input priority 0; }")
}

// deafen makes host i not hear host from: one way only.
func (h *hosts) deafen(i, from int) {
	h.t.Helper()
	h.in(h.names[i], "nft", fmt.Sprintf("add rule inet cut in ip saddr %s drop", h.ip(from)))
}

// cut separates two sets of hosts, both ways.
func (h *hosts) cut(as, bs []int) {
	h.t.Helper()
	for _, a := range as {
		for _, b := range bs {
			h.deafen(a, b)
			h.deafen(b, a)
		}
	}
}

func (h *hosts) healAll() {
	h.t.Helper()
	for i := range h.names {
		h.heal(i)
	}
}

// dial connects from within host i.
func (h *hosts) dial(i int) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The thread is in another network from here on: it is never unlocked,
			// and so ends with the goroutine.
			runtime.LockOSThread()
			var ns *os.File
			if ns, err = os.Open(filepath.Join("/var/run/netns", h.names[i])); err != nil {
				return
			}
			defer func() { _ = ns.Close() }()
			if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return
			}
			var d net.Dialer
			conn, err = d.DialContext(ctx, network, addr)
		}()
		<-done
		return conn, err
	}
}

// place gives a member its place on host i.
func (h *hosts) place(n *node, i int) {
	n.net.ip = h.ip(i)
	n.admin = fmt.Sprintf("http://%s:10088", h.ip(i))
	n.net.raft, n.net.gossip = 10089, 10090
	n.net.insecure = true
	n.wrap = []string{"ip", "netns", "exec", h.names[i]}
	n.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: h.dial(i)}, Timeout: 10 * time.Second}
}
