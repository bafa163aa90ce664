// Package membership will say which nodes of the network are alive, by gossip.
//
// A static network has no members, so nothing is here yet but the room: the
// only importer of hashicorp/memberlist, which knows neither raft nor
// assignments nor HTTP. Liveness never decides a delivery; it ranks.
package membership
