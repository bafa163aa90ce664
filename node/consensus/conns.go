package consensus

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// dialled is a connection that this node made. Its first Read takes in the verdict.
type dialled struct {
	net.Conn
	stream *stream
	once   sync.Once
	err    error // of the verdict
}

// Read implements net.Conn.
func (d *dialled) Read(b []byte) (int, error) {
	d.once.Do(d.readVerdict)
	if d.err != nil {
		return 0, d.err
	}
	return d.Conn.Read(b)
}

func (d *dialled) readVerdict() {
	var b [1]byte
	if _, err := io.ReadFull(d.Conn, b[:]); err != nil {
		d.err = err
		return
	}
	if err := verdict(b[0]).err(); err != nil {
		d.err = fmt.Errorf("refused: %w", err)
	}
}

// Close implements net.Conn.
func (d *dialled) Close() error {
	d.stream.forget(d)
	return d.Conn.Close()
}

// accepted is a connection that another node made. Its first Read takes in the
// fence and gives the verdict; after a refusal it reads as ended.
type accepted struct {
	net.Conn
	stream *stream
	once   sync.Once
	err    error // of the fence
}

// Read implements net.Conn.
func (a *accepted) Read(b []byte) (int, error) {
	a.once.Do(a.readFence)
	if a.err != nil {
		return 0, a.err
	}
	return a.Conn.Read(b)
}

func (a *accepted) readFence() {
	a.err = a.Conn.SetDeadline(time.Now().Add(a.stream.timeout))
	if a.err != nil {
		return
	}
	v := otherVersion
	f, err := readFence(a.Conn)
	if err == nil {
		v = a.stream.judge(f, a.RemoteAddr())
	} else if !errors.Is(err, errOtherVersion) {
		a.err = io.EOF // no node of ours: a port scan, or one that died
		return
	}
	if _, err := a.Conn.Write([]byte{byte(v)}); err != nil {
		a.err = err
		return
	}
	if v != welcome {
		a.err = io.EOF // judge has logged it; raft need not
		return
	}
	a.err = a.Conn.SetDeadline(time.Time{})
}

// Close implements net.Conn.
func (a *accepted) Close() error {
	a.stream.forget(a)
	return a.Conn.Close()
}
