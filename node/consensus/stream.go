package consensus

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// stream makes the connections of raft's transport: fenced, counted, and all
// closed at once when the node withdraws. Safe for concurrent use.
type stream struct {
	listener net.Listener
	network  Network
	addr     address
	self     string        // node id
	known    func() string // network id, empty while unknown; returns at once
	timeout  time.Duration // for a dial, and for a dialler to send its fence
	log      *slog.Logger

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	refused map[string]verdict // by node that dials: what it was told last
	severed bool
	closed  bool
}

// address is host:port as it was given: raft.NewTCPTransport knows only resolved ones.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

var (
	errSevered      = errors.New("this node has withdrawn from raft")
	errStreamClosed = errors.New("closed")
)

// openStream listens. The address that peers dial has the host of advertise, or
// else the one it listens at, and the port it listens at.
func openStream(ctx context.Context, cfg Config, known func() string) (*stream, error) {
	ln, err := cfg.Network.Listen(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	if cfg.Advertise != "" {
		host = cfg.Advertise
	}
	return &stream{
		listener: ln,
		network:  cfg.Network,
		addr:     address(net.JoinHostPort(host, port)),
		self:     cfg.NodeID,
		known:    known,
		timeout:  cfg.Timing.times(cfg.Timing.Dial),
		log:      cfg.Logger,
		conns:    make(map[net.Conn]struct{}),
		refused:  make(map[string]verdict),
	}, nil
}

// Addr implements net.Listener.
func (s *stream) Addr() net.Addr { return s.addr }

// target is how a node at a host:port is named to Dial: raft's transport hands
// on an address only, and pools connections by it.
func target(id, hostport string) raft.ServerAddress {
	return raft.ServerAddress(id + "@" + hostport)
}

// Dial implements raft.StreamLayer; the address is a target.
func (s *stream) Dial(to raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	id, hostport, _ := strings.Cut(string(to), "@")
	ctx, cancel := context.WithTimeout(context.Background(), min(timeout, s.timeout))
	defer cancel()
	if err := s.usable(); err != nil {
		return nil, err
	}
	c, err := s.network.Dial(ctx, hostport)
	if err != nil {
		return nil, err
	}
	if err := s.sendFence(ctx, c, id); err != nil {
		_ = c.Close() // of no use
		return nil, err
	}
	return s.keep(&dialled{Conn: c, stream: s})
}

func (s *stream) sendFence(ctx context.Context, c net.Conn, id string) error {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	f := fence{network: s.known(), to: id, from: s.self}
	if _, err := c.Write(f.encode()); err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// Accept implements net.Listener. The fence is read with the first Read, so that
// a dialler that sends none holds up nobody else.
func (s *stream) Accept() (net.Conn, error) {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return nil, err
		}
		kept, err := s.keep(&accepted{Conn: c, stream: s})
		if err == nil {
			return kept, nil
		}
		if errors.Is(err, errStreamClosed) {
			return nil, err
		}
	}
}

// keep notes a connection, or closes it when there are to be none.
func (s *stream) keep(c net.Conn) (net.Conn, error) {
	s.mu.Lock()
	err := s.usableLocked()
	if err == nil {
		s.conns[c] = struct{}{}
	}
	s.mu.Unlock()
	if err != nil {
		_ = c.Close() // nothing was said on it
		return nil, err
	}
	return c, nil
}

func (s *stream) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *stream) usable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usableLocked()
}

func (s *stream) usableLocked() error {
	if s.closed {
		return errStreamClosed
	}
	if s.severed {
		return errSevered
	}
	return nil
}

// sever closes every connection and admits no new ones, until it is called with false.
func (s *stream) sever(severed bool) {
	s.mu.Lock()
	s.severed = severed
	s.mu.Unlock()
	if severed {
		s.closeConns()
	}
}

// Close implements net.Listener; it closes the connections too. Idempotent.
func (s *stream) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.closeConns()
	return s.listener.Close()
}

func (s *stream) closeConns() {
	s.mu.Lock()
	conns := s.conns
	s.conns = make(map[net.Conn]struct{})
	s.mu.Unlock()
	for c := range conns {
		_ = c.Close() // who reads from it learns of it
	}
}

// judge answers a fence, and logs a refusal when it is not the one from before.
func (s *stream) judge(f fence, remote net.Addr) verdict {
	v := f.judge(s.self, s.known())
	s.mu.Lock()
	before, known := s.refused[f.from]
	if v == welcome {
		delete(s.refused, f.from)
	} else if len(s.refused) < maxRefused || known {
		s.refused[f.from] = v
	}
	s.mu.Unlock()
	if v != welcome && (!known || before != v) {
		s.log.Warn("raft connection refused", "peer", f.from, "remote", remote.String(), "err", v.err())
	}
	return v
}

// maxRefused bounds what is remembered of nodes that were refused.
const maxRefused = 1000
