package main

import (
	"encoding/json"
	"testing"

	"github.com/bucket-relay/bucket-relay/httpapi"
)

const goodHealth = `{"healthy":true,"leader":"n1","voters":3,"failure_tolerance":1,"index":42,"nodes":[
	{"node_id":"id-1","name":"n1","state":"alive","alive":true,"voter":true,"leader":true,"last_contact_ms":0,"lag":0},
	{"node_id":"id-2","name":"n2","state":"alive","alive":true,"voter":true,"last_contact_ms":12.4,"lag":3},
	{"node_id":"id-3","state":"failed","voter":true,"last_contact_ms":95000,"lag":1200,"reason":"not in sight"},
	{"node_id":"id-4","name":"n4","state":"alive","alive":true}]}`

func TestHealthTable(t *testing.T) {
	f := newFakeNode(t, map[string][]string{"GET /v1/health": {goodHealth}})
	f.runAt(t, "health").check(t, 0,
		`NODE  ALIVE  VOTER   LAST CONTACT   LAG  NOTE`,
		`n1    yes    leader             -     0`,
		`n2    yes    yes             12ms     3`,
		`id-3  no     yes            1m35s  1200  not in sight`,
		`n4    yes    -                  -     -`,
		`leader n1, 3 voters: can lose 1 more node`)
}

func TestHealthIsAFailureWhenTheNetworkIsUnwell(t *testing.T) {
	cases := map[string]struct {
		doc  string
		want []string
	}{
		"nothing to spare": {`{"leader":"n1","voters":2,"warnings":["an even number of voters: add a node"]}`,
			[]string{"leader n1, 2 voters: can lose no more nodes", "warning: an even number of voters: add a node", "not healthy"}},
		"no leader": {`{"voters":3,"failure_tolerance":1}`,
			[]string{"no leader, 3 voters: nothing can be changed now", "not healthy"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFakeNode(t, map[string][]string{"GET /v1/health": {c.doc}})
			got := f.runAt(t, "health")
			got.check(t, 1, c.want...)
			if got.err != "" {
				t.Errorf("said twice: %s", got.err)
			}
			got = f.runAt(t, "health", "--json")
			var doc httpapi.Health
			if err := json.Unmarshal([]byte(got.out), &doc); err != nil || got.code != 1 {
				t.Errorf("exit code %d, %v:\n%s", got.code, err, got.out)
			}
		})
	}
}

func TestHealthWithMoreToSpare(t *testing.T) {
	f := newFakeNode(t, map[string][]string{"GET /v1/health": {`{"healthy":true,"leader":"n1","voters":5,"failure_tolerance":2}`}})
	f.runAt(t, "health").check(t, 0, "leader n1, 5 voters: can lose 2 more nodes")
}
