// Package consensus is a node's part in raft: it founds or joins a network,
// replicates the state of package fsm, and decides who is a voter.
//
// Its main type is [Peer]: every node opens one. [Config] says what it stands on;
// gossip, and the means to ask another node, come in through it ([Members],
// Config.Ask), as do the listeners and connections ([Network], of which
// [MemoryNetwork] is one for tests). [Status] and [Health] tell in values and in
// words how things stand. [Inspect] and [Recover] are for the directory of a node that
// does not run.
//
// The package does not know who is alive: gossip does. It serves no HTTP, passes
// no command on to the leader, and keeps no file but raft's own:
//
//	Config.Dir/
//	  raft.db      the log, the term and the vote (raft-boltdb on bbolt, locked by the process)
//	  snapshots/   the last two (raft.FileSnapshotStore; the contents are fsm's format)
//	  probe        one byte, written and synced to try the disk
//
// What a connection of raft begins with is drawn at the type fence.
//
// Leader-only work has a context that ends with the leadership, and the next
// leadership does not begin on this node before that work has returned.
package consensus
