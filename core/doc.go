// Package core is the root of weir's pure logic; it holds no code, only the
// protocol that the packages below it keep together: who may write what, when,
// and why nothing acknowledged is lost. Tests, mutants and comments name the
// rules by the numbers used here (R for rules, I for invariants). "go run ./internal/mutants -rules" lists for each
// rule the planted defects that break it and the scenarios that tell its story; a test wants one of each. Package sim/model
// searches R5, R6 and R9 to R12 exhaustively in a small model, with each part of them switched off in turn.
//
// # Words
//
// A stream (core/stream) is one partition's log: a sequence of offsets that
// knows nothing of Kafka. A range (metadata.Range) is one ownership of a stream:
// the leader epoch, the broker epoch whose WAL holds it, the start and, once
// sealed, the end. A batch is one Kafka record batch; it is appended, stored and
// served whole. It is encoded again only where its topic
// names another codec, before it is appended, or when its topic is compacted by key. The WAL (core/wal) is one broker
// incarnation's log of what is acknowledged and not yet committed. A commit
// (metadata.CommitObject) makes an uploaded object part of its streams' ranges.
// The image (metadata.Image) is what the quorum's log yields when applied in
// order; all that a broker knows of topics, streams and objects comes from it.
//
// # Ranges and commits
//
// R1. A commit names, for each of its streams, the range; it starts exactly at
// that range's committed end and passes neither its seal nor the high
// watermark. The range's owner commits; once its broker epoch has ended, only
// its recoverer. Ranges of one stream commit independently.
//
// R2. A commit is validated part by part. A part of a deleted stream counts as
// done. Data below the log start are done, but the committed end passes them
// only with a checkpoint. A refused part stops neither the rest nor the broker;
// a commit of which no part is accepted commits nothing, its object id
// included. Otherwise one deleted topic would hold up a thousand streams whose
// data travelled in the same object.
//
// R3. One record closes a range and opens the next, and the first to apply
// counts. A record that opens a range for an ended broker epoch is refused. A
// sealed WAL lives until all its ranges are committed.
//
// R3a. A replacement (metadata.ReplaceParts, compaction) names for each stream its exact
// source parts, and parts of new objects that hold the same offsets. It is judged stream by
// stream, like a commit, and refused unless all sources are still parts of the stream, one
// behind the other. So a trim, a deletion or another replacement that came first wins, and
// who leads the stream does not matter to safety. The ids of the new objects are leased to
// the epoch that proposes it; sources lose a reference, and die with their last after the
// grace that readers of an older image have (R20).
//
// # Compaction by key
//
// A compacted topic's log has holes: offsets whose records are gone, since a later record of
// their key lies above (core/clean). Offsets never change, and no range, commit or checkpoint knows of holes: a part stands for
// its offsets [start, end), whatever records are left of them, and each block and part ends
// with a batch. Only what is committed and below the last stable offset is compacted, by the stream's owner, with
// replacements (R3a). Readers of a version of a part use that version's index: records
// and the list of aborted transactions among them never come from two. How far a stream
// is compacted is a record of its own (metadata.CleanStream), which counts from the owner alone; if it is lost, work is done twice.
//
// # Producer state
//
// R4. Each commit carries for each of its streams a checkpoint: the producers
// with their epochs, last five batches and open transactions, exactly as of the
// end offset that it commits. The checkpoint with the highest end counts, whatever the order in
// which commits apply. The WAL repeats the same content in summaries: of each stream that is not wholly committed by records that are shipped (R19), the end of what was
// appended before, and its state there, in full. Who takes over joins the newest summary and the batches that follow it without a
// gap; of a stream that the summary lacks it takes the image's checkpoint, which must be as of where that joins. Whatever does not join, and a summary
// that lacks a stream for another reason than that it is committed (it overflowed, the stream's owner was gone, or a seal or deletion was not shipped), has the whole log
// read instead: checkpoint, and all batch headers that follow, over all logs of the stream that are owed, in order, again without a
// gap. A story says why "shipped": the metadata disks are lost with the last commits; the image that is rebuilt says that the log holds their records
// still, and a summary that was silent of them says that it does not. Two stories say why "exactly": if the state of a batch that is not yet
// durable is stored, its retry after a crash is "a duplicate" of something
// stored nowhere; if durable state is missing, the retry is appended twice. For
// the same reason a duplicate is acknowledged only once the high watermark has
// passed the original.
//
// A checkpoint above some KiB is no part of the record and the image: it lies in the commit's own object, as a block that says of
// which stream, object and end offset it is (core/object), and the commit names position, length and sum (metadata.StoredCheckpoint). The name
// is a reference: the object lives as long as it is named, whatever becomes of its parts, and until a newer checkpoint counts. Whoever
// needs the state has it read before: a partition is opened once its checkpoint came, and no other waits for that; a log is replayed on
// top of it; a tail is uploaded with it. What was read counts only while the image names it. Where nothing is uploaded, a record that states
// producers (a seal, R14 and R15) names an object that was put for it, if one record has no room for all. The owner of a
// stream that nobody writes to any more moves its checkpoint off an object that is little in use (metadata.MoveCheckpoints), exactly as of
// its end. All that is from a level of weir.metadata on; before it a partition has as many producers as one record has room for.
//
// A checkpoint has no aborted transactions: they follow from the batches alone, and
// the index of each stored part has those of its batches (core/object).
//
// # Transactions
//
// R23. A marker ends the transaction that it was written for, and no later one. In the
// second generation (KIP-890) the producer's epoch rises with each transaction, and a
// marker has the epoch after that of its transaction: a partition refuses one whose
// epoch is not above the epoch of an open transaction. A marker that comes again finds
// its own epoch and no open transaction, and is not written again. The first generation is
// served as Kafka serves it, with Kafka's known weakness.
//
// A client's batch opens a transaction on a partition only after the coordinator has
// said that the partition is part of it, and if no marker of that producer came since
// the coordinator was asked. Both are checked in the turn of the append. Otherwise the
// batch would belong to no transaction, and nobody would ever end it.
//
// The last stable offset is the first offset of an open transaction, as far as batches and
// markers are durable; it comes from the state of producers, never from what is uploaded:
// uploads pass it.
//
// # WAL
//
// R5. One log for each incarnation: a file, or the names of objects, belong to one
// broker epoch, and no region is ever written by two. Otherwise late writes of an old incarnation
// would lie where the new one reads: late creates behind the seal would meet the
// successor's, which is then refused at each start, or a later recovery replays them. The registration of an epoch
// says of which kind its log is, so that a missing file is never taken for an empty object log.
//
// R6 (object kind). Consecutive slots, each created if absent, several in flight, acknowledged in slot
// order. One slot has one body: a retry repeats its bytes. A create that is refused is settled by
// reading the slot: its own body says that an answer was lost, any other that the incarnation is fenced, and ends.
//
// A commit carries the lowest slot that holds anything uncommitted of a living stream
// (metadata.CommitObject.WALSlot), computed from commits that are applied and shipped, never from its own
// parts; a recoverer's commit carries none. Slots below the one that the image names are deleted once that is
// shipped: those that the last commit before a pause covers stay until the next one names it. Recovery begins with the slot that the image names, by an image that includes the end of
// the epoch, never with what a listing finds. It seals the first free slot by creating it; if a late create was faster, that
// counts, and the next slot is tried. Before it seals, it looks whether a slot behind says that the free one was
// durable: then something was lost, which is loud. Seals are never deleted while the cluster lives. A seal that comes so late that a create won its
// slot, was read, committed and deleted with the log lies where nobody reads any more.
//
// Three stories. create(0) is delayed, the seal in slot 0 is recovered and swept, the create lands and is acknowledged.
// Slots 0 and 1 are acknowledged, 0 is committed and deleted, 1 still says "trim 0": a recoverer that begins where slot 1 says
// finds 0 free, seals it, and drops 1. Slot 0 holds X and Y, and of the commit that was to cover it Y's part is refused.
//
// R7 (device kind). A group records up to where everything was durable when it
// was written. Damage below the highest such mark is corruption and loud; above
// it, it is a torn tail. Recovery writes what lies above it again, durably, before it
// trusts it: otherwise a killed process could serve, from the page cache, a tail that the
// next power failure takes back. A sync is not enough, since it may succeed after one
// that failed, and says nothing of what that one was to make durable.
//
// R8 (shared device: core/wal, Config.Shared and Fence). A recoverer makes a fence
// block durable that owners never write, and then reads the log. The owner reads that block
// after the write of each group, before it is durable for anyone, and of each superblock,
// before what that gives up is overwritten. The story: A is suspended with its clock, R waits
// out the lease and reads, A resumes, writes, "the lease holds", and acknowledges. With R8 safety
// rests on no clock. Two recoveries may end differently, by what the owner had in flight and
// never acknowledged: the first end that is recorded as a seal counts (R3, R4).
//
// The WAL is trimmed only below what is committed in the applied image (I5): the
// lowest position that holds anything uncommitted of any living stream, never
// computed from the parts of a commit that has yet to apply. Space of a device is written again
// only once a superblock that gives it up is durable there.
//
// # Leases and fencing
//
// Epochs, fences and seals keep data safe; leases only keep readers from being served by a broker whose partitions are led
// elsewhere. The broker's side is core/node (lease.go), the active controller's core/controller (sessions.go).
//
// R9. A heartbeat extends the lease only if the controller's leadership was confirmed by a majority after the heartbeat
// arrived (quorum.ConfirmLeadership), and its image has everything that was committed by then. The lease runs from the sending, on the
// broker's clock, for the session timeout less the drift bound; the broker reads its clock again at every acknowledgement and
// every answer. A new controller takes it that every broker got a lease at the moment of its election. A controller that was itself
// held up for long blames nobody for the heartbeats that it did not take.
//
// R10. To fence, the controller stops answering that epoch, waits until every lease that it granted has certainly ended on its own
// clock (the session timeout and the drift bound from when the heartbeat came), then proposes the fence. Records of a controller name
// its term; the image drops them in any other. They are never forwarded: only the leader proposes them.
//
// R11. Registering a node whose older epoch may still hold a lease waits likewise. A registration carries a nonce of the process, so
// that it can be asked for again, and a node id that is started twice is seen.
//
// R12. A device fence or a seal never spares the wait. A partition leaves a living broker only by that broker's own seal.
//
// R13. A heartbeat (controller.Heartbeat) names the last answer received, the applied index, and whether the log or the way to the store is sick.
// A broker that gets no answers, whose image stands still, whose writes to its log hang, or that does not reach the store, for a session timeout,
// is fenced like a silent one (Sessions.failing): it could neither be leased nor replaced. The store counts only while most brokers
// reach it, and a log only while another one is well: what is away for all is nobody's own fault, and to fence all would help nobody.
// A log in the store is as well as the store.
//
// # Failover and moves
//
// R14. A fence (metadata.FenceBroker) ends the epoch, and names its WAL as one to be recovered. Where others can read the WAL
// (a shared device, or the object kind), the controller names a recoverer, and another if that dies (AssignRecovery); else the broker's next epoch recovers
// it, and the partitions wait for that. The recoverer fences the log (R8), finds out how it ends, and gives every open range its seal, a new
// leader among those alive, and the state of its producers as of the seal, in one record for many (SealRanges): so a new leader
// opens from the image alone, or from what that names (R4), whatever the log holds. How it ends is read from the newest summary and what follows (R4; stream.Engine.RecoverEnds), which
// the superblock names and, of an object log, the last slots have: that takes as long for a long log as for a short one. Several logs of brokers that died together are opened
// one after another.
//
// What the log holds is recovered by the leaders of its streams, each its own (metadata.Image.Committer): so the image names a recoverer for each range by naming
// its stream's leader, one that dies is replaced with the leader, its work repeats harmlessly, and a planned move takes it along. The
// log has as many recoverers as its streams have leaders; each reads all of it, which costs reads and not requests (a GET for each slot), and spares a split of
// positions, which would tear a stream's order apart. What has no leader that can read the log is recovered by whoever closes its ranges. The log is given up once all
// ranges are committed, by whoever has it open. Each recoverer begins once no range of the log is open, and reads its last part first (a glance: some dozens of MB, at the newest
// summary of a device or in the last slots), then the log whole, checks all of it, and uploads its streams in the background. The log is durable as far
// as its seals, so its records are served as they are found: whoever has read a partition up to its end waits for the glance, and others until the
// log was read as far as they are; everybody else is served. So damage before the newest summary is found when the partitions are open already: it is as loud, and
// the log stays; what was found of it is served no more, and its readers wait, for what was acknowledged is nowhere else. Nothing is uploaded of a log
// before all of it was read. Below level 3 of weir.metadata one recoverer does all of that. Two recoveries of one log may find different ends, by what its owner had in flight and never acknowledged: the first seal
// that applies counts, and whoever reads the log after it cuts there.
//
// R15. A planned move (node.Move, a shutdown, the balancer, a drain) is a seal of the leader's own. New appends wait in the partition; once all that was
// appended before is durable and acknowledged, the partition serves no reads either, and the leader proposes the seal at its end, with the
// state of producers there and the next leader. It proposes the same seal again until the image says what became of it; if the next leader is gone, it seals
// for itself, under a new leader epoch. The next leader is told before, so that producers which come there before it has opened the
// partition, and consumers, wait for that (a courtesy: nothing depends on it); a fetch that comes while the seal is under way waits for its outcome. Nothing lies above the seal in its WAL. It owes the upload up to there, begins it at once, and a shutdown waits for
// it. Until then the next leader reads what is owed from it (core/stream, owed.go), or from whoever recovers its log: batches, and with them, for readers of committed
// records, the search for aborted transactions as far as the seal. Only a sealed range that its own WAL holds is answered for, and nothing at or above the seal. No lease
// is needed for that: records below a seal are durable and never change, so an answer is right however late it comes, and whether they may be served is for the
// lease of the broker that asks. Where nobody answers, an earlier release, say, readers wait for the upload. Before a broker that shuts down closes its connections, it goes on saying for a second who leads its partitions, under a lease that it renews to the end. It
// has told the others before that it leaves, so that two which leave together do not give their partitions to each other (a courtesy, too).
//
// R16. Where nobody but a dead broker can read its WAL, its partitions wait for it; the active controller says so each minute. An administrator
// may give the WAL up by the broker's name (weir abandon-wal, metadata.AbandonWAL), as long as the broker is fenced at the epoch that the
// administrator was shown. What its ended epochs owe is committed by parts without an object (Part.Lost), over which readers pass with an empty
// batch; an open range ends metadata.UncommittedOffsetsMax above what is committed of it, and the next one begins there. If the broker comes back
// with its disk, its epoch has ended, its ranges are another's, and its log is removed with one line. Where no broker can start without the lost
// log, since it is alone or all have lost theirs, weir.wal.abandoned names it, and the start gives it up for itself. Releases below controller.CleaningLevel
// would end at the record: there nothing is given up, and a start that is to do so raises the level before, which is refused while such a release is left.
//
// No offset gets a second value: an owner gives no offset further than UncommittedOffsetsMax above what is committed of the range, by records that
// are shipped (stream.reach; the start of a range is shipped before the range is used). What is committed and shipped never goes back, not even
// if all disks are lost and the image is rebuilt; so whatever image AbandonWAL applies to, each offset that the WAL holds lies below the new
// start. The bound is of offsets and not of bytes, since a batch of a few hundred bytes may hold a million records. It is larger than what is appended
// between two uploads; an append that would pass it waits for one. And no offset was acknowledged by the old owner later: its lease had ended
// before its fence (R10).
//
// The state of producers stays that of the newest checkpoint, which counts as of the end of what is lost behind it: there the next range begins, or a
// newer log of the same broker goes on. So whose acknowledged batches are lost is told
// that a sequence is missing, as after an unclean election in Kafka; a batch that was never acknowledged is appended when it is sent again. A
// transaction that was open there stays open until its coordinator ends it; if only its marker was lost, it hangs, and operators are
// told (partition.Options.TransactionLate); if its producer writes in another transaction before anybody ends it, the leader ends it before that with
// an abort marker of its own (partition, endForgotten): coordinators agree to a producer's next transaction only once the markers of the last are written.
// Where the markers of committed batches are lost, readers take their transactions for aborted.
//
// A proposal of a node that does not lead the quorum travels to the leader with the name of its origin, which is in the log
// beside the record (metadata.Origin): the node completes its proposal when it applies it. It is sent again only if it certainly is not in the log.
//
// # Quorum
//
// R17. go.etcd.io/raft with PreVote and CheckQuorum; only the leader ticks, so
// that the library's random election timeout is never read; followers run their
// own seeded timer. It carries metadata only, never records.
//
// R18. A voter is (node, disk). An empty disk founds a cluster only by winning
// the creation of the cluster's marker in the object store. Beside another's
// marker it does not start: recover-cluster writes it anew from the store. (core/quorum lets it
// join as a new member where it has peers; no node has any yet.)
//
// R19. The committed records of the quorum's log are shipped to the object store as
// objects with consecutive names, each created only if it is absent, and each naming
// the one before it (core/quorum, ship.go). A shipment counts once a listing shows that
// nothing lies above it. This dates a disk: a start whose log lacks what was shipped is
// old. Its metadata catch up from the store, or it ends and says why, before it serves,
// acknowledges or deletes anything; of two copies of one disk only one wins the next
// name, and the other stops. A log disk that ends below what is committed of its ranges
// is an older copy too, and ends the start (core/stream, recover.go).
//
// What waits for the shipment of its record: a registration, a range that was opened (a
// new topic or partition, a takeover), a leased block of object or producer ids, and
// what an administrator changed. An answer that follows from the image alone, such as
// "the topic exists already", waits until the image as it is then is shipped; and administrative requests are
// answered from an image that has everything that was committed when they came (broker, whenCurrent). What
// clients only see before (a topic, a log start) may be undone with the metadata disk.
// WAL space and objects are given up only after the record that frees them is shipped,
// whatever the settings; weir.metadata.shipping=async drops the other waits, and then
// the last few seconds before the loss of a metadata disk may be lost with it. All that
// wait share one PUT and one listing.
//
// recover-cluster (quorum.Rebuild) writes a lost metadata disk from the store alone. It
// seals the first free name before it reads for good, so that the lost disk can ship
// nothing more. Of a quorum of several members, any voter may be the first of the new one, as another member than before; the others join it
// with empty disks, and their logs are recovered as after any death. It begins a new incarnation of the cluster: its number is part of
// every later name, and its ids, log indexes and leader epochs lie above all that the
// old one may have given by records that were never shipped. The story: a volume is
// restored from yesterday's snapshot, its registration ends the epoch that is alive,
// whose leased ids look dead, and the sweeper deletes what was committed since.
//
// # Objects
//
// R20. One name, one body, always create-if-absent. A create whose answer was
// lost is settled by reading the object's nonce. Ids are leased in blocks; an
// id that was never committed dies first by a record that bars a later commit, also of a seal that would name it;
// then comes the deletion, repeated when a late PUT returns. Otherwise a sweeper
// with an old image would delete an object that is being committed.
//
// # Invariants
//
// I1: an acknowledged batch is readable at its offset until retention removes
// it. I2: an offset never has two values. I3: the high watermark never goes
// back. I4: each range has one committer at a time, ranges never overlap,
// commits within a range are contiguous. I5: the WAL is trimmed only below what
// is committed, and what its durable superblock keeps is not overwritten. I6: a
// producer's sequence is appended exactly once. I8: every stored object is in
// the image or dies within the sweep time, and no referenced object is deleted.
// I7: a reader of committed records sees a transaction (of the second generation) wholly
// or not at all: it reads up to the last stable offset, which never goes back, and gets
// with the batches every aborted transaction among them, in one answer.
// I9: a committed offset of a group is never lost or rolled back: it is applied once it is
// committed in the log, live and in replay by the same call, and answered after that
// (core/coordinator). I10: equal logs give equal images. I11: after faults heal, every
// partition accepts writes within the stated time. (I12 belongs to zones.)
// I13: a partition has one owner in a group of the protocol of KIP-848 at a time, in the
// order of the group's log (core/group/consumer).
package core
