package consensus

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bucket-relay/bucket-relay/fsm"
)

var testTiming = Timing{}.withDefaults()

// scene reads a situation from words such as "1V 2V:dead=40s 3N:alive=3s 4F".
// V is a voter, N a nonvoter, F outside the configuration. The first node leads.
// All are alive, in contact and in the catalogue unless the marks say otherwise.
func scene(words string) situation {
	now := time.Unix(1_000_000, 0)
	s := situation{
		now: now, timing: testTiming, networkID: "net",
		replication: make(map[string]replication),
		deadSince:   make(map[string]time.Time), unheardSince: make(map[string]time.Time),
	}
	for _, word := range strings.Fields(words) {
		what, marks, _ := strings.Cut(word, ":")
		id, kind := what[:len(what)-1], what[len(what)-1]
		if s.self == "" {
			s.self = id
		}
		m := Member{ID: id, Name: "n" + id, Raft: "h" + id + ":1", HTTP: "h" + id + ":2", NetworkID: "net", HasState: true, Alive: true, Since: now.Add(-time.Hour)}
		server := Server{ID: id, Address: m.Raft, Voter: kind == 'V'}
		r := replication{contact: 10 * time.Millisecond}
		known, entry := true, true
		for mark := range strings.SplitSeq(marks, ",") {
			key, value, _ := strings.Cut(mark, "=")
			d, _ := time.ParseDuration(value)
			switch key {
			case "dead":
				m.Alive, m.Since, r.contact = false, now.Add(-d), d
				s.deadSince[id] = m.Since
			case "alive":
				m.Since = now.Add(-d)
			case "leaving":
				m.Leaving = true
			case "deaf":
				r.contact = d
				s.unheardSince[id] = now.Add(-d)
			case "never":
				r.contact = -1
			case "lag":
				r.lag, _ = strconv.ParseUint(value, 10, 64)
			case "name":
				m.Name = value
			case "raft":
				m.Raft = value
			case "conf":
				server.Address = value
			case "http":
				m.HTTP = value
			case "net":
				m.NetworkID = value
			case "forgotten":
				known = false
			case "new":
				entry = false
			}
		}
		if known {
			s.members = append(s.members, m)
		}
		if kind != 'F' {
			s.servers = append(s.servers, server)
			s.replication[id] = r
		}
		if entry {
			s.nodes = append(s.nodes, fsm.Node{ID: id, Name: m.Name, HTTP: m.HTTP})
		}
	}
	return s
}

func steps(actions []action) []string {
	list := []string{}
	for _, a := range actions {
		text := string(a.step) + " " + a.subject()
		if a.step == stepAddress {
			text += " " + a.server.Address
		}
		list = append(list, text)
	}
	return list
}

func TestDecide(t *testing.T) {
	for _, test := range []struct{ name, scene, want string }{
		{"alone", "1V", ""},
		{"three in order", "1V 2V 3V", ""},
		{"five in order", "1V 2V 3V 4V 5V", ""},
		{"new node", "1V 2F:alive=1s,new", "put node 2, add nonvoter 2"},
		{"from one to three only when two are ready", "1V 2N 3N:alive=9s", ""},
		{"from one to three", "1V 2N 3N", "promote 2, promote 3"},
		{"half way to three", "1V 2V 3N", "promote 3"},
		{"half way to three, not yet ready", "1V 2V 3N:lag=251", ""},
		{"half way to three, then alone", "1V 2V", "demote 2"},
		{"half way to three, candidate just died", "1V 2V 3N:dead=5s", ""},
		{"half way to three, candidate is dead", "1V 2V 3N:dead=31s", "demote 2"},
		{"half way to three, candidate never answers", "1V 2V 3N:never,deaf=61s", "demote 2"},
		{"two are one and a spare", "1V 2N", ""},
		{"four are three and a spare", "1V 2V 3V 4N", ""},
		{"from three to five", "1V 2V 3V 4N 5N", "promote 4, promote 5"},
		{"lag", "1V 2N:lag=251 3N", ""},
		{"lag is small", "1V 2N:lag=250 3N", "promote 2, promote 3"},
		{"no contact", "1V 2N:deaf=501ms 3N", ""},
		{"no contact yet", "1V 2N:never 3N", ""},
		{"a sixth follows the table", "1V 2V 3V 4V 5V 6F:new 7F", "put node 6"},
		{"spare voters up to five", "1V 2V 3V 4N 5F 6F", "add nonvoter 5"},
		{"nonvoter not needed", "1V 2V 3V 4V 5V 6N", "remove 6"},
		{"nonvoter not needed, but it would not learn", "1V 2V 3V 4V 5V 6N:deaf=5s", ""},
		{"nonvoter not needed, but it lacks an entry", "1V 2V 3V 4V 5V 6N:lag=1", ""},
		{"nonvoter not needed, dead", "1V 2V 3V 4V 5V 6N:dead=1h", ""},
		{"nonvoter never answers, another is tried", "1V 2V 3V 4V 5N:never,deaf=2m 6F", "add nonvoter 6"},
		{"nonvoter answers not yet", "1V 2V 3V 4V 5N:never,deaf=30s 6F", ""},

		{"voter dead for a moment", "1V 2V 3V:dead=29s 4N", ""},
		{"voter dead, spare ready", "1V 2V 3V:dead=30s 4N", "promote 4"},
		{"voter dead, spare not ready", "1V 2V 3V:dead=30s 4N:lag=1000", ""},
		{"swapped", "1V 2V 3V:dead=40s 4V", "demote 3"},
		{"swap of five begins", "1V 2V 3V 4V 5V:dead=30s 6F", "add nonvoter 6"},
		{"swap of five", "1V 2V 3V 4V 5V:dead=50s 6N", "promote 6"},
		{"swap of five ends", "1V 2V 3V 4V 5V:dead=50s 6V", "demote 5"},
		{"swap of five, the dead is back", "1V 2V 3V 4V 5V 6V", "demote 6"},
		{"swap of five, the dead has just gone again", "1V 2V 3V 4V 5V:dead=3s 6V", ""},
		{"two of five dead", "1V 2V 3V 4V:dead=50s 5V:dead=50s 6N 7N", "promote 6, promote 7"},
		{"two of five dead, one swapped half", "1V 2V 3V 4V:dead=50s 5V:dead=60s 6V 7N", "demote 5"},
		{"three dead may stay when nobody is there", "1V 2V 3V:dead=1h", ""},
		{"no promotion while the quorum is in doubt", "1V 2V:deaf=1s 3V:deaf=1s 4N 5N", ""},
		{"no swap ends while the quorum is in doubt", "1V 2V:deaf=1s 3V:deaf=1s 4V:dead=40s", ""},
		{"nonvoter leaves that was ready", "1V 2N:leaving 3N", "remove 2"},

		{"leaver", "1V 2V 3V:leaving", "remove 3"},
		{"leaver with a spare", "1V 2V 3V:leaving 4N", "promote 4, remove 3"},
		{"leaver would cost the quorum", "1V 2V:dead=5s 3V:leaving", ""},
		{"leaver of two", "1V 2V:leaving", "remove 2"},
		{"nonvoter leaves", "1V 2N:leaving", "remove 2"},
		{"follower leaves", "1V 2F:leaving", "delete node 2"},
		{"leaver that is gone", "1V 2V 3V:leaving,dead=1s", "remove 3"},
		{"leader leaves", "1V:leaving 2V 3V", "transfer leadership 2"},
		{"leader leaves, first is not healthy", "1V:leaving 2V:deaf=1s 3V", "transfer leadership 3"},
		{"leader leaves, a spare takes over", "1V:leaving 2N", "promote 2"},
		{"leader leaves, the spare took over", "1V:leaving 2V", "transfer leadership 2"},
		{"leader leaves, last of all", "1V:leaving", ""},

		{"dead for long", "1V 2V 3V 4V 5V:dead=72h", "remove 5"},
		{"dead for almost as long", "1V 2V 3V 4V 5V:dead=71h", ""},
		{"four are three and a spare after that", "1V 2V 3V 4V", "demote 4"},
		{"dead for long, no healthy majority without", "1V 2V 3V:deaf=1s 4V:dead=80h 5V:dead=80h", ""},
		{"nonvoter dead for long", "1V 2N:dead=72h", "remove 2"},
		{"follower dead for long", "1V 2F:dead=72h", "delete node 2"},
		{"forgotten by gossip", "1V 2V 3V:forgotten,dead=1h", ""},
		{"forgotten by gossip for long", "1V 2F:forgotten,dead=72h", "delete node 2"},
		{"shrinks by an unhealthy one", "1V 2V 3V 4V:deaf=1s", ""},

		{"wiped", "1V 2V 3V:dead=15s 4F:name=n3,alive=15s,new", "put node 4, add nonvoter 4"},
		{"wiped, just now", "1V 2V 3V:dead=9s 4F:name=n3,alive=15s,new", ""},
		{"wiped, ready", "1V 2V 3V:dead=20s 4N:name=n3", "promote 4"},
		{"wiped, a voter again", "1V 2V 3V:dead=20s 4V:name=n3", "demote 3"},
		{"wiped, old one learned", "1V 2V 3N:dead=20s 4V:name=n3", "remove 3"},
		{"wiped, old one out", "1V 2V 3F:dead=20s 4V:name=n3", "delete node 3"},
		{"wiped, same address", "1V 2V 3V:dead=15s,raft=x:1,conf=x:1 4F:name=n3,alive=15s,raft=x:1", "set address 3 3.invalid:1"},
		{"wiped of five", "1V 2V 3V 4V 5V:dead=15s 6F:name=n5,alive=15s", "add nonvoter 6"},
		{"name clash", "1V 2N 3F:name=n2,new", ""},
		{"name clash with the leader", "1V 2F:name=n1,alive=2h,new", ""},
		{"name clash of new ones", "1V 2F:name=x,alive=5s,new 3F:name=x,alive=20s,new", "put node 3, add nonvoter 3"},
		{"name passes on when its node leaves", "1V 2F:leaving 3F:name=n2,new", "put node 3, add nonvoter 3, delete node 2"},
		{"other network", "1V 2F:net=other,new", ""},
		{"other network, as yet without id", "1V 2F:net=,new", ""},

		{"address changed", "1V 2V:conf=old:1 3V", "set address 2 h2:1"},
		{"own address changed", "1V:conf=old:1 2V 3V", "set address 1 h1:1"},
		{"addresses in a chain", "1V 2V:conf=h3:1 3V:conf=old:1", "set address 2 h2:1, set address 2 2.invalid:1"},
		{"addresses in a chain, the other way", "1V 2V:conf=old:1 3V:conf=h2:1", "set address 3 h3:1, set address 3 3.invalid:1"},
		{"addresses in a ring", "1V 2V:conf=h3:1 3V:conf=h2:1", "set address 3 3.invalid:1, set address 2 2.invalid:1"},
		{"two at one address", "1V 2V 3V:raft=h2:1,conf=h3:1", ""},
		{"address of the dead", "1V 2V:dead=5s,conf=old:1 3V", ""},
		{"no admin API yet", "1V 2N:http=,new", ""},
		{"no raft yet", "1V 2F:raft=", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := []string{}
			if test.want != "" {
				want = strings.Split(test.want, ", ")
			}
			if diff := cmp.Diff(want, steps(decide(scene(test.scene)))); diff != "" {
				t.Errorf("%s: -want +got\n%s", test.scene, diff)
			}
		})
	}
}
