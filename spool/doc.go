// Package spool keeps files at rest: an [Outbox], where a service puts files
// that others are to have, and an [Inbox], where it finds those that came. Both
// are ordinary directories; what is ours lies in .relay below them.
//
// The package knows no network, no cluster and no next hop. It knows names
// ([CheckName]), ids ([ID]) and what a disk does when the power fails: a rename
// or a new file is there for good only after a sync of its directory, bytes
// only after a sync of their file, and after a sync that failed the bytes are
// gone, whatever a second sync says.
//
// # Outbox
//
//	<outbox>/
//	  <name>                       ready or not yet; the producer's
//	  .relay/
//	    lock                       flock of the process that has the outbox
//	    spool-id                   the uuid of this outbox, made once
//	    epochs                     the epochs of the last opens, for their marks
//	    claimed/
//	      <epoch>.<seq>.<name>     an item under way; its name is the journal
//	      @<collector>/            the same, owed to one collector alone
//	    done/
//	      <epoch>.<seq>.<name>     the .done marker of a file that is being claimed
//	    dead/
//	      <epoch>.<seq>.<name>     given up
//	      <epoch>.<seq>.<name>.json  why
//	      .retry.<claim>           the plan of a retry under way
//
// An id is the outbox's uuid, a random 64-bit epoch and a seq that counts from
// 1 in the epoch; in text <uuid>.<epoch, 16 hex digits>.<seq, hex>. The name of
// a claim has all of it, so a restart knows every pending id, and there is no
// database that could disagree with the directory.
//
// # Inbox
//
//	<inbox>/
//	  <name>                       published: whole, durable, the reader's
//	  .relay/
//	    lock                       flock of the process that has the inbox
//	    ledger-id                  "bucket-relay ledger 1 <uuid>\n"
//	    ledger.db                  what was published (bbolt)
//	    stage/
//	      <id>                     bytes of an item of ours
//	      foreign.<sha-256 of key> bytes under somebody else's key
//	      plain.<random>           bytes without a key
//	      probe                    a test file, there for a moment
//	    dead/
//	      <random>.<name>          what lay in stage/ and is not ours, or an old ledger
//	      <random>.<name>.reason.json  why it was set aside
//
// An item is published in these steps; S4 to S7 are shared by all that wait:
//
//	S1 create stage/<id>           S5 commit a PREPARED row
//	S2 write, check the digest     S6 rename stage/<id> to <inbox>/<name>
//	S3 sync the file               S7 sync <inbox>
//	S4 sync stage/                 S8 answer
//	                               S9 DELIVERED, with a later group's commit
//
// A recovery needs only ledger.db and stage/. PREPARED with its file in stage/:
// S6 and S7 again. PREPARED without: published, since nothing but S6 removes a
// prepared file. The inbox is not looked at: its reader may have been quick.
//
// # Format of ledger.db
//
// Numbers are big-endian. A key k is 33 bytes: 'i' and spool (16), epoch (8),
// seq (8); or 'f' and the SHA-256 of a foreign key; or 'p', 16 random bytes and
// 16 zeros. Checksums are CRC-32C over k (or the mark's key) and the value
// before the checksum.
//
//	meta       version → 01
//	           id      → uuid (16), that of ledger-id
//	prepared   k       → row        S5 was, S9 was not
//	delivered  k       → row        until settled, or expired
//	expiry     t (8) k → nothing    t: seconds since 1970; only for 'f'
//	marks      spool (16) epoch (8) → 01 | seq (8) | checksum (4)
//
//	row  01 | size (8) | sha-256 (32) | expires, seconds since 1970 or 0 (8)
//	     | length (2) name | length (2) published as; empty: as the name
//	     | length (2) key as it came; empty for 'i' | checksum (4)
//
// A mark stands for every row of its epoch up to seq: the sender has said that
// they are over, the rows are dropped, and a late duplicate is answered from
// the one number. Seq ffffffffffffffff closes an epoch for good.
package spool
