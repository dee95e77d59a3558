// Package checker validates what clients saw.
//
// A [Partition] is the history of one partition: appends with their outcomes,
// reads, bounds, lookups, epoch ends and trims, each with strictly increasing
// stamps of call and return. A stamp is simulated time in nanoseconds. An
// acknowledged append carries its offset, so the order of the log is given, and
// [CheckLog] checks a history of any length in about n log n:
//
//   - I2, inconsistent offsets: an offset has one value; batches do not overlap;
//   - I6, duplicate: a value lies at one offset; a producer's batches lie in its
//     order, and none is missing below a later one of the same session. What one
//     connection sends with acks 0 is a session, too;
//   - I1, lost write: what was acknowledged, or seen once, is in every later drain;
//   - I1, retention: what was deleted unasked was older than the topic's retention,
//     or had at least retention.bytes behind it;
//   - aborted read: what definitely failed is never seen (reported as I6);
//   - read from the future, real-time order: an append lies above all that was
//     acknowledged before it was called; a read sees nothing called after it;
//   - I3: the high watermark covers all that was acknowledged before the call, never
//     passes what was called before the return, and never goes back in real time;
//   - skips: a read is without gaps, and starts at the offset that was asked for;
//   - trims: the log start only moves up, to where a trim asked it to be. If the metadata disk is exchanged, what
//     was not acknowledged may be undone;
//   - lookup: a timestamp leads to the first record at or after it, and the largest
//     timestamp to the first record that has it, never below the log start;
//   - epoch: leader epochs rise along the log, and each epoch's end lies above its
//     batches and at or below those of later epochs.
//
// [CheckTransactions] checks what transactions did to the partitions (I7), by the markers that readers saw:
//
//   - torn: a transaction ends alike at all its records, and as its client was told; without a request to commit it is aborted;
//   - aborted and precommitted read: a reader of committed records is given a transaction's records only after its commit was asked for,
//     and its marker lies below the high watermark; it leaves out all that is aborted, and nothing else;
//   - a marker is written once, with a higher epoch than what it ends (second generation), and every transaction ends;
//   - exactly once: the committed transactions of a group consumed each partition without overlap or gap;
//   - I3: the last stable offset never goes back, and is never above the high watermark.
//
// The first generation has a known weakness (KAFKA-17754): a delayed EndTxn may decide a later transaction with the same epoch. Transactions
// that one may still reach are marked stale by the client, and only checked for what readers saw.
//
// [CheckGroup] checks consumer groups:
//
//   - I9: the committed offset of a partition is a register, and each fetch sees the last commit; a transaction's commit takes effect
//     with EndTxn, unless a plain commit or a deletion came after it was staged. What was deleted is gone. Commits carry numbers in
//     their metadata, so that this is decided in n log n (Gibbons and Korach);
//   - group: a partition has one owner in a generation and at a time, also while a static member is away, and a commit of an earlier
//     generation is refused.
//
// [CheckKeyed] holds what readers of a compacted partition saw against a model of Kafka's cleaner:
//
//   - I1: who reads the whole log sees of each key the last write that was in the log before, or a later one; a tombstone too, for as long
//     as its time is not over;
//   - I2: each offset has one record for ever, with the key, time and headers that were written, in the order of the writes;
//   - I7: nothing of an aborted transaction;
//   - compaction: once all is compacted, the log has one record of each key.
//
// The anomalies of Jepsen's workload for Kafka (jepsen.tests.kafka), and what finds them here: inconsistent-offsets is I2, duplicate I6, lost-write
// and unseen I1; G1a (aborted read) is I6 for what definitely failed and I7 for what was aborted; precommitted-read is I7. G1c, a cycle of
// write-read dependencies, needs a transaction that read another's records before its commit was asked for, which I7 forbids. int-poll-skip
// and int-nonmonotonic-poll are the skips of a read (I1). Between two reads a client chooses its own offset, but for a group's member, whose first
// offset is the committed one (I9): poll-skip, nonmonotonic-poll and consume-counts are its exactly-once check. (int-)nonmonotonic-send is
// the order of sessions (I6) and real-time order (I2). As in Jepsen's verdicts, G0 (interleaved transactions), int-send-skip and cycles with
// write-write edges are allowed: Kafka's transactions have no write isolation.
//
// [CheckLinear] is an independent oracle: porcupine over the same history, with a
// model of append and read only. Appends of unknown outcome stay open.
//
// Histories planted in this package's tests, good and bad, prove each rule.
package checker
