// Package stream is the storage engine: all streams of one broker incarnation over one WAL and one
// object store. It assigns offsets, makes batches durable, keeps recent ones in memory, uploads them in
// large objects, reads everything back, and recovers what an ended incarnation left in its WAL. It also reads
// committed records of streams that other brokers lead.
//
// It knows nothing of Kafka beyond the head of a batch. It may call core/metadata, core/wal,
// core/object, core/record, core/task, core/telemetry and core/env. What it asks of the controller
// and of the cluster's image stands in the interfaces [Committer] and [Image].
//
// # The life of a batch
//
//	Append -> offsets -> WAL group -> durable: high watermark moves, owner is told
//	       -> cut into an upload, with the owner's checkpoint as of exactly there (R4)
//	       -> object built off the loop -> PUT -> commit, in the order of the cuts (R1)
//	       -> image applied -> WAL trimmed (I5), cache may evict
//
// A read is answered from the log cache (the WAL's own slabs, kept), from a recovered tail, or from
// the store through the block cache.
//
// # Transactions
//
// The stream knows of transactions what the heads of batches and their markers say, to name the aborted ones with what
// [Stream.ReadStable] reads. They lie where the batches lie: those of the log cache and of each recovered tail in memory,
// for as long as the entries of the batches are kept and counted with them (an [object.Transactions] each); those of a
// committed part in its index, which a reader of the part has in the index cache anyway. Each knows only what its own
// batches say. A search goes from the first to the next and on behind the end of what was read, until every
// transaction of it has met its marker. So no list grows with the log, retention takes an index away with its part,
// and nothing has to be rebuilt after a restart but what recovery reads.
//
// # Parts
//
// An [Engine] is wiring: it hands what it is told to its parts. They share its base (options, WAL, what is in
// flight, how the store answers), and each has its own state. In the order of a batch's life:
//
//   - appender (append.go) takes batches into WAL and log cache (cache.go, ring.go), and tells owners what is
//     durable. After commits it evicts, has the trimmer trim, and lets refused appends try again.
//   - checkpoints (checkpoints.go) reads the checkpoints that lie in objects, for partitions that are to be opened, for recovery
//     and for the upload of tails. [StoredStates] (states.go) is an object that is put for checkpoints alone.
//   - [Stream] (stream.go, streams.go) is one open stream: its offsets, and what the image says of them. It reaches
//     the other parts through its Engine: the appender, the uploader's counts, and for reads (read.go,
//     stable.go, timestamp.go) whoever has the offset. The streamSet is all of them.
//   - uploader (upload.go) decides when to cut, cuts all streams, and commits in the order of the cuts. Each cut
//     is an upload (put.go, commit.go): it takes an id of the idLease (ids.go), is built, put and committed.
//   - trimmer (trim.go) gives up the WAL below what the streams still need, once that is shipped. Commits carry the slot
//     where that is in an object WAL; slots below the one that a shipped commit carried are deleted.
//   - latest (recover_latest.go) finds out how an ended incarnation's WAL ends, from its newest summary and what follows.
//   - recoveredLogs (recover.go, tail.go) is what WALs of ended incarnations have that this one is to commit: it reads from them, while they are still
//     looked through, and removes those that are not owed. What they had last it finds first (glance.go). Its tailUploader (tail_upload.go) makes uploads of them.
//   - owedReads (owed.go, owed_format.go) reads what the WALs of other brokers hold of this one's streams, and answers those that ask for what its
//     own WALs hold of theirs.
//   - compactor (compactor.go) makes few large parts of the many small ones that uploads leave. What is to be done says
//     mergePolicy (compaction.go), which is pure; each compaction (compaction_job.go) does one of them.
//   - cleaner (cleaner.go) compacts streams by key.
//   - [Reader] (reader.go) reads committed objects: two caches (blocks.go, indexes.go) over one fetcher
//     (fetch.go, hedge.go, brake.go), and what it knows of sequential readers (readahead.go). It knows none of the other parts.
//
// # Compaction
//
// Each upload adds a part to each stream that was written; unless they were merged, the image would grow with every
// upload for as long as retention keeps it. The leader of a stream merges them, in two ways. A rewrite reads small
// parts of some neighbouring streams, up to RewriteBytes in memory, verifies every block, and puts them as one
// object with larger blocks and indexes built anew. A join has the store compose an object from runs of others: its index is that
// of the parts one behind the other (object.Join), and no record passes through the broker. A replacement (R3a) makes
// either count, stream by stream; what a trim, a deletion or another leader was first to change is refused, and costs
// nothing but the work. A crash at any point leaves an object that nobody refers to, and that dies by R20.
//
// Which parts, by size alone. A rewrite takes 8 parts of a stream of about one size, of together at least 4 times the
// largest, and the neighbours that have 4; a part is no longer rewritten once it has 128 KiB and the aligned block of
// 64 stream ids that it belongs to has 8 MiB of its object. From there on joins take 3, of together at least twice the
// largest, up to a quarter of the stream (retention takes whole parts) and to objects of 10 GiB. Blocks nest: streams that
// shared an object share what it becomes, so that joins find runs worth to be copied. With more than 20 parts, two
// are enough for either. Any merge at least doubles the part in which a record of the largest source lies. Others of the block
// come along with what they have of a join's objects; but a part of 8 MiB and up that would only move stays where it is, if it and its like
// are half of their object: where uploads have few streams each, that would be copied for each of them in turn. What the others gave up of
// such an object stays in the store with it: at most about as much again as is in use.
//
// Of an object of more than half of 10 GiB a part is settled, if it has a quarter of what each stream has of it on average: what the block
// has of it is too large to be joined with as much again, and the part alone lies in pieces of a rewrite's size, some 400 kB, that S3 does
// not copy. To join it would be to write it once more. Settled parts do not count among the 20.
//
// The arithmetic, for 10,000 partitions and 100 MB/s in uploads of 500 MB: a part has 50 kB. 8 of them in 64 streams are 26 MB,
// one rewrite; each record is written once more: 1 + 1. A join sends its indexes, 0.1 %, and the first 5 MiB of its
// object, which the header needs to be a part that S3 takes: 5 of 77 MB, then of 230, 690, ...: 8 % and 3 % and 1 %.
// Together 2.13 bytes are written for one, and with the merges of crowded streams 2.20. Parts of a stream: up to 8 small ones, and
// 2 for each level of joins, of which there are 5 from 400 kB to the 80 to 160 MB that a stream has of an object of 5 to 10 GiB: the
// levels are rarely full at one time. From there on one settled part for each 100 to 160 MB that retention keeps: with the 6 GB of a
// week a stream has 50 parts, 62 at most (TestAYearOfWriting counts them, with objects and requests; make year). Fewer would need larger
// objects: with 40 GiB there are 24 after 5 days instead of 41. Two levels of rewriting would write 3 bytes for one. A stream that has objects of its own
// (OwnObjectBytes) is joined alone, since its runs are long: it has a part for each 5 to 10 GiB. Where little is written, objects
// are too small to be joined and are rewritten some times: a few bytes more, and few objects.
//
// These rules alone bound nothing. What is too large to be a source of joins may lie between what is too small to be joined, part by
// part; and where sizes go 1 3 1 11 1 3 1 43 ... no run doubles its largest, so that s bytes may stay the square root of s
// parts. So of a stream that has more than 20 parts beside the settled ones, and none of these runs, the one goes that costs the least
// bytes for each part less, of 8 parts and up if as many fit, else of 2: by a rewrite with its neighbours, or if it is larger than
// that by a join of its own, of which the runs that S3 does not copy pass through the broker, 5 MiB at a time. Then a stream at
// rest has at most 20 parts that are not settled; or no two of its n parts that lie side by side, with neither settled, fit into one
// object. A settled part has at least a quarter of 1/64 of 5 GiB: one for each 20 MB of the stream at most.
//
// Offsets that were given up with a log (R16) are a boundary: nobody has their records, and nothing is joined over them. What lies
// before and behind is merged as ever; 2 more parts stay for each at most, until retention takes it.
//
// An object of which less than a quarter has been in use for 10 minutes is given back: what is left of it moves, checkpoints of
// quiet streams too (move_checkpoints.go).
//
// Compaction has the lowest priority. It begins nothing while uploads wait, appends are refused or half the GETs are taken; it
// runs JobsMax compactions, each with a few GETs; BytesPerSecond bounds it. What fails is tried a few times and then left
// alone for a while, up to 10 minutes, stream by stream; operators get a line.
//
// # What may be read without owning
//
// Whatever is committed: the objects and the image are enough. A [Reader] gives any broker the [CommittedLog] of
// any stream, from its log start to the end of what is committed without a gap, with read-ahead for whoever keeps
// the CommittedLog, the retries and reports of loss that the leader's reads have, and errors if the stream is
// deleted or trimmed meanwhile. What is not committed is in its leader's WAL: only the leader reads that, and
// after it whoever recovers the WAL.
//
// # Tail reads
//
// After a move the old leader's WAL holds records of the stream, for as long as they are not uploaded, and after a death the log that
// another broker recovers. The new leader asks whoever has them ([Options.AskHolder], [Engine.AnswerOwed]): at most four questions at a time, each for up to
// 1 MiB of batches and 3 MiB in all, which are on the heap of both; others stand in line. Each batch is held against its sum. Meanwhile every read looks
// every 20 ms whether its records are committed, and reads them from the store then. A broker that does not answer is left alone
// for half a second. Searches by timestamp ([Stream.FindTimestamp]) ask nobody: they wait for the upload.
//
// # Reading what is in the store
//
// A block is what is kept, a GET brings adjacent ones of an object, each into a slab of its own: as many as the read
// asked for, up to 1 MiB, and what is read ahead in ranges of up to 8 MiB. Each block is held against its own sum, and
// read again by itself if that is wrong. Whoever asks for a block that is on its way waits for it with the others, so
// consumers at one position cost one read, and so do those that follow within what the block cache holds.
//
// A reader that goes on where a read of it ended is read ahead of, by four times what it has read in sequence, for as
// long as it reads on and there is room: all that is read ahead and not read yet, on its way or in memory, has five
// eighths of the block cache, of which one step takes half of what is left at most. It waits for no place among
// the GETs in flight that somebody who waits could take. What its reader leaves is given up after some seconds.
//
// A GET that takes longer than 95 in 100 of its size did of late, and than twice their median, is asked for a second
// time if somebody waits for it. The answer that is whole first counts, and the other is dropped. That is done for one
// GET in twenty at most, and never while the store fails.
//
// Reads give way to acknowledgements, if it is for them that appends are slow (brake.go): a store on the log's own disk, or
// too few processors. Nothing is held back while nothing is appended, nor where appends are as quick as without reads.
// Where both meet, reads begin with little, or with what did no harm the last time. Off the loop, what somebody waits for to be
// acknowledged goes first, then tail reads, uploads, catch-up reads and compaction (env.ComputeClass).
//
// The cache of blocks is S3-FIFO with two changes, which are described at blockCache. On traces of scans, of groups that follow
// each other and of blocks that readers return to, it has 29 to 62 of 100 blocks where a cache by last use has 22 to 56 and plain
// S3-FIFO 24 to 51 (TestTheBlockCacheOnTraces). Libraries with such policies start goroutines or take locks, and count
// entries where slabs are to be counted.
//
// # Compaction by key
//
// The cleaner (cleaner.go, clean_pass.go) does one pass at a time, of one stream, when the stream's owner says so
// ([Stream.Clean]; core/clean decides which records stay). It reads the parts that are dirty for their keys, then all parts
// from the log start, a few blocks at a time, and replaces groups of them by parts of new objects (R3a). A group that would
// lose nothing stays as it is, and is not written. A pass that ends early leaves what it has replaced: each group is right by
// itself, if all before it were replaced. So a pass ends where a replacement is refused: were it to go on, a tombstone could go
// whose key is still there below. It ends with the ownership of the stream, too, and none begins while another broker owes records
// of it, which may hold the markers of what is to be compacted. What was compacted is not served from the log cache any more. While a pass is at work on a stream, its objects are not merged.
//
// # Memory
//
// The log cache holds at most CacheBytes, beyond one slab. What is noted of each batch counts too, with
// what its upload will take and what the garbage collector leaves room for: for the smallest batches that
// is more than their bytes. So do the notes of batches in recovered tails. What is not committed is pinned
// there, so a store that is down for long fills it; then Append refuses, as it does when the WAL is full. The
// block cache holds at most BlockCacheBytes; blocks on their way from the store come on top, as much again at
// most (ReaderOptions.GetBytesInFlightMax), and so do blocks that a receiver of [Fetched] still holds. So do
// compactions, RewriteBytes each. A recovered tail is
// uploaded in pieces of bounded size, once its log was read whole. Recovery keeps a note of each batch for that, and nothing else: the
// state of producers is replayed, and held against the log's summaries, while the log is read.
//
// A pass of compaction by key takes CleanIndexBytes for keys, CleanObjectBytes for what it will write, and a few MiB for what it reads.
//
// # Commits that fail
//
// A failed commit may have been applied in part. It is proposed again, without end, with the parts that
// the image lacks; operators get a line. Only an object whose id the image does not know any more is put
// again, under a new id.
//
// Checkpoints above Options.CheckpointInlineBytesMax lie in the object, and the commit names them: 16 bytes instead of up to 160 for each
// producer. To encode them takes time all the same: an upload, a piece of a recovered tail and a turn of the loop each take a bounded
// number of bytes of them (Options.CheckpointBytes), but at least one. A cut of many streams therefore takes several turns; each stream is
// cut in one, together with its checkpoint.
//
// # Invariants
//
//   - Offsets of a stream are dense when they are appended: each batch starts where the one before it ends (I2). In
//     what is committed offsets may be missing; then a read goes on with the next batch.
//   - The high watermark only grows (I3), by batches in order; a cut never passes it.
//   - Uploads start at the range's committed end, or at the end of the upload before them, and are
//     committed one at a time in the order in which they were cut (I4). A part that the image refuses
//     is cut again once no other upload of its stream is under way.
//   - Only the applied image says what is committed, never the state of an upload. The WAL is
//     trimmed below the lowest position that holds anything uncommitted of a stream that the image
//     knows, and no higher (I5).
//   - An entry's slab is released only once the image says that the entry is committed, or that its
//     stream is gone.
//   - A PUT whose answer is lost is settled by reading the nonce (R20). Nothing is ever put twice
//     under one id with different bytes.
//   - Bytes from the store or from a recovered WAL are checked against their sum before any of them is
//     used, every time they are read.
//   - Committed records that the store does not have any more are reported: readers get an error,
//     operators a line that names partition, offsets and object.
//   - Every slab is released. Shutdown waits for that, but not for uploads: it abandons what the store has
//     in flight, and starts nothing.
//   - A compaction replaces exactly what it read (R3a), holds each stream at most once, and drops no offset.
//   - A Reader serves nothing that the image does not call committed, and nothing below the log start.
package stream
