package consensus

import (
	"context"
	"net"
)

// Network makes the listeners and connections of raft. The addresses are
// host:port, and the host may be a name.
type Network interface {
	Listen(ctx context.Context, address string) (net.Listener, error)
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// tcpNetwork is the real one.
type tcpNetwork struct{}

func (tcpNetwork) Listen(ctx context.Context, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

// Dial resolves the name anew each time, and tries all of its addresses.
func (tcpNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}
