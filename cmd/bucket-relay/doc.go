// Command bucket-relay moves files from one service to the next and loses
// none. The one binary is the node (start), the tools that explain a
// configuration before it is used (check, route), the tools for a network that
// does not run (snapshot inspect, recover), and the client of a running node
// (everything else).
//
// Every command is a function that takes its arguments, reads or asks, and
// prints. What a node does is decided in package node, what travels between
// nodes in package httpapi; nothing is decided here.
//
// The commands of a network: members and health say how it is, clusters and
// collectors what it agrees on; cluster, drain, leave, remove, leader and
// snapshot change it, through any node. A node of a static network answers them
// with the reason why it cannot.
//
// # Exit codes
//
//	0  done
//	1  failed: the reason is on standard error; also what status and health
//	   say when the node is not ready or the network not healthy
//	2  usage: unknown flags, wrong arguments, or a configuration with mistakes
//
// Results go to standard output, everything else to standard error. Client
// commands take --addr (BUCKET_RELAY_ADDR) and --json.
package main
