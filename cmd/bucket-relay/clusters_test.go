package main

import (
	"testing"
)

const twoClusters = `{"index":7,"clusters":{
	"images":{"mode":"key","key":"^(.)","failover_after":"30s","collectors":[
		{"id":"i1","node":"id-2","address":"::1","port":10100,"state":"active","alive":false}]},
	"logs":{"mode":"all","collectors":[
		{"id":"l1","node":"","address":"10.0.0.9","port":10101,"state":"draining","alive":true,"external":true}]}}}`

func TestClustersAndCollectorsTables(t *testing.T) {
	f := newFakeNode(t, map[string][]string{
		"GET /v1/clusters": {twoClusters},
		"GET /v1/members":  {`{"members":[{"node_id":"id-2","name":"n2"}]}`, "501 static-network"},
	})
	f.runAt(t, "clusters").check(t, 0,
		`CLUSTER  MODE  KEY   COLLECTORS`,
		`images   key   ^(.)  i1`,
		`logs     all         l1`)
	f.runAt(t, "collectors").check(t, 0,
		`COLLECTOR  CLUSTER  ADDRESS         NODE  STATE`,
		`i1         images   [::1]:10100     n2    active, not in sight`,
		`l1         logs     10.0.0.9:10101        draining, external`)
	// Where nobody can say how a node is called, it has its id.
	f.runAt(t, "collectors").check(t, 0,
		`COLLECTOR  CLUSTER  ADDRESS         NODE  STATE`,
		`i1         images   [::1]:10100     id-2  active, not in sight`,
		`l1         logs     10.0.0.9:10101        draining, external`)
}

func TestAnEmptyTableIsSaidInWords(t *testing.T) {
	f := newFakeNode(t, map[string][]string{
		"GET /v1/clusters": {`{"index":1,"clusters":{}}`}, "GET /v1/members": {`{"members":[]}`},
	})
	f.runAt(t, "clusters").check(t, 0, "there are no clusters")
	f.runAt(t, "collectors").check(t, 0, "there are no collectors")
}

func TestClusterSetAndRemove(t *testing.T) {
	f := newFakeNode(t, map[string][]string{"PUT /v1/clusters/images": {""}, "DELETE /v1/clusters/images": {"", "409 conflict"}})
	f.runAt(t, "cluster", "set", "images", "--mode", "key", "--key", "^(.)", "--failover-after", "1m").
		check(t, 0, "cluster images is set")
	if !f.wasAsked(`PUT /v1/clusters/images {"mode":"key","key":"^(.)","failover_after":"1m0s"}`) {
		t.Errorf("asked %q", f.asked)
	}
	f.runAt(t, "cluster", "rm", "images", "--json").check(t, 0, "{", `  "removed": "images"`, "}")
	got := f.runAt(t, "cluster", "rm", "images")
	got.check(t, 1, "")
	got.says(t, "the reason (conflict)")
}

func TestCollectorsRemoveAndDrain(t *testing.T) {
	f := newFakeNode(t, map[string][]string{
		"GET /v1/clusters":                             {twoClusters},
		"DELETE /v1/clusters/images/collectors/i1":     {""},
		"POST /v1/clusters/images/collectors/i1/drain": {""},
	})
	f.runAt(t, "collectors", "rm", "i1").check(t, 0, "collector i1 is removed")
	f.runAt(t, "drain", "i1").check(t, 0, "collector i1 gets nothing new")
	f.runAt(t, "drain", "i1", "--undo").check(t, 0, "collector i1 takes files again")
	got := f.runAt(t, "collectors", "rm", "nobody")
	got.check(t, 1, "")
	got.says(t, `"nobody"`, "not found")
}
