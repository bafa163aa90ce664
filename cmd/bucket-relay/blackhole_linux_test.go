//go:build !race

// Not under the race detector: a throughput would be that of the detector.

package main_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

// TestBlackHoleCostsOthersLittle measures how fast files reach a healthy
// collector while an uploader also owes files to one that swallows its packets,
// against an uploader of the same process that does not. Runs of the two take
// turns, so that what else the machine does falls on both. The promise is that
// less than 10 % is lost.
func TestBlackHoleCostsOthersLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for some seconds")
	}
	t.Run("no handshake", func(t *testing.T) {
		measureBesideBlackHole(t, func(_ *testing.T, _ *world, sick *inbox) {
			sick.listed.port = fullBacklog(t)
		})
	})
	t.Run("stopped process", func(t *testing.T) {
		measureBesideBlackHole(t, func(t *testing.T, w *world, sick *inbox) {
			n := w.node("sick", sick)
			n.startReady()
			signalProcess(t, n, syscall.SIGSTOP)
			t.Cleanup(func() { signalProcess(t, n, syscall.SIGCONT) })
		})
	})
}

// The size of one run. The sick collector is owed a twentieth as many files, which
// are claimed in any case: that work is not what is measured.
const (
	holeFiles = 2000
	holeSick  = holeFiles / 20
	holeBytes = 1 << 10
)

// measureBesideBlackHole compares an outbox whose files also go to the
// collector that swallow breaks with one where as many wait for nobody.
func measureBesideBlackHole(t *testing.T, swallow func(*testing.T, *world, *inbox)) {
	w := newWorld(t)
	beside, alone := w.outbox("beside", "a"), w.outbox("alone", "b")
	// The files that go nowhere are looked at in both, and claimed in one.
	beside.nexthop, alone.nexthop = toCluster, `'name startsWith "sick." ? nil : "b"'`
	a, b, sick := w.inbox("a", "a"), w.inbox("b", "b"), w.inbox("sick", "sick")
	swallow(t, w, sick)
	down, up := w.node("down", a, b), w.node("up", beside, alone)
	down.startReady()
	up.startReady()
	// The first files tell the uploader whom it talks to.
	for _, first := range []struct {
		o  *outbox
		in *inbox
	}{{beside, a}, {alone, b}} {
		names := dropParcels(t, first.o.dir, first.in.cluster, 1)
		awaitParcels(t, names, first.in)
		if err := os.Remove(filepath.Join(first.in.dir, names[0])); err != nil {
			t.Fatal(err)
		}
	}

	const enough, most = 3, 15 // pairs
	var ratios []float64
	for round := 0; ; round++ {
		slow := timeRun(t, w, beside, a, round)
		plain := timeRun(t, w, alone, b, round)
		ratios = append(ratios, plain.Seconds()/slow.Seconds())
		sorted := slices.Sorted(slices.Values(ratios))
		median := sorted[len(sorted)/2]
		t.Logf("round %d: %v beside the black hole, %v without, ratio %.2f", round, slow, plain, ratios[round])
		if len(ratios) >= enough && len(ratios)%2 == 1 {
			if median >= 0.9 {
				break
			}
			if len(ratios) >= most {
				t.Errorf("the healthy collector got %.2f of its throughput (median of %.2f), want 0.9", median, ratios)
				break
			}
		}
	}
	held := claimedOf(beside, "sick")
	for _, name := range beside.waiting() { // beyond the window they are not even claimed
		if strings.HasPrefix(name, "sick.") {
			held++
		}
	}
	if owed := len(ratios) * holeSick; held != owed {
		t.Errorf("%d files are held for the black hole, want %d", held, owed)
	}
	if target := targetOf(up, "sick"); target.State != httpapi.TargetBackoff || target.Reason == "" {
		t.Errorf("spools does not say why they wait: %+v", target)
	}
}

// timeRun moves a directory full of files into an outbox and returns how long
// it took until those for the healthy collector were in its inbox.
func timeRun(t *testing.T, w *world, o *outbox, in *inbox, round int) time.Duration {
	t.Helper()
	store := w.mkdir(fmt.Sprintf("store-%s-%d", o.name, round))
	body := make([]byte, holeBytes)
	var names []string
	for i := range holeFiles {
		names = append(names, fmt.Sprintf("%s.%d.%d", in.cluster, round, i))
		if i%(holeFiles/holeSick) == 0 {
			names = append(names, fmt.Sprintf("sick.%d.%d", round, i))
		}
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(store, name), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	for _, name := range names {
		if err := os.Rename(filepath.Join(store, name), filepath.Join(o.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	var there []string
	waitFor(t, patienceLimit, "files at "+in.id, func() (bool, string) {
		var err error
		if there, err = listNames(in.dir); err != nil {
			t.Fatal(err)
		}
		n := len(there) - 1 // .relay
		return n == holeFiles, fmt.Sprintf("%d of %d", n, holeFiles)
	})
	took := time.Since(start)
	for _, name := range there { // the next run begins with an empty inbox
		if name != ".relay" {
			if err := os.Remove(filepath.Join(in.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return took
}

// fullBacklog returns a port whose listener accepts nothing and whose backlog is
// full, so that the kernel drops every further SYN: who dials it hears nothing.
func fullBacklog(t *testing.T) (port int) {
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
	port = name.(*unix.SockaddrInet4).Port
	dialer := net.Dialer{Timeout: 200 * time.Millisecond}
	for range 64 {
		conn, err := dialer.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return port
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this kernel accepts any number of connections that nobody takes")
	return 0
}
