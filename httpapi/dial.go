package httpapi

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// dialConfig says how outgoing connections behave. All fields are needed.
type dialConfig struct {
	dialTimeout time.Duration // name lookup and TCP handshake together
	stall       time.Duration // a write that moves nothing for so long is given up
	maxIdle     int           // idle connections kept per peer
	// expect is how long a request with Expect: 100-continue waits for the go-ahead
	// before it sends its body all the same (RFC 9110 10.1.1).
	expect  time.Duration
	oneShot bool // no keep-alive: every request has a connection of its own
}

// idleTimeout is shorter than the 60 s after which our servers close an idle
// connection, so that it is rarely the server's close that ends one.
const idleTimeout = 45 * time.Second

// maxAnswerHeader bounds the headers of an answer in bytes.
const maxAnswerHeader = 64 << 10

// newTransport is the one place that makes dialers and transports: whatever
// secures connections will be put here. There is no proxy from the
// environment, no HTTP/2 and no transparent compression: a relay talks to the
// address it was given and to nothing else. Users call RoundTrip or a client
// that follows no redirects.
func newTransport(cfg dialConfig) *http.Transport {
	dialer := &net.Dialer{
		Timeout:   cfg.dialTimeout,
		KeepAlive: 15 * time.Second,
		Control: func(_, _ string, c syscall.RawConn) error {
			return setUserTimeout(c, cfg.stall)
		},
	}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &stallConn{Conn: conn, stall: cfg.stall}, nil
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dial,
		DisableCompression:     true,
		DisableKeepAlives:      cfg.oneShot,
		MaxIdleConns:           0,
		MaxIdleConnsPerHost:    cfg.maxIdle,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  cfg.expect,
		MaxResponseHeaderBytes: maxAnswerHeader,
		WriteBufferSize:        16 << 10,
		Protocols:              protocols,
	}
}

// writeChunk is how much one deadline covers: with a stall of 5 s a peer that
// takes less than 13 KiB/s is cut, which is below what our servers ask for.
const writeChunk = 64 << 10

// stallConn is a connection whose writes fail with os.ErrDeadlineExceeded when
// the peer takes no chunk of 64 KiB within stall. TCP itself would wait for as
// long as the peer acknowledges probes.
type stallConn struct {
	net.Conn
	stall time.Duration
}

// Write sends p in chunks, each under a deadline of its own.
func (c *stallConn) Write(p []byte) (int, error) {
	sent := 0
	for {
		chunk := p[sent:min(len(p), sent+writeChunk)]
		if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
			return sent, err
		}
		n, err := c.Conn.Write(chunk)
		sent += n
		if err != nil || sent == len(p) {
			return sent, err
		}
	}
}

// copyBufs holds the buffers of ReadFrom, so that a stream of large files
// allocates none.
var copyBufs = sync.Pool{New: func() any { return new([2 * writeChunk]byte) }}

// ReadFrom sends what r yields, with larger reads than io.Copy would make.
func (c *stallConn) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBufs.Get().(*[2 * writeChunk]byte)
	defer copyBufs.Put(buf)
	return io.CopyBuffer(writerOnly{c}, r, buf[:])
}

// writerOnly hides ReadFrom, which would call itself.
type writerOnly struct{ io.Writer }
