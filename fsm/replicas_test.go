package fsm

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Few names, so that commands meet.
var (
	anyCluster  = rapid.SampledFrom([]ClusterName{"c", "d", "keyed", "bad name"})
	anyID       = rapid.SampledFrom([]CollectorID{"a", "b", "c", "d", "e", "f", "-"})
	anyNode     = rapid.SampledFrom([]string{"", "n1", "n2", "n3"})
	anyAddress  = rapid.SampledFrom([]string{"h", "H.", "10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "::1", "0::1", "a b"})
	anyPort     = rapid.SampledFrom([]int{0, 0, 0, 10100, 10101, 10102, 65535, 70000})
	anyState    = rapid.SampledFrom([]State{StateActive, StateDraining, "gone"})
	anyDuration = rapid.SampledFrom([]int64{0, 0, 1000, 5000, -1})
)

var anyBody = rapid.Custom(func(t *rapid.T) Body {
	switch rapid.IntRange(1, 14).Draw(t, "kind") {
	case 1:
		return NetworkInit{NetworkID: anyNode.Draw(t, "network")}
	case 2:
		return ClusterPut{
			Name: anyCluster.Draw(t, "cluster"), Mode: rapid.SampledFrom([]Mode{"", ModeAll, ModeOne, ModeKey}).Draw(t, "mode"),
			Key: rapid.SampledFrom([]string{"", "", "(k)", "("}).Draw(t, "key"), FailoverAfterMS: anyDuration.Draw(t, "failover"),
		}
	case 3:
		return ClusterDelete{Name: anyCluster.Draw(t, "cluster")}
	case 4:
		return CollectorState{ID: anyID.Draw(t, "id"), State: anyState.Draw(t, "state")}
	case 5:
		return CollectorDelete{ID: anyID.Draw(t, "id"), IfSilentSinceMS: rapid.SampledFrom([]int64{0, noon.UnixMilli()}).Draw(t, "since")}
	case 6:
		return Heartbeat{IDs: rapid.SliceOfN(anyID, 0, 4).Draw(t, "ids")}
	case 7:
		return NodePut{Node{ID: anyNode.Draw(t, "node"), Name: "n", HTTP: anyAddress.Draw(t, "http")}}
	case 8:
		return NodeDelete{ID: anyNode.Draw(t, "node")}
	}
	b := CollectorPut{
		Cluster: anyCluster.Draw(t, "cluster"), Node: anyNode.Draw(t, "node"), Address: anyAddress.Draw(t, "address"),
		Port: anyPort.Draw(t, "port"), SkipPorts: rapid.SliceOfN(anyPort, 0, 3).Draw(t, "skip"),
		PortStart: rapid.SampledFrom([]int{0, 0, 65534}).Draw(t, "start"), External: rapid.Bool().Draw(t, "external"), EveryMS: anyDuration.Draw(t, "every"),
	}
	if rapid.Bool().Draw(t, "known id") {
		b.ID = anyID.Draw(t, "id")
	} else {
		b.NewID = anyID.Draw(t, "new id")
	}
	return b
})

// Some request ids come again.
var anyCommand = rapid.Custom(func(t *rapid.T) Command {
	return Command{
		ReqID: fmt.Sprint(rapid.IntRange(0, 400).Draw(t, "request")),
		Time:  noon.Add(time.Duration(rapid.IntRange(-5000, 5000).Draw(t, "ms")) * time.Millisecond),
		Body:  anyBody.Draw(t, "body"),
	}
})

// Three replicas get the same log. One never restarts; the others are now and
// then replaced by what a snapshot – their own or another's – makes of them.
// One of them is looked at all the time, which must make no difference.
func TestReplicasAgree(t *testing.T) {
	busy := newReplica(t) // has a nearly full table of requests
	for range maxRequests - 20 {
		busy.must(Heartbeat{})
	}
	start := busy.snapshot()
	rapid.Check(t, func(rt *rapid.T) {
		replicas := []*replica{newReplica(t), newReplica(t), newReplica(t)}
		if rapid.IntRange(1, 20).Draw(rt, "start") == 20 {
			for i := range replicas {
				replicas[i] = restored(t, start, busy.index)
			}
		}
		for _, c := range rapid.SliceOfN(anyCommand, 1, 120).Draw(rt, "commands") {
			var first Outcome
			for i, r := range replicas {
				res, err := r.run(c)
				if got := (Outcome{res, err}); i == 0 {
					first = got
				} else if got.Result != first.Result || fmt.Sprint(got.Err) != fmt.Sprint(first.Err) {
					rt.Fatalf("%#v: %+v on one, %+v on %d", c, first, got, i)
				}
			}
			replicas[2].View()
			if victim := rapid.IntRange(0, 20).Draw(rt, "restart"); victim == 1 || victim == 2 {
				from := replicas[rapid.IntRange(0, 2).Draw(rt, "snapshot of")]
				replicas[victim] = restored(t, from.snapshot(), from.index)
			}
			checkInvariants(rt, replicas[0])
		}
		want, snapshot := fmt.Sprint(replicas[0].Hash()), replicas[0].snapshot()
		for i, r := range replicas {
			if got := fmt.Sprint(r.Hash()); got != want || !bytes.Equal(r.snapshot(), snapshot) {
				rt.Fatalf("replica %d ends with %s, want %s", i, got, want)
			}
			checkReplica(t, r)
		}
	})
}

// checkInvariants checks what holds after every command.
func checkInvariants(t *rapid.T, r *replica) {
	at, externals := map[string]CollectorID{}, 0
	beats := r.Beats()
	for name, cl := range r.s.clusters {
		for i, c := range cl.Collectors {
			where := fmt.Sprint(plainHost(c.Address), " ", c.Port)
			if other, taken := at[where]; taken {
				t.Fatalf("%s and %s are both at %s", other, c.ID, where)
			}
			at[where] = c.ID
			if c.Cluster != name || i > 0 && cl.Collectors[i-1].ID >= c.ID || c.check() != nil {
				t.Fatalf("%+v is out of place in %s, after %v", c, name, cl.Collectors[:i])
			}
			if _, beating := beats[c.ID]; beating != c.External {
				t.Fatalf("%+v has heartbeats: %v", c, beating)
			}
			if c.External {
				externals++
			}
		}
	}
	if len(beats) != externals {
		t.Fatalf("heartbeats %v of %d external collectors", beats, externals)
	}
}
