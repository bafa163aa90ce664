package node

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bucket-relay/bucket-relay/fsm"
	"github.com/bucket-relay/bucket-relay/httpapi"
)

func TestOneUsesEachCollectorAndEachFileOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		b.start()
		b.drop(numbered("f", 400)...)
		b.pass(time.Second)
		a, c := len(b.net.got("a")), len(b.net.got("b"))
		if a+c != 400 || a < 100 || c < 100 {
			t.Fatalf("a has %d, b has %d of 400", a, c)
		}
		b.wantEmpty()
		b.stop()
	})
}

func TestOneRefusedGoesToAnotherAtOnce(t *testing.T) {
	for _, code := range []string{httpapi.CodeUnreachable, "unavailable", "full"} {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
				b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
					if to == "a" {
						return failWith(httpapi.Refused, code)
					}
					return nil
				})
				b.start()
				files := numbered("f", 300)
				b.drop(files...)
				b.pass(time.Second)
				b.wantHas("b", files...)
				b.wantEmpty()
				for _, o := range b.net.offersTo("b") {
					if o.dup {
						t.Fatalf("%s is marked as a possible duplicate, but was surely refused", o.name)
					}
				}
				b.stop()
			})
		})
	}
}

// A collector that takes other files but refuses this one for the moment keeps
// its good name; the file goes to another all the same.
func TestOneRefusesASingleFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		b.net.set(func(to string, o httpapi.Offer, _ bool) error {
			if to == "a" && strings.HasSuffix(o.Name, "7") {
				return failWith(httpapi.Refused, "full")
			}
			return nil
		})
		b.start()
		files := numbered("f", 300)
		b.drop(files...)
		b.pass(200 * time.Millisecond)
		if n := len(b.net.got("a")) + len(b.net.got("b")); n != len(files) {
			t.Errorf("%d of %d arrived at once", n, len(files))
		}
		b.stop()
	})
}

// Unknown outcome: the same collector again, also after a restart; another only
// after failover_after, and then marked.
func TestOneUnknownOutcomeStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		var first string
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if first == "" {
				first = to
			}
			if to == first {
				return failWith(httpapi.Unknown, httpapi.CodeCut)
			}
			return nil
		})
		b.start()
		b.drop("f")
		b.pass(20 * time.Second)
		other := map[string]string{"a": "b", "b": "a"}[first]
		if n := len(b.net.offersTo(other)); n != 0 {
			t.Fatalf("offered to another after %d tries, before failover_after", n)
		}
		b.stop()
		// After the restart the collector is down, which says nothing about what
		// became of the item in the run before.
		b.net.set(func(to string, _ httpapi.Offer, _ bool) error {
			if to == first {
				return failWith(httpapi.Refused, httpapi.CodeUnreachable)
			}
			return nil
		})
		b.start()
		b.pass(20 * time.Second)
		if n := len(b.net.offersTo(other)); n != 0 {
			t.Fatal("offered to another too soon after a restart")
		}
		b.pass(40 * time.Second)
		b.wantHas(other, "f")
		offers := b.net.offersTo(other)
		if len(offers) != 1 || !offers[0].dup {
			t.Errorf("offers to the other: %+v, want one, marked", offers)
		}
		b.wantEmpty()
		b.stop()
	})
}

func TestKeyKeepsFilesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := cluster("c", fsm.ModeKey, "a", "b", "c3")
		cl.Key = regexp.MustCompile(`^([a-z]+)-`)
		b := newBench(t, `"c"`, cl)
		b.start()
		for _, k := range []string{"ape", "bee", "cat", "dog", "eel", "fox", "gnu"} {
			b.drop(k+"-1", k+"-2", k+"-3")
		}
		b.pass(time.Second)
		home := map[string]string{}
		for _, c := range []string{"a", "b", "c3"} {
			for _, content := range b.net.got(c) {
				key, _, _ := strings.Cut(content, "-")
				if h := home[key]; h != "" && h != c {
					t.Fatalf("key %s is at %s and at %s", key, h, c)
				}
				home[key] = c
			}
		}
		if len(home) != 7 {
			t.Fatalf("%d keys arrived, want 7", len(home))
		}
		b.wantEmpty()
		b.stop()
	})
}

// Rendezvous hashing moves only the keys of the collector that went.
func TestKeyMovesOnlyWithItsCollector(t *testing.T) {
	all := []*target{{id: "a"}, {id: "b"}, {id: "c"}, {id: "d"}}
	moved, stayed := 0, 0
	for _, key := range numbered("k", 1000) {
		before := preferred(all, key, true)
		after := preferred(all[:3], key, true)
		switch {
		case before.id == "d":
			moved++
		case before != after:
			t.Fatalf("key %s moved from %s to %s", key, before.id, after.id)
		default:
			stayed++
		}
	}
	if moved < 150 || moved > 350 {
		t.Errorf("%d of 1000 keys were at one of four collectors", moved)
	}
}

// All collectors of a one cluster down: nothing is lost, and nothing spins.
func TestOneWithAllDownWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, `"c"`, cluster("c", fsm.ModeOne, "a", "b"))
		b.net.set(func(string, httpapi.Offer, bool) error { return failWith(httpapi.Refused, httpapi.CodeUnreachable) })
		b.start()
		files := numbered("f", 600)
		b.drop(files...)
		b.pass(10 * time.Minute)
		if n := len(b.net.offersTo("a")) + len(b.net.offersTo("b")); n > 5000 {
			t.Errorf("%d offers in ten minutes to collectors that are down", n)
		}
		b.net.set(nil)
		b.pass(2 * time.Minute)
		if n := len(b.net.got("a")) + len(b.net.got("b")); n != len(files) {
			t.Fatalf("%d arrived, want %d\n%s", n, len(files), b.state())
		}
		b.wantEmpty()
		b.stop()
	})
}

func TestBackoffDoublesToItsLimit(t *testing.T) {
	for n, want := range map[int]time.Duration{1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 7: 16 * time.Second, 8: 30 * time.Second, 1000: 30 * time.Second} {
		for range 50 {
			if d := backoff(n); d < want/2 || d > want {
				t.Fatalf("backoff(%d) = %s, want %s to %s", n, d, want/2, want)
			}
		}
	}
}
