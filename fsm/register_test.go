package fsm

import (
	"errors"
	"testing"
	"time"
)

// reg is a registration of node n without an id.
func reg(newID CollectorID, address string, port int) CollectorPut {
	return CollectorPut{NewID: newID, Cluster: "c", Node: "n", Address: address, Port: port}
}

// with changes a registration.
func with(b CollectorPut, change func(*CollectorPut)) CollectorPut {
	change(&b)
	return b
}

func TestCollectorPut(t *testing.T) {
	draining := CollectorState{ID: "i", State: StateDraining}
	otherCluster := func(b *CollectorPut) { b.Cluster = "d" }
	at := func(address string) func(*CollectorPut) { return func(b *CollectorPut) { b.Address = address } }
	for _, tc := range []struct {
		name    string
		before  []Body
		put     CollectorPut
		id      CollectorID
		port    int
		changed bool
	}{
		{"with an id", nil, own("i", "n", 7), "i", 7, true},
		{"with an id, again", []Body{own("i", "n", 7)}, own("i", "n", 7), "i", 7, false},
		{"with an id, another port", []Body{own("i", "n", 7)}, own("i", "n", 8), "i", 8, true},
		{"with an id, back to the first port", []Body{own("i", "n", 7), own("i", "n", 8)}, own("i", "n", 7), "i", 7, true},
		{"with an id, another cluster", []Body{own("i", "n", 7)}, with(own("i", "n", 7), otherCluster), "i", 7, true},
		{"with an id, another address in the same form", []Body{own("i", "n", 7)}, with(own("i", "n", 7), at("::ffff:10.0.0.1")), "i", 7, true},
		{"with an id and a new id", nil, with(own("i", "n", 7), func(b *CollectorPut) { b.NewID = "a b" }), "i", 7, true},
		{"draining stays draining", []Body{own("i", "n", 7), draining}, own("i", "n", 8), "i", 8, true},
		{"without an id", nil, reg("x", "h", 7), "x", 7, true},
		{"without an id, again", []Body{reg("x", "h", 7)}, reg("y", "h", 7), "x", 7, false},
		{"without an id, host in capitals", []Body{reg("x", "h.example", 7)}, reg("y", "H.Example.", 7), "x", 7, true},
		{"without an id, another port", []Body{reg("x", "h", 7)}, reg("y", "h", 8), "y", 8, true},
		{"without an id, another cluster", []Body{reg("x", "h", 7)}, with(reg("y", "h", 8), otherCluster), "y", 8, true},
		{"without an id and port", []Body{reg("x", "h", 7)}, reg("y", "h", 0), "x", 7, false},
		{"without an id and port, IPv6", []Body{reg("x", "::1", 7)}, reg("y", "0:0::0001", 0), "x", 7, true},
		{"without an id and port, of several the lowest", []Body{reg("x", "h", 9), reg("b", "h", 12), reg("c", "h", 7)}, reg("y", "h", 0), "b", 12, false},
		{"without an id, that of one with an id", []Body{own("i", "n", 7)}, reg("y", "10.0.0.1", 7), "i", 7, false},
		{"without an id and port, of another node", []Body{own("i", "m", 7)}, reg("y", "10.0.0.1", 0), "y", DefaultPortStart, true},
		{"without a port, the first", nil, own("i", "n", 0), "i", DefaultPortStart, true},
		{"without a port, from 5", nil, with(own("i", "n", 0), func(b *CollectorPut) { b.PortStart = 5 }), "i", 5, true},
		{"without a port, the last there is", nil, with(own("i", "n", 0), func(b *CollectorPut) { b.PortStart = 65535 }), "i", 65535, true},
		{"without a port, taken at the address", []Body{own("a", "m", 10100), own("b", "m", 10102)}, own("i", "n", 0), "i", 10101, true},
		{"without a port, taken at the address in another form", []Body{with(own("a", "m", 10100), at("::ffff:10.0.0.1"))}, own("i", "n", 0), "i", 10101, true},
		{"without a port, taken at the host in capitals", []Body{with(own("a", "m", 10100), at("Host."))}, with(own("i", "n", 0), at("hOST")), "i", 10101, true},
		{"without a port, taken on the node", []Body{with(own("a", "n", 10100), at("10.0.0.2"))}, own("i", "n", 0), "i", 10101, true},
		{"without a port, taken elsewhere", []Body{with(own("a", "m", 10100), at("10.0.0.2"))}, own("i", "n", 0), "i", 10100, true},
		{"without a port, taken elsewhere by an outsider", []Body{ext("a", 10100)}, with(ext("i", 0), at("10.0.0.2")), "i", 10100, true},
		{"without a port, some to skip", []Body{own("a", "m", 10101)}, with(own("i", "n", 0), func(b *CollectorPut) { b.SkipPorts = []int{10102, 10100, 7} }), "i", 10103, true},
		{"without a port, known", []Body{own("i", "n", 7)}, own("i", "n", 0), "i", 7, false},
		{"without a port, known and to skip", []Body{own("i", "n", 10100)}, with(own("i", "n", 0), func(b *CollectorPut) { b.SkipPorts = []int{10100} }), "i", 10101, true},
		{"without a port, moved to another address", []Body{own("i", "n", 7)}, with(own("i", "n", 0), at("h")), "i", 7, true},
		{"without a port, moved to where it is taken", []Body{own("i", "n", 7), with(own("a", "m", 7), at("h"))}, with(own("i", "n", 0), at("h")), "i", DefaultPortStart, true},
		{"asked for, on the node at another address", []Body{own("i", "n", 7)}, with(own("j", "n", 7), at("10.0.0.2")), "j", 7, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReplica(t)
			r.must(tc.before...)
			res := r.must(tc.put)
			if res.Collector.ID != tc.id || res.Collector.Port != tc.port || res.Changed != tc.changed {
				t.Errorf("%+v", res)
			}
			if got := r.mustCollector(tc.id); got != res.Collector || got.Cluster != tc.put.Cluster || got.Address != tc.put.Address && tc.changed {
				t.Errorf("in the table: %+v", got)
			}
			wantState := StateActive
			for _, b := range tc.before {
				if s, ok := b.(CollectorState); ok {
					wantState = s.State
				}
			}
			if res.Collector.State != wantState {
				t.Errorf("state %s", res.Collector.State)
			}
			checkReplica(t, r)
		})
	}
}

func TestCollectorPutRefusals(t *testing.T) {
	change := func(f func(*CollectorPut)) CollectorPut { return with(own("new", "n", 7), f) }
	for _, tc := range []struct {
		name string
		want error
		put  CollectorPut
	}{
		{"id of another node", ErrTaken, own("theirs", "n", 7)},
		{"id of an outsider", ErrTaken, own("outside", "n", 7)},
		{"a node's id, by an outsider", ErrTaken, ext("theirs", 7)},
		{"address of another", ErrTaken, own("new", "n", 1)},
		{"address of another in another form", ErrTaken, change(func(b *CollectorPut) { b.Address, b.Port = "::ffff:a00:1", 1 })},
		{"address of another of the same node", ErrTaken, own("mine", "n", 3)},
		{"address of another in another cluster", ErrTaken, change(func(b *CollectorPut) { b.Cluster, b.Port = "d", 1 })},
		{"new id in use", ErrTaken, reg("theirs", "h", 7)},
		{"new id in use by the same node", ErrTaken, reg("mine", "h", 7)},
		{"without an id, address of another node", ErrTaken, reg("new", "10.0.0.1", 1)},
		{"cluster", ErrInvalid, change(func(b *CollectorPut) { b.Cluster = "" })},
		{"id", ErrInvalid, change(func(b *CollectorPut) { b.ID = "a/b" })},
		{"no id at all", ErrInvalid, change(func(b *CollectorPut) { b.ID = "" })},
		{"new id", ErrInvalid, change(func(b *CollectorPut) { b.ID, b.NewID = "", "a/b" })},
		{"node", ErrInvalid, change(func(b *CollectorPut) { b.Node = "a b" })},
		{"no node, not external", ErrInvalid, change(func(b *CollectorPut) { b.Node = "" })},
		{"no address", ErrInvalid, change(func(b *CollectorPut) { b.Address = "" })},
		{"address with a port", ErrInvalid, change(func(b *CollectorPut) { b.Address = "h:1" })},
		{"port below 0", ErrInvalid, change(func(b *CollectorPut) { b.Port = -1 })},
		{"port too high", ErrInvalid, change(func(b *CollectorPut) { b.Port = 65536 })},
		{"start below 0", ErrInvalid, change(func(b *CollectorPut) { b.PortStart = -1 })},
		{"start too high", ErrInvalid, change(func(b *CollectorPut) { b.PortStart = 65536 })},
		{"too many to skip", ErrInvalid, change(func(b *CollectorPut) { b.SkipPorts = make([]int, 1001) })},
		{"heartbeat below 0", ErrInvalid, change(func(b *CollectorPut) { b.EveryMS = -1 })},
		{"heartbeat too often", ErrInvalid, change(func(b *CollectorPut) { b.EveryMS = 999 })},
		{"heartbeat too seldom", ErrInvalid, change(func(b *CollectorPut) { b.EveryMS = 24*3600*1000 + 1 })},
		{"no port left", ErrNoPort, change(func(b *CollectorPut) { b.Port, b.PortStart, b.SkipPorts = 0, 65534, []int{65534} })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReplica(t)
			r.must(own("theirs", "m", 1), ext("outside", 2), own("mine", "n", 5), own("mine2", "n", 3), own("last", "n", 65535))
			r.mustFail(tc.want, tc.put)
		})
	}
}

func TestARegistrationMakesItsCluster(t *testing.T) {
	r := newReplica(t)
	r.must(own("i", "n", 1))
	if c := r.View().Table.Clusters["c"]; c.Name != "c" || c.Mode != ModeAll || c.FailoverAfter != DefaultFailoverAfter {
		t.Errorf("%+v", c)
	}
	r.must(ClusterPut{Name: "d", Mode: ModeOne}, with(own("j", "n", 2), func(b *CollectorPut) { b.Cluster = "d" }))
	if c := r.View().Table.Clusters["d"]; c.Mode != ModeOne || len(c.Collectors) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestARepeatedRegistrationIsAHeartbeat(t *testing.T) {
	r := newReplica(t)
	r.must(ext("e", 1))
	put := with(ext("e", 1), func(b *CollectorPut) { b.EveryMS = 2000 })
	if res := r.must(put); res.Changed {
		t.Errorf("%+v", res)
	}
	if got, want := r.Beats()["e"], (Beat{Last: noon.Add(2 * time.Second), Every: 2 * time.Second}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	// Of another cluster, it is the same collector and keeps its heartbeats.
	res, err := r.run(Command{ReqID: "early", Time: noon, Body: with(put, func(b *CollectorPut) { b.Cluster = "d" })})
	if err != nil || !res.Changed || r.Beats()["e"].Last != noon.Add(2*time.Second) {
		t.Errorf("%+v, %v, %v", res, err, r.Beats())
	}
}

// A node may follow the network as a client first, and be a member later.
func TestANodesCollectorMayBecomeExternalAndBack(t *testing.T) {
	r := newReplica(t)
	client := with(own("i", "n", 1), func(b *CollectorPut) { b.External = true })
	r.must(client)
	if len(r.Beats()) != 1 || !r.mustCollector("i").External {
		t.Errorf("%v", r.Beats())
	}
	if res := r.must(own("i", "n", 1)); !res.Changed || res.Collector.External || len(r.Beats()) != 0 {
		t.Errorf("%+v %v", res, r.Beats())
	}
	if res := r.must(client); !res.Changed || len(r.Beats()) != 1 {
		t.Errorf("%+v %v", res, r.Beats())
	}
	checkReplica(t, r)
}

func TestPortsRunOutAtAnAddress(t *testing.T) {
	r := newReplica(t)
	start := 65535 - 2
	put := func(id CollectorID) CollectorPut {
		return with(own(id, "n", 0), func(b *CollectorPut) { b.PortStart = start })
	}
	r.must(put("a"), put("b"), put("c"))
	r.mustFail(ErrNoPort, put("d"))
	r.must(CollectorDelete{ID: "b"})
	if res := r.must(put("d")); res.Collector.Port != start+1 {
		t.Errorf("%+v", res)
	}
}

func TestAddresses(t *testing.T) {
	for _, good := range []string{
		"h", "localhost", "n1.example", "n1.example.", "json_consumer", "10-0-0-1.example", "127.0.0.1", "::1", "fe80::1%eth0", "::ffff:1.2.3.4", "1a", "a.1b",
	} {
		if err := checkAddress(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
		if !addressForm.MatchString(good) {
			t.Errorf("a snapshot with %q would not be read", good)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "a..b", ".a", "a b", "a\n", "a/b", "a@b", "ä", "h:1", "[::1]", "127.0.0.1:80", "http://h", "a%20b", "fe80::1%a b",
		"127.1", "2130706433", "0x7f000001", "0X7F.1", "127.0.0.01", "256.0.0.1", "a.b.3", "1.2.3.4.",
		"1234567890123456789012345678901234567890123456789012345678901234.example." + string(make([]byte, 253)),
	} {
		if err := checkAddress(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

func TestHostsInOneForm(t *testing.T) {
	for host, want := range map[string]string{
		"Host.Example.": "host.example", "host": "host", "10.0.0.1": "10.0.0.1", "::FFFF:10.0.0.1": "10.0.0.1",
		"0:0:0:0:0:0:0:1": "::1", "FE80::1%eth0": "fe80::1%eth0",
	} {
		if got := plainHost(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

func TestErrorsNameWhoHasIt(t *testing.T) {
	r := newReplica(t)
	r.must(own("i", "n", 1), ext("e", 2))
	for want, put := range map[string]CollectorPut{
		"taken: collector id i belongs to node n":                            own("i", "m", 3),
		"taken: collector id e belongs to an external service at 10.0.0.9:2": own("e", "m", 3),
		"taken: 10.0.0.1:1 is the address of collector i":                    own("j", "m", 1),
		"no free port: none from 65535 on is free at 10.0.0.1":               with(own("j", "m", 0), func(b *CollectorPut) { b.PortStart, b.SkipPorts = 65535, []int{65535} }),
		"invalid: address \"a b\": neither an IP address nor a host name":    with(own("j", "m", 0), func(b *CollectorPut) { b.Address = "a b" }),
		"invalid: heartbeat every 5 ms, want 1s to 24h0m0s":                  with(own("j", "m", 0), func(b *CollectorPut) { b.EveryMS = 5 }),
	} {
		if _, err := r.do(put); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := r.do(own("i", "m", 3)); !errors.Is(err, ErrTaken) || errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
