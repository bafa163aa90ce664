package consensus

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"
)

func TestFenceIsReadAsItWasWritten(t *testing.T) {
	want := fence{network: "net", to: "n2", from: "n1"}
	r := bytes.NewReader(append(want.encode(), "rest"...))
	got, err := readFence(r)
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Errorf("%q was left unread", rest)
	}
}

func TestFenceRefuses(t *testing.T) {
	newer := fence{to: "n2"}.encode()
	newer[len(fenceMagic)]++
	for name, c := range map[string]struct {
		sent []byte
		err  error
	}{
		"other protocols":   {[]byte("GET / HTTP/1.1\r\n\r\n"), errNoFence},
		"a newer version":   {newer, errOtherVersion},
		"a fence cut short": {fence{to: "n2"}.encode()[:10], io.ErrUnexpectedEOF},
	} {
		if _, err := readFence(bytes.NewReader(c.sent)); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
}

func FuzzFence(f *testing.F) {
	f.Add(fence{network: "net", to: "n2", from: "n1"}.encode())
	f.Add([]byte("BRraft\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readFence(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, got.encode()) {
			t.Errorf("%q was read as %+v", b, got)
		}
	})
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		f       fence
		network string
		want    verdict
	}{
		"the node meant":                  {fence{"net", "n2", "n1"}, "net", welcome},
		"the network is not known here":   {fence{"net", "n2", "n1"}, "", welcome},
		"the network is not known there":  {fence{"", "n2", "n1"}, "net", welcome},
		"another node":                    {fence{"net", "n3", "n1"}, "net", otherNode},
		"the node meant, another network": {fence{"old", "n2", "n1"}, "net", otherNetwork},
	} {
		if got := c.f.judge("n2", c.network); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// streams makes a listener for node n2 of network net, and a dialler n1.
func streams(t *testing.T, theirNetwork string) (listener, dialler *stream) {
	t.Helper()
	open := func(id, network string) *stream {
		cfg := Config{NodeID: id, Listen: "127.0.0.1:0", Network: tcpNetwork{}, Timing: Timing{}.withDefaults(), Logger: slog.New(slog.DiscardHandler)}
		s, err := openStream(t.Context(), cfg, func() string { return network })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	return open("n2", "net"), open("n1", theirNetwork)
}

// echo answers the first byte of the first connection with its successor.
func echo(s *stream) {
	c, err := s.Accept()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	var b [1]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return
	}
	b[0]++
	_, _ = c.Write(b[:])
}

// ask dials to and sends 1, and returns what is answered.
func ask(s *stream, id, to string) (byte, error) {
	c, err := s.Dial(target(id, to), time.Second)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte{1}); err != nil {
		return 0, err
	}
	var b [1]byte
	_, err = io.ReadFull(c, b[:])
	return b[0], err
}

func TestConnectionReachesTheNodeMeantOnly(t *testing.T) {
	for name, c := range map[string]struct {
		id, network string
		want        error
	}{
		"the node meant":            {"n2", "net", nil},
		"a network not known yet":   {"n2", "", nil},
		"an address taken over":     {"n9", "net", errOtherNode},
		"a node of another network": {"n2", "old", errOtherNetwork},
	} {
		t.Run(name, func(t *testing.T) {
			listener, dialler := streams(t, c.network)
			done := make(chan struct{})
			go func() { defer close(done); echo(listener) }()
			got, err := ask(dialler, c.id, listener.addr.String())
			if !errors.Is(err, c.want) || err == nil && got != 2 {
				t.Errorf("got %d, %v; want %v", got, err, c.want)
			}
			<-done
		})
	}
}

func TestSeveredStreamHasNoConnections(t *testing.T) {
	listener, dialler := streams(t, "net")
	go echo(listener)
	c, err := dialler.Dial(target("n2", listener.addr.String()), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	dialler.sever(true)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlived its stream")
	}
	if _, err := dialler.Dial(target("n2", listener.addr.String()), time.Second); !errors.Is(err, errSevered) {
		t.Errorf("a severed stream dialled: %v", err)
	}
	dialler.sever(false)
	go echo(listener)
	if got, err := ask(dialler, "n2", listener.addr.String()); err != nil || got != 2 {
		t.Errorf("after the disk was back: %d, %v", got, err)
	}
}

func TestSilentDiallerIsHungUpOn(t *testing.T) {
	listener, _ := streams(t, "net")
	done := make(chan struct{})
	go func() { defer close(done); echo(listener) }()
	c, err := tcpNetwork{}.Dial(t.Context(), listener.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	select {
	case <-done:
	case <-ctx.Done():
		t.Error("a connection that says nothing is kept")
	}
}

func TestAdvertisedNameIsNotResolved(t *testing.T) {
	cfg := Config{NodeID: "n1", Listen: "127.0.0.1:0", Advertise: "n1.example", Network: tcpNetwork{}, Timing: Timing{}.withDefaults()}
	s, err := openStream(t.Context(), cfg, func() string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if got, want := s.Addr().String()[:len("n1.example:")], "n1.example:"; got != want || s.Addr().String() == "n1.example:0" {
		t.Errorf("the address is %s", s.Addr())
	}
}
