package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limits bound what strangers can hold of a server. A zero field takes the
// value of DefaultLimits.
type Limits struct {
	ReadHeaderTimeout time.Duration // from the first byte of a request to the end of its headers
	IdleTimeout       time.Duration // a connection without a request
	MaxHeaderBytes    int           // of one request; net/http adds 4 KiB of slack
	ConnsPerPeer      int           // open connections from one address
	Conns             int           // open connections in all
}

// DefaultLimits returns the limits of a node: 5 s for the headers, 60 s idle,
// 16 KiB of headers, 256 connections per peer, 4096 in all.
func DefaultLimits() Limits {
	return Limits{
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnsPerPeer:      256,
		Conns:             4096,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		ReadHeaderTimeout: cmp.Or(l.ReadHeaderTimeout, d.ReadHeaderTimeout),
		IdleTimeout:       cmp.Or(l.IdleTimeout, d.IdleTimeout),
		MaxHeaderBytes:    cmp.Or(l.MaxHeaderBytes, d.MaxHeaderBytes),
		ConnsPerPeer:      cmp.Or(l.ConnsPerPeer, d.ConnsPerPeer),
		Conns:             cmp.Or(l.Conns, d.Conns),
	}
}

// NewServer returns a server for h, not yet started, with all limits set and
// HTTP/1.1 only. There is no limit on the time a body takes, since a file may be
// of any size: the handler asks for a minimum rate. What net/http complains of,
// panics included, goes to logger as a warning; nil discards.
func NewServer(h http.Handler, limits Limits, logger *slog.Logger) *http.Server {
	limits = limits.withDefaults()
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: limits.ReadHeaderTimeout,
		IdleTimeout:       limits.IdleTimeout,
		MaxHeaderBytes:    limits.MaxHeaderBytes,
		Protocols:         protocols,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

const (
	refuseTime = 250 * time.Millisecond // for each step of a refusal
	maxRefused = 64                     // being told at the same time; more are cut without a word
)

// Listener is a TCP listener that holds the limits on connections. One above
// them is answered with a 503 problem of code "busy" and closed.
type Listener struct {
	tcp     *net.TCPListener
	limits  Limits
	refusal []byte
	wg      sync.WaitGroup // of the goroutines that refuse

	mu       sync.Mutex
	peers    map[netip.Addr]int
	open     int
	refusing int
	refused  uint64
	closed   bool // nothing is added to wg any more
}

// Listen opens a TCP listener on addr, "host:port", where port may be 0. It is
// the one place of the program that makes listeners for HTTP: whatever secures
// connections will be put here. ctx bounds only the opening.
func Listen(ctx context.Context, addr string, limits Limits) (*Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("listen on %s: not TCP but %T", addr, ln)
	}
	return &Listener{
		tcp:     tcp,
		limits:  limits.withDefaults(),
		refusal: cannedRefusal(),
		peers:   map[netip.Addr]int{},
	}, nil
}

// Accept waits for the next connection within the limits.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.tcp.AcceptTCP()
		if err != nil {
			return nil, err
		}
		peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
		if l.admit(peer) {
			return &countedConn{conn, sync.OnceFunc(func() { l.release(peer) })}, nil
		}
		l.refuse(conn)
	}
}

// Addr returns the address in use, with the port that was chosen for 0.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Refused returns how many connections were above the limits so far.
func (l *Listener) Refused() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Close stops listening and waits for the connections that are being refused,
// which takes less than a second. Those that were accepted live on.
func (l *Listener) Close() error {
	err := l.tcp.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wg.Wait()
	return err
}

func (l *Listener) admit(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limits.Conns || l.peers[peer] >= l.limits.ConnsPerPeer {
		l.refused++
		return false
	}
	l.open++
	l.peers[peer]++
	return true
}

func (l *Listener) release(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.peers[peer]--; l.peers[peer] == 0 {
		delete(l.peers, peer)
	}
}

// refuse says 503 and closes. It does not block: a goroutine waits for the
// request, since clients take an answer that comes before it for a fault, and
// then for the peer to read, since a close with the request unread would reset
// the connection and take the answer away.
func (l *Listener) refuse(conn *net.TCPConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.refusing >= maxRefused {
		_ = conn.Close() // nothing was written
		return
	}
	l.refusing++
	l.wg.Go(func() {
		tell(conn, l.refusal)
		_ = conn.Close() // nobody to tell
		l.mu.Lock()
		l.refusing--
		l.mu.Unlock()
	})
}

// tell answers the first bytes of a request, or a peer that sends none, and
// reads until the peer has closed. Each step is bounded.
func tell(conn *net.TCPConn, answer []byte) {
	patience := func() { _ = conn.SetDeadline(time.Now().Add(refuseTime)) } // a closed connection fails below
	patience()
	_, _ = conn.Read(make([]byte, 4<<10))
	patience()
	if _, err := conn.Write(answer); err != nil || conn.CloseWrite() != nil {
		return
	}
	patience()
	_, _ = io.CopyN(io.Discard, conn, 64<<10)
}

// cannedRefusal is a whole answer, since there is no request to answer yet.
func cannedRefusal() []byte {
	p := problemOf(ErrBusy)
	body, _ := json.Marshal(p) // strings and numbers always marshal
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nRetry-After: %d\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), problemType, wholeSeconds(p.RetryAfter), len(body), body)
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	*net.TCPConn
	release func()
}

func (c *countedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
