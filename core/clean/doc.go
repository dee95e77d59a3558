// Package clean is compaction by key as Kafka's log cleaner does it: which records of a compacted log survive, and when a
// log is worth cleaning. It does no I/O and knows batches, not streams: core/stream reads and replaces what is stored, with
// an [Indexer] and then a [Filter] off the loop.
//
// # A pass
//
// A pass cleans a log from its start to an end. First an Indexer reads the dirty batches, those that no pass has read
// yet, and notes in [Offsets] where each key is last. Its memory is bounded: when it is full, the pass ends there, and
// the next one goes on. Then a Filter reads the log from its start, and leaves of each batch
//
//   - the records that are the last of their key, as far as was read, and all that lie beyond;
//   - tombstones (keys without a value) until the delete horizon of their batch is over. The first pass that keeps one sets
//     the horizon, to its own time plus delete.retention.ms (KIP-534), so that a reader who takes no longer than that
//     for the log sees each tombstone whose value it saw;
//   - nothing of an aborted transaction;
//   - a transaction's marker for as long as a pass meets a batch of the transaction, then until a delete horizon;
//   - the last batch of each active producer, without records if none stays, since it has the producer's last sequence.
//
// # Invariants
//
//   - Offsets never change: a batch keeps its first and last, and a record its own.
//   - The last value of a key is always there, whatever part of a pass took effect: a record goes only if a later one of
//     its key, or the end of its tombstone's time, was seen in the same log.
//   - A record of a batch that does not open, or takes too much memory, stays; behind it no tombstone goes in that pass,
//     since it might be all that hides a value in there.
//   - A pass ends at or below the last stable offset, so that each transaction in it is decided.
//
// It may call core/record, core/object and core/compress.
package clean
