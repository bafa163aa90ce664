package httpapi

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blackHole listens on a port whose queue of connections is full: the kernel
// then drops every SYN, as a host without power or a firewall would.
func blackHole(t *testing.T) Peer {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 16 { // a backlog of 0 holds one connection; the dials after it hang
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return Peer{Base: "http://" + addr}
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("the kernel goes on accepting with a full queue")
	return Peer{}
}

func TestBlackHoleCostsTheDialTimeout(t *testing.T) {
	t.Parallel()
	peer := blackHole(t)
	s := newTestSender(t, SenderConfig{DialTimeout: 100 * time.Millisecond})
	within(t, 10*time.Second, func() {
		_, err := s.Put(t.Context(), peer, offerOf("a", []byte("x")))
		wantSendError(t, err, Refused, CodeUnreachable)
	})
}

func TestConnectionsGiveUpAPeerThatAcknowledgesNothing(t *testing.T) {
	t.Parallel()
	w := newWire(t, func(c *wireConn) { c.untilClosed() })
	tr := newTransport(dialConfig{dialTimeout: time.Second, stall: 1234 * time.Millisecond})
	conn, err := tr.DialContext(t.Context(), "tcp", w.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*stallConn).Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	err = raw.Control(func(fd uintptr) {
		got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	})
	if err != nil || got != 1234 {
		t.Errorf("TCP_USER_TIMEOUT is %d ms (%v), want 1234", got, err)
	}
}
