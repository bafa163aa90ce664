// Command bucket-relay moves files from one service to the next and loses
// none. The one binary is the node (start), the tools that explain a
// configuration before it is used (check, route), and the client of a running
// node (everything else).
//
// Every command is a function that takes its arguments, reads or asks, and
// prints. What a node does is decided in package node, what travels between
// nodes in package httpapi; nothing is decided here.
//
// # Exit codes
//
//	0  done
//	1  failed: the reason is on standard error
//	2  usage: unknown flags, wrong arguments, or a configuration with mistakes
//
// Results go to standard output, everything else to standard error. Client
// commands take --addr (BUCKET_RELAY_ADDR) and --json.
package main
