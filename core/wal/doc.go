// Package wal is the write-ahead log: what a broker acknowledged and has not yet committed to the
// object store.
//
// The package owns the format of the log, group commit, the trim point, back-pressure and recovery,
// and the medium that the log lies on: a device, which is one preallocated file, written around
// in a circle with direct, durable writes; or an object store, with one object for each group. The package knows streams only as numbers, and batches as
// bytes with a 61-byte head. It may call core/env, core/task, core/record and core/telemetry.
//
// # Parts
//
// A [Log] knows positions, and nothing of where they are stored. It has four parts: gatherer lays
// appends into groups, groupCommit writes several groups at a time and acknowledges them in order,
// trimPoints are the positions that the log may be trimmed to, and summaries writes what recovery must
// know without payloads. The Log itself refuses appends when there is no space, and announces space.
//
// A medium stores the groups. It says how large a group can be at a position and how far the log may
// grow (room, reserve), it makes groups durable (write), and it records the marks and gives up what is
// trimmed (step). What follows from how groups are stored is the medium's alone: of the device that is
// blocks of 4096 bytes, the circular region and its fillers, superblocks, growth and shrinking. The
// slots of an object store have none of these; there a slot is a group's sequence number, the image records
// where recovery begins, and a create that is refused because the name is taken by another ends the log.
//
// Recovery has the same seam. The scanner validates groups, marks and records, tells a torn tail from
// damage, and visits entries and summaries. It reads from a source, which finds the groups and makes
// sure that what it returns is durable; deviceSource has the superblocks, the arithmetic of the region
// and what is written again. A source needs nothing of the broker that wrote the log, so that one broker reads
// another's log in the same way, from a shared disk or from the object store; slotSource has the seal.
//
// RecoverLatest is the same scan, begun near the end, for those who must know soon what the newest summary says and what follows it. On a device the superblock
// names that summary, and the header of its group is looked for in the blocks before it. Of an object log the end is looked for by the headers of
// some slots, further and further apart, then of all around the last that was found: one that exists says that those which its writer could not have in flight
// with it were durable. Nothing that the rest of the log holds is looked at.
//
// RecoverSealed and RecoverLatestSealed are for those who know by the cluster's metadata how far the log counts: what is there was made durable and sealed by whoever found
// that out. They write nothing, and what they have visited can be read at once.
//
// # Groups and records
//
// A [Position] counts bytes ever logged and only grows. All integers are little-endian.
//
// Group: a header, records one after another, zeros up to the next multiple of what the medium aligns
// groups to: 4096 bytes on a device.
//
//	 0 u32 magic "wgrp"             32 u64 sequence, counting from 0
//	 4 u16 version                  40 u64 position
//	 6 u16 flags: 1 = filler,       48 u32 length, header and padding included
//	       2 = seal
//	 8 u32 CRC32C of the header,    52 u32 CRC32C over the CRC fields of all records, in order
//	       this field as zero       56 u64 durable: everything below it was durable when this
//	12 u32 number of records               group was written
//	16 i64 broker epoch
//	24 u64 nonce
//
// A filler is a group without records that takes the positions which the medium cannot use. Only its
// header is stored, with zeros up to the next multiple.
//
// A seal is a header alone, in the first slot that the log of an object store has not: the log ends there.
//
// Record (starts at a multiple of 8, and so does its payload):
//
//	 0 u32 CRC32C of nonce, position of the record, bytes 4..39,
//	       and the payload, of a batch only its first 61 bytes
//	 4 u8  kind: 1 = batch, 2 = summary; then three zero bytes
//	 8 u32 payload length           24 i64 base offset
//	12 i32 leader epoch             32 u32 number of offsets
//	16 u64 stream                   36 u32 zero
//	40     payload, then zeros up to a multiple of 8
//
// The 61 bytes are a batch's header, with the CRC32C that the batch carries over everything from its
// byte 21 on. That CRC was verified when the batch came in, so no record is summed again on its way
// to the device; a record is valid only if its own sum and its batch's CRC both hold, and recovery
// and reads check both. The group's CRC covers the records' CRCs, and thereby everything.
//
// Damage is detected as follows. Torn writes: the blocks with the records' heads are there and some
// with their bodies are not; such bodies fail the CRC in the head. Stale or misdirected heads: each sum
// covers the position and the log's nonce, which is secret, so bytes of another log, an earlier lap or
// another place fail it; for the same reason no client can write a payload that passes for a head or
// a group. Stale or misdirected bodies: they are another batch's bytes under this head, and fail its CRC
// unless they are equal. A client can choose bodies so that some of its own fit several of its own
// heads; below the highest mark that would matter only if the device lost a durable write, and above it
// is only what was never acknowledged. A batch that changed in memory after it came in fails too; a sum
// taken at the copy would have accepted it.
//
// # The objects of a log
//
// Slot n of the log of a broker epoch is the object "<cluster>/wal/<epoch>/<n>", both numbers as 16 hex digits. It is a
// group, whose sequence number is n. Records are sorted by stream, in the order in which they were
// appended, so that others can read one stream's; the summary comes last, and is as of all of them. (In memory
// they lie in the order of the appends; the object is put together from there.) Slot 0 is a group without records,
// of 72 bytes, made with the log: it shows recovery that there was one. Every object but a seal is larger than 64 bytes.
//
// A group gathers for LingerMin if the log wrote little before, and else until LingerMax after the one before it, or
// until it is full; so an idle log answers soon, and a busy one makes a bounded number of requests: in any time t at most
// LingerBurst + t/LingerMax and one for each GroupBytesMax written. With the defaults that is four PUTs a second, 52 $ a month at S3's prices, with or without
// the burst; what the burst changes is that a chain of up to eight appends, each begun once the one before is
// acknowledged, does not wait 250 ms for each. A summary
// goes into each group that is sealed at the end of a turn, unless summaries would take more than half of the log.
//
// # The file of a device
//
// Position p lies in the file at 8192 + p mod region. Every structure that starts in the file starts at
// a multiple of 4096. A group never crosses the end of the region; a filler takes what is left there.
//
//	file offset
//	0        +----------------------+
//	         | superblock, even seq |  one 4096-byte block
//	4096     +----------------------+
//	         | superblock, odd seq  |  one 4096-byte block
//	8192     +----------------------+  <- position 0, region, 2*region ...
//	         | group | group | ...  |
//	         |   circular region    |
//	8192 + region ------------------+
//
// Superblock (the rest of its block is zero):
//
//	 0 u64 magic "weirWAL1"         40 u64 region bytes
//	 8 u32 version                  48 u64 ahead: furthest that a group in flight can end beyond
//	12 u32 CRC32C of bytes 0..87,          the start of the first one not durable, plus one group
//	       this field as zero       56 u64 trim: the lowest position kept, a group's start
//	16 i64 broker epoch             64 u64 durable: everything below it was durable
//	24 u64 nonce of this log        72 u64 position of the newest durable summary
//	32 u64 sequence                        record, all ones if there is none
//	                                80 u64 flags: 1 = shared
//
// # A shared device
//
// Several brokers may reach the disk (Config.Shared), and recover each other's logs there without knowing whether the owner is
// dead (R8). Beside the log "wal-7" lies the file "fence-wal-7" then. Its first block is zero until a recoverer writes a fence into
// it, durably, and then reads the log. The owner never writes that block, and reads it after the write of each group, before the
// group is durable for anyone, and of each superblock, before it overwrites what that gives up. If that read began before
// the fence was durable, the recoverer reads the log after the group was written, and finds it. Else the owner sees the
// fence, and its incarnation is over. No clock enters. The story that it prevents: A is suspended, R waits out its lease and reads
// its log, A resumes, writes, finds its lease valid by a clock that stood still, and acknowledges.
//
// Fence block (the rest of it is zero; any byte that is not zero ends the owner):
//
//	 0 u64 magic "weirFnc1"         16 u64 nonce of the recoverer
//	 8 u32 version                  24 u64 flags: 1 = the log had begun when it was fenced
//	12 u32 CRC32C of bytes 0..39,   32 u64 zero
//	       this field as zero
//
// The owner opens the fence file before it makes the log, and keeps it open. So one that exists beside no log is met by an owner
// that has yet to begin, and stays; if a log had begun, the file's owner has it open, and the two are removed, the log first.
//
// The disk must show a read that begins after a write completed what was written, on whatever machine either
// runs. Direct files on a local file system, a cluster file system or NFS do; a file system that caches
// direct reads does not.
//
// # Invariants
//
//   - One log belongs to one broker epoch (R5): it is created exclusively, every header names
//     the epoch, and nothing is ever written to the log of another epoch but, by recovery, what it holds already.
//   - Groups become durable, and appends are acknowledged, in the order in which they were appended,
//     whatever order the medium completes the writes in.
//   - Each group carries the mark up to which everything was durable when it was written (R7). With
//     several writes in flight a crash may leave a hole before valid groups; a hole above the highest
//     mark is a torn tail and ends the log, one below it is damage to acknowledged data and is
//     reported as [CorruptError].
//   - Space counts as free only once the medium has recorded the trim point durably (I5).
//   - Nothing is acknowledged in a shared log after a recoverer made its fence durable but what was written before, and is found (R8).
//   - An error of the medium ends the log: it is reported once, nothing is acknowledged after it, and
//     nothing is tried again.
//   - What a new leader must know without reading payloads is repeated in summary records (R4), every
//     SummaryEveryBytes, as of everything appended before them.
//   - Payload is copied and patched, and heads are summed, off the loop (DiskWrite.Prepare), which
//     touches only the group's slab and the appends, lent until they are durable.
//
// In an object store:
//
//   - One slot has one body. A try whose answer is lost is repeated with the same bytes; one that is refused is
//     settled by the header in the slot. Nothing is read but then: never on the way of an acknowledgement.
//   - At most WritesInFlightMax slots, at most 64, are created from the first that is not durable on. So a slot that is
//     free while one 64 behind it exists was durable, and recovery, which looks so far, says so before it seals anything.
//   - What is accepted and not in the store yet is bounded by twice the creates in flight: a store that is down refuses
//     appends as a full device does. SizeBytes bounds what is not committed.
//   - Slots are deleted only below the one that the image names, once that is shipped. Nobody deletes a seal.
//   - A create makes sure that the store refuses the second create of a name.
//
// On a device:
//
//   - Recovery syncs the file before it reads, and writes again, durably, what no mark vouches for, because the
//     page cache may show bytes that the next power failure would take back: a sync says nothing of those that a failed
//     one was to make durable.
//   - Space is overwritten only after a superblock that gives it up is durable (I5); an assertion checks each
//     group against the durable superblock. The two superblocks alternate, so a torn one leaves the other, which
//     never names space already overwritten.
//   - A group is written only into space that zeros were written to before, because a file system
//     takes twice as long for the first write to an unwritten extent.
//   - A log begins with its superblocks alone, and grows behind them. Growth leaves FloorBytes of the volume usable.
//   - Nothing is placed beyond what was grown, so a full device only delays appends. If it
//     stays full while an append waits, and uploads have freed half of what was grown, the log shrinks to that: the
//     next superblock names the smaller region, and only once it is durable does the log wrap there. No position
//     moves. A log whose growth is held shrinks in the same way. The log has its full size again from the next
//     start on, if there is room.
package wal
