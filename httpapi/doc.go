// Package httpapi is everything that Bucket-Relay says over HTTP: the
// collector's endpoint and the sender that speaks to it, the admin API and its
// client.
//
// The types to begin with are Collector, which takes files from the wire and
// hands them to an Inbox; Sender, which offers them; Problem, the one form of
// every refusal; and Receipt, the one form of every delivery. For the network
// these are Clusters, the table as it travels; Network, what a node in a network
// of several can be told to do; and Client, which tells it. Client and server
// of one format stand side by side, so that each header and each body has one
// writer and one reader (Meta, Batch, Receipt, Problem), tested against each
// other.
//
// # A delivery
//
//	PUT /<escaped name> HTTP/1.1
//	Content-Length: 1024
//	Idempotency-Key: "3f0c…e1.00c0ffee00c0ffee.2a"
//	Repr-Digest: sha-256=:<base64>:
//	Relay-Mtime: 2026-07-01T12:00:00.000000000Z
//	Relay-Cluster: cluster1
//	Relay-Hops: n1, n2
//	Relay-Settled: 00c0ffee00c0ffee=28
//
//	201 Created    {"id":…,"name":…,"published_as":…,"size":…,"sha256":…,"collector":…,"durability":"group"}
//	200 OK         the same receipt, of an id that was delivered before
//	4xx and 5xx    a problem document (RFC 9457) with a stable code
//
// All of these headers are optional: a plain PUT is a delivery too, durable but
// at-least-once.
//
// # Following the table
//
//	GET /v1/clusters?index=41&wait=60s HTTP/1.1
//	Accept-Encoding: gzip
//
//	200 OK
//	Relay-Index: 42
//
//	{"index":42,"clusters":{"cluster1":{"mode":"all","collectors":[…]}}}
//
// The answer comes when there is an index above the one asked for, or after the
// wait. Clusters.Table is the way back into a table, and trusts nothing.
//
// # What it does not do
//
// The package knows no directory, no rule of routing and no raft: whatever it
// needs from the rest of the node it declares as an interface, which the package
// node fulfils. It decides nothing about names but their escaping. It does not
// look for the leader either: Forward marks a request that a node passes on, and
// Forwarded tells the one that gets it.
package httpapi
