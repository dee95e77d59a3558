// Package quorum is the replicated log that the metadata come from: entries are proposed, made
// durable on the node's own disk, and applied in order to a state machine. For a new cluster it
// creates the cluster's marker in the object store. It never loses an entry that it acknowledged.
//
// The algorithm is go.etcd.io/raft, used as a state machine (RawNode, asynchronous storage writes);
// this package owns the disk format, group commit, snapshots, recovery, founding, elections and members.
// It may call core/env, core/task and core/telemetry; entries are bytes to it. Messages to other members
// go through Peers, which the caller provides, and come back by Receive; one that is alone needs none.
//
// # Randomness and time
//
// Raft draws an election timeout from the process's randomness, but reads it only when a node that
// does not lead is ticked, and no such node is ever ticked (R17). Only a leader is ticked, ten times in an
// election timeout: it sends heartbeats, and steps down if no majority has answered for a whole one
// (CheckQuorum). Everybody else runs a seeded timer of one to two election timeouts, which each message of the
// leader begins anew. When it fires, the member forgets the leader and campaigns; the others vote only if they
// have not heard the leader either (PreVote). A single voter needs no tick at all, and campaigns at its start.
// A test checks that the draw reaches no output.
//
// # Members
//
// A member is a node with one metadata disk (R18): its number is the node's, and one that was drawn for the disk.
// Whoever founds the cluster is its only voter. A node with an empty disk that finds another's marker, and has
// Peers, draws a number, writes the empty snapshot of entry 0, and waits until the leader adds it as a learner
// (ChangeMembers); a learner that has caught up may become a voter. One change is made at a time. A node whose
// disk is replaced is a new member, and its old one is to be removed. A member whose disk was restored from an
// older copy has promised what it no longer holds; the leader's commit index proves it, and it ends.
//
// A member that needs entries which the leader has no longer gets the name of the newest shipped snapshot, and
// fetches it from the object store. It is written under its name before a segment that continues it exists, with
// the hard state of that moment: a start that finds no segment behind the newest snapshot goes on from there. A
// snapshot that does not name its receiver is offered with the receiver as a learner: it was added later.
//
// A leader may lose its place while proposals are under way. Terms of a log never fall, so that the first entry
// of a later term says that the rest of them will not come (ErrNotLeader); where a snapshot took the place of the
// entries, nobody can tell (ErrUnknown).
//
// # Snapshots
//
// The machine's state is encoded off the loop, since a large one takes long. Nothing is applied meanwhile, so that it is the
// state as of one entry; messages, elections, writes to the log and reads of the state go on, and what is committed
// meanwhile is applied after it.
//
// # Files
//
// All integers are little-endian. Everything starts at a multiple of 4096. A file appears under its
// name whole: it is written under a temporary name (".tmp"), synced, and renamed.
//
//	quorum/log-<ordinal>       a segment of the log
//	quorum/snapshot-<index>    the machine's state as of the entry of that index
//	quorum/founding            the nonce of a founding that has not ended yet
//
// Numbers in names are 16 hexadecimal digits. The first 16 bytes of every file are the same, and so
// are those of the marker object:
//
//	 0 u64 magic: "weirQLG1", "weirQSN1", "weirQFD1"; "weirCLU1"
//	 8 u32 version
//	12 u32 CRC32C of the first 128 bytes (of a snapshot's first 4096, of the marker's 40), this field
//	       as zero
//
// Segment: a header in a block of its own, then groups, one after another.
//
//	16     cluster id, 16 bytes      64 u64 index of the last entry before the segment
//	32 i32 node                      72 u64 term  \
//	40 u64 ordinal                   80 u64 vote   hard state at its start
//	48 u64 nonce of this segment     88 u64 commit /
//	56 u64 sequence of its first group
//
// Group: what one write made durable; zeros fill it up to a multiple of 4096.
//
//	 0 u32 magic "qgrp"              24 u64 term  \
//	 4 u32 CRC32C of the header,     32 u64 vote   hard state
//	       this field as zero        40 u64 commit /
//	 8 u64 nonce of the segment      48 u32 length, header and padding included
//	16 u64 sequence, counting        52 u32 number of records
//	       through all segments      56 u32 CRC32C of everything behind the header
//	                                 60 u32 zero
//
// Record, an entry of the log:
//
//	 0 u32 length of data             8 u64 term
//	 4 u32 raft's type of entry      16 u64 index
//	24     data, then zeros up to a multiple of 8
//
// A record whose index is taken replaces that entry and all after it. A group has one checksum
// because it is valid whole or not at all.
//
// Snapshot: a header in a block of its own, then the data, zeros up to a multiple of 4096.
//
//	16     cluster id, 16 bytes      56 u64 length of data
//	32 i32 node                      64 u32 CRC32C of data
//	36 u32 number of voters          72 u64 ordinal of the segment from which on the log
//	40 u64 index of the last entry          continues the snapshot
//	48 u64 term of that entry        80 u64 each voter: the node's number plus one, and the disk's in the upper half
//	600 u64 the member whose disk this is; 0: disk 0 of the node
//	608 term, vote, commit: if no segment behind it exists yet; else zero
//	632 u32 number of learners       1280 u64 each learner
//	1024 position of the newest shipment known
//
// Founding: 16 cluster id, 32 i32 node, 40 u64 nonce. Marker, an object of 40 bytes: 16 cluster id,
// 32 u64 nonce.
//
// # Fault model
//
// A crash may leave a write in flight torn at any of the disk's blocks, and a rename or removal done
// or not. A killed process may leave a group in the page cache that the next power failure would
// take back: recovery syncs each file before it reads it, and writes the newest group again before it trusts it (R7), since a sync
// says nothing of what a failed one was to make durable. A full disk holds
// proposals up, or a snapshot, or the start, until there is room (Options.Full may make some). Any other error of the disk ends the incarnation:
// it is reported once, nothing is acknowledged after it, and nothing is tried again.
//
// One write of the log is in flight at a time, so only the newest group can be torn. A group that
// fails its checksum is damage, and loud, if anything vouches for it: a later group, a later segment
// (whose header names the first sequence that is not before it), or the empty group that Close
// writes. That leaves one group, the newest of an incarnation that was cut off: damage to it after
// it was acknowledged looks like a torn write. The next start begins a segment of its own and never
// writes into an old one, so that a torn group stays where it is and is passed over. A missing
// segment file is detected if a later one or the snapshot needs it.
//
// # Founding
//
// An empty disk founds a cluster only by winning the creation of the object "cluster" (R18). The
// nonce is durable on the disk before that, so that a crash in between finds the marker to be its
// own; a create whose answer was lost is settled by reading. The first segment and a snapshot of the
// empty machine at entry 1 follow, and make the disk non-empty. An empty disk beside another's marker
// does not start. With ShipWait a disk with a log waits until the store has shown that the disk is not
// old; with ShipAsync it starts without the store, and is compared when the store answers. Another
// cluster's marker, or none, ends the incarnation.
//
// # Shipping
//
// Committed entries go to the object store (R19) by the leader's hand, which tells the others how far they are there. They go under "<cluster>/log/<incarnation>-<sequence>", both in
// hexadecimal. A shipment holds the entries after the one before it, which it names by its nonce; a
// position on the disk says which one was the last. Shipments leave every ShipInterval, or at once if
// somebody waits (AwaitShipped): one PUT is in flight, and what gathers meanwhile goes with the next. A
// create whose answer was lost is settled by reading the nonce (R20). Snapshots go to
// "<cluster>/snapshot/<index>-<nonce>"; a shipment names the newest, and what lies before it is removed.
//
// What is not shipped is held in memory, and no snapshot is written over it. While the store is down, Backlogged
// tells when proposals should be refused that can be made again.
//
// At its start the disk of a member that is alone is compared with the store. If it lacks what was shipped, it catches up: it is
// written anew from the newest snapshot and the shipments behind it, under a durable note of that plan,
// so that a crash in between begins again. If it has entries that were not shipped and others were
// shipped in their place, another copy of it went on: the start ends. A member among others may lack what they shipped; a new
// leader begins where the newest shipment ends, and a deposed one that meets the shipments of a later term
// ships no more.
//
// # Names that were removed
//
// A name that was removed is free again, and a copy of the disk that stood still for days between its
// listing and its create would win it. So a create alone proves nothing: after it, names above are listed,
// and any of them means that this disk is old. That is enough, since the newest shipment is never removed: a
// name is removed only after a higher one counts, so that whoever creates a removed name finds a higher one.
// The stale object that it leaves is below the newest snapshot, where no reader looks, and the next removal takes it.
//
// # Invariants
//
//   - done of a proposal runs after its entry is durable at a majority and applied, once, in the order of
//     proposals. What was acknowledged is found again by every later incarnation, at the same index.
//   - Each index is applied once in an incarnation, in order. Entries of raft's own (each start adds
//     one) are not shown to the machine.
//   - A vote or term is durable before anything that depends on it is sent. The commit index is saved
//     only along with other data: a start determines it again.
//   - A snapshot holds exactly the entries up to its index. Segments and snapshots are removed only
//     once a newer snapshot is durable under its name, the oldest first.
//   - A segment holds at most 64 MiB, and an entry at most 1 MiB: recovery allocates no more.
//   - Proposals of one turn, or of the time that a write is in flight, are one write. Writing a snapshot
//     delays no proposal; encoding it takes time on the loop.
package quorum
