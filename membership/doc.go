// Package membership says which nodes of the network are alive, by gossip. It is
// the only importer of hashicorp/memberlist and knows neither raft nor
// assignments nor HTTP. Liveness never decides a delivery; it ranks.
//
// A [Pool] is this node's seat in the gossip: [Open] takes it, [Pool.Members]
// tells who is there, [Pool.Update] changes what this node tells of itself (its
// [Meta]), [Pool.Leave] and [Pool.Close] give it back. A [Member] is one node as
// this one sees it; a [Refusal] is a node that is not let in, or that must not be
// what it says it is, with the reason in words. A [Network] carries the gossip
// of many pools in memory, for tests.
//
// A node's name in gossip is "<node id>.<generation>": the generation grows at
// each start, so a restart is a new name, and nobody waits until the old one is
// found dead. Members shows one entry for each node id.
//
// # What a node tells of itself
//
//	at  bytes  field
//	 0      1  format: 1. Another one cannot be read
//	 1      1  revision: 0. Later ones append fields behind advertise
//	 2     16  node id
//	18     16  network id, zeros for none
//	34      8  generation            numbers are big endian
//	42      2  HTTP port
//	44      2  raft port
//	46      2  expect
//	48      2  level
//	50      1  flags: bit 0 has state
//	51      1  role: 0 none, 1 leader, 2 voter, 3 nonvoter, 4 follower
//	52      1  intent: 0 none, 1 stop, 2 leave
//	53      1  length of the name, 1 to 64, and the name
//	 …      1  length of advertise, 0 to 253, and the host
package membership
