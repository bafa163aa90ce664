package main_test

import (
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
)

// cutter is a wire between an uploader and a collector that breaks when it is
// told to.
type cutter struct {
	port   int // on 127.0.0.1
	target string
	wg     sync.WaitGroup

	mu    sync.Mutex
	left  int64 // bytes until the cut; negative: none is due
	conns map[net.Conn]struct{}
}

// newCutter starts a wire to a port of 127.0.0.1, which ends with the test.
func newCutter(t testing.TB, target int) *cutter {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t))))
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{
		port:   ln.Addr().(*net.TCPAddr).Port,
		target: net.JoinHostPort("127.0.0.1", strconv.Itoa(target)),
		left:   -1, conns: map[net.Conn]struct{}{},
	}
	c.wg.Go(func() { c.acceptLoop(ln) })
	t.Cleanup(func() {
		_ = ln.Close()
		c.cut()
		c.wg.Wait()
	})
	return c
}

// cutAfter has every connection cut when n more bytes went to the collector.
// Those made later are whole again.
func (c *cutter) cutAfter(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = n
}

func (c *cutter) acceptLoop(ln net.Listener) {
	for {
		client, err := ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		c.mu.Lock()
		c.conns[client], c.conns[server] = struct{}{}, struct{}{}
		c.mu.Unlock()
		c.wg.Go(func() { c.carry(server, &counted{client, c}) })
		c.wg.Go(func() { c.carry(client, server) })
	}
}

// carry copies one direction. Its end is the end of both.
func (c *cutter) carry(to net.Conn, from io.Reader) {
	_, _ = io.Copy(to, from) // a broken wire is what this is for
	_ = to.Close()
	if conn, ok := from.(io.Closer); ok {
		_ = conn.Close()
	}
}

// cut breaks every connection.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
	}
	clear(c.conns)
}

// counted counts what goes to the collector.
type counted struct {
	net.Conn
	c *cutter
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p[:min(len(p), 32<<10)])
	r.c.mu.Lock()
	due := r.c.left >= 0 && r.c.left <= int64(n)
	if r.c.left >= 0 {
		r.c.left -= int64(n)
	}
	if due {
		r.c.left = -1
	}
	r.c.mu.Unlock()
	if due {
		r.c.cut()
		return 0, io.ErrClosedPipe
	}
	return n, err
}
