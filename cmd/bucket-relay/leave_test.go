package main

import "testing"

const fullSpools = `{"spools":[{"name":"o1","kind":"outbox","path":"/srv/out","queued":2,"in_flight":1},
	{"name":"k1","kind":"inbox","path":"/srv/in","queued":4}]}`

func TestLeaveRefusesWhileOutboxesHoldFiles(t *testing.T) {
	f := newFakeNode(t, map[string][]string{"GET /v1/status": {readyStatus}, "GET /v1/spools": {fullSpools}})
	got := f.runAt(t, "leave")
	got.check(t, 1, "")
	got.says(t, "outbox o1 (/srv/out) holds 3 undelivered files", "nothing was done", "--force", "stay where they are")
	if f.wasAsked("POST /v1/leave") {
		t.Error("it left")
	}
}

// A supervisor may start the node again: then another node answers.
func TestLeaveWaitsForTheEndOfTheNode(t *testing.T) {
	for name, args := range map[string][]string{"empty": {"leave"}, "forced": {"leave", "--force"}} {
		t.Run(name, func(t *testing.T) {
			spools := `{"spools":[{"name":"k1","kind":"inbox","queued":4}]}`
			if name == "forced" {
				spools = fullSpools
			}
			f := newFakeNode(t, map[string][]string{
				"GET /v1/status": {readyStatus, readyStatus, "503 unavailable", `{"node_id":"id-9","name":"n1"}`},
				"GET /v1/spools": {spools}, "POST /v1/leave": {""},
			})
			got := f.runAt(t, args...)
			got.check(t, 0, "node n1 has left its network")
			if got.err != "" || len(f.answers["GET /v1/status"]) != 1 {
				t.Errorf("did not wait: %q; %s", f.asked, got.err)
			}
		})
	}
}

func TestLeaveThatIsRefused(t *testing.T) {
	f := newFakeNode(t, map[string][]string{
		"GET /v1/status": {readyStatus}, "GET /v1/spools": {`{"spools":[]}`}, "POST /v1/leave": {"409 quorum-risk"},
	})
	got := f.runAt(t, "leave")
	got.check(t, 1, "")
	got.says(t, "the reason (quorum-risk)")
}

func TestLeaderTransferSaysWhoLeadsThen(t *testing.T) {
	const one = `{"members":[{"node_id":"id-1","name":"n1","leader":true},{"node_id":"id-2","name":"n2"}]}`
	const none = `{"members":[{"node_id":"id-1","name":"n1"},{"node_id":"id-2","name":"n2"}]}`
	const two = `{"members":[{"node_id":"id-1","name":"n1"},{"node_id":"id-2","name":"n2","leader":true}]}`
	for name, c := range map[string]struct {
		args []string
		seen []string
	}{
		"to any":     {nil, []string{one, one, none, two}},
		"by name":    {[]string{"--to", "N2"}, []string{one, none, two}},
		"by id":      {[]string{"--to", "id-2"}, []string{one, one, two}},
		"leads then": {[]string{"--to", "n2"}, []string{two}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeNode(t, map[string][]string{"GET /v1/members": c.seen, "POST /v1/leader/transfer": {""}})
			f.runAt(t, append([]string{"leader", "transfer"}, c.args...)...).check(t, 0, "node n2 leads")
		})
	}
	f := newFakeNode(t, map[string][]string{"GET /v1/members": {one}, "POST /v1/leader/transfer": {"503 no-quorum"}})
	got := f.runAt(t, "leader", "transfer")
	got.check(t, 1, "")
	got.says(t, "(no-quorum)")
}
