package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const readyStatus = `{"node_id":"id-1","name":"n1","network_id":"net","role":"voter","ready":true}`

func TestMembersTable(t *testing.T) {
	f := newFakeNode(t, map[string][]string{
		"GET /v1/status": {readyStatus},
		"GET /v1/members": {`{"members":[
			{"node_id":"id-1","name":"n1","address":"10.0.0.1:10090","http":"10.0.0.1:10088","state":"alive","role":"leader","leader":true},
			{"node_id":"id-2","name":"n\u001b[2J","address":"10.0.0.2:10090","http":"10.0.0.2:10088","state":"suspect","role":"nonvoter","reason":"stable for 4s of 10s"}]}`},
	})
	f.runAt(t, "members").check(t, 0,
		`NAME      STATE    ROLE      LEADER  ADDRESS         HTTP            NODE ID`,
		`n1        alive    leader    yes     10.0.0.1:10090  10.0.0.1:10088  id-1`,
		`n\x1b[2J  suspect  nonvoter  -       10.0.0.2:10090  10.0.0.2:10088  id-2`,
		`n\x1b[2J: stable for 4s of 10s`)
}

func TestMembersSayWhoWasRefused(t *testing.T) {
	at := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	f := newFakeNode(t, map[string][]string{
		"GET /v1/status": {`{"node_id":"id-1","name":"n1","network_id":"net","role":"follower","reason":"no leader is in sight"}`},
		"GET /v1/members": {`{"members":[{"node_id":"id-1","name":"n1","state":"alive","role":"follower"}],
			"refused":[{"name":"n9","address":"10.0.0.9:10090","reason":"of another network","at":"` + at + `"}]}`},
	})
	got := f.runAt(t, "members")
	if got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
	const want = "not ready: no leader is in sight\nrefused: n9 at 10.0.0.9:10090, 1m"
	if !strings.Contains(got.out, want) || !strings.Contains(got.out, " ago: of another network\n") {
		t.Errorf("got\n%s\nwant\n%s", got.out, want)
	}
}

// A node that waits for others has no members to show, which is no failure.
func TestMembersOfANodeThatIsNotInANetworkYet(t *testing.T) {
	answers := func() map[string][]string {
		return map[string][]string{
			"GET /v1/status":  {`{"node_id":"id-1","name":"n1","network_id":"","role":"follower","reason":"forming: 1 of 3"}`},
			"GET /v1/members": {"503 not-in-network"},
		}
	}
	newFakeNode(t, answers()).runAt(t, "members").check(t, 0, "not in a network yet: forming: 1 of 3")

	got := newFakeNode(t, answers()).runAt(t, "members", "--json")
	var doc membersSeen
	if err := json.Unmarshal([]byte(got.out), &doc); err != nil || got.code != 0 {
		t.Fatalf("exit code %d, %v: %s", got.code, err, got.out)
	}
	if doc.Members.Members == nil || doc.NetworkID != "" || doc.Reason != "forming: 1 of 3" {
		t.Errorf("got %+v", doc)
	}
}

func TestRemoveAndItsRefusal(t *testing.T) {
	f := newFakeNode(t, map[string][]string{"DELETE /v1/members/n3": {"", "409 conflict"}})
	f.runAt(t, "remove", "n3").check(t, 0, "node n3 is removed")
	got := f.runAt(t, "remove", "n3")
	got.check(t, 1, "")
	got.says(t, "the reason (conflict)")
}

func TestCompletionOfWhatTheNetworkHas(t *testing.T) {
	f := newFakeNode(t, map[string][]string{
		"GET /v1/clusters": {twoClusters},
		"GET /v1/members":  {`{"members":[{"node_id":"id-2","name":"n2","state":"failed"}]}`},
	})
	for command, want := range map[string]string{
		"remove":               "n2\tfailed",
		"leader transfer --to": "n2\tfailed",
		"cluster rm":           "logs\tmode all, 1 collector",
		"cluster set":          "images\tmode key, 1 collector",
		"collectors rm":        "i1\tcluster images",
		"drain":                "l1\tcluster logs",
	} {
		// The flag comes before one that is completed itself.
		words := strings.Fields(command)
		at := len(words) - strings.Count(command, "--")
		line := append([]string{"__complete"}, words[:at]...)
		line = append(append(append(line, "--addr", f.url), words[at:]...), "")
		if got := runHere(t, line...); !strings.Contains("\n"+got.out, "\n"+want+"\n") {
			t.Errorf("%s: lacks %q:\n%s", command, want, got.out)
		}
	}
}
