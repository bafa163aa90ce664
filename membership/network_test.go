package membership

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two transports, and a stream from the first to the second.
func pair(t *testing.T, n *Network) (a, b Transport, mine, theirs net.Conn) {
	t.Helper()
	a, b = n.Transport(address(1)), n.Transport(address(2))
	mine, err := a.DialTimeout(address(2), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return a, b, mine, <-b.StreamCh()
}

func TestNetworkCarriesPacketsAndStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		n.SetDelay(10 * time.Millisecond)
		began := time.Now()
		a, b, mine, theirs := pair(t, n)
		if took := time.Since(began); took != 20*time.Millisecond {
			t.Errorf("dialled in %v, want there and back", took)
		}
		if _, err := a.WriteTo([]byte("ping"), address(2)); err != nil {
			t.Fatal(err)
		}
		p := <-b.PacketCh()
		if string(p.Buf) != "ping" || p.From.String() != address(1) || p.Timestamp.Sub(began) != 30*time.Millisecond {
			t.Errorf("%q from %v after %v", p.Buf, p.From, p.Timestamp.Sub(began))
		}
		if _, err := mine.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := mine.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(theirs)
		if string(got) != "hello" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if tr := n.Traffic(); tr != (Traffic{Packets: 1, PacketBytes: 4, Streams: 1, StreamBytes: 5}) {
			t.Errorf("%+v", tr)
		}
		if _, err := theirs.Write([]byte("x")); err == nil {
			t.Error("written to a closed stream")
		}
	})
}

func TestNetworkCutsOneWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, b, mine, theirs := pair(t, n)
		n.Cut(address(1), "10.0.2.1") // a host stands for all its ports
		for _, w := range []struct {
			from Transport
			to   string
		}{{a, address(2)}, {b, address(1)}} {
			if _, err := w.from.WriteTo([]byte("x"), w.to); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if len(b.PacketCh()) != 0 || len(a.PacketCh()) != 1 {
			t.Error("the wrong way is cut")
		}
		began := time.Now()
		if _, err := b.DialTimeout(address(1), time.Second); err == nil || time.Since(began) != time.Second {
			t.Errorf("dialled over a cut: %v after %v", err, time.Since(began))
		}
		if _, err := mine.Write([]byte("lost")); err != nil {
			t.Error(err)
		}
		n.Heal()
		if _, err := mine.Write([]byte("late")); err != nil { // it cannot arrive without what was before it
			t.Error(err)
		}
		if err := theirs.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Error(err)
		}
		if got, err := theirs.Read(make([]byte, 9)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes, %v", got, err)
		}
		if _, err := theirs.Write([]byte("back")); err != nil {
			t.Error(err)
		}
		if got, err := mine.Read(make([]byte, 9)); got != 4 || err != nil {
			t.Errorf("the other way: %d bytes, %v", got, err)
		}
	})
}

func TestNetworkKillFreesTheAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		a, _, mine, _ := pair(t, n)
		taken := n.Transport(address(2))
		if _, _, err := taken.FinalAdvertiseAddr("", 0); err == nil {
			t.Error("an address was given twice")
		}
		n.Kill(address(2))
		if _, err := mine.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the stream of a killed node: %v", err)
		}
		if _, err := a.DialTimeout(address(2), time.Second); !errors.Is(err, errNotThere) {
			t.Errorf("dialled a killed node: %v", err)
		}
		if _, _, err := n.Transport(address(2)).FinalAdvertiseAddr("", 0); err != nil {
			t.Errorf("the address is not free: %v", err)
		}
		if _, _, err := n.Transport("nowhere").FinalAdvertiseAddr("", 0); err == nil {
			t.Error("a transport at no address")
		}
	})
}
