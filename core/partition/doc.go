// Package partition is Kafka's log on a stream: validation of appends, leader
// epochs, high watermark, log start, producer state for idempotence, fetch
// waiters, back-pressure, retention.
//
// # Compression
//
// Where a topic's compression.type names a codec, a client's batch with another one is compressed anew, off the loop, once nothing
// refuses it: at the head of its partition's queue, so that order stays. Results that wait for the log have a budget of their
// own; while it is used up, batches wait as they came. max.message.bytes holds for the batch as it came, and as it is stored.
// All that forbids an append is looked at again when the result is there: a handover that began meanwhile, a lease that ended, a marker.
//
// # Two layers of producer state
//
// Offsets are assigned before a batch is durable, so each producer has two
// windows of its last five batches: one with everything appended, against which
// the next batch is checked, and one with everything durable, which is what
// [State.AppendCheckpoint] writes. The second follows the first, in order, as
// the stream says how far it is durable; a checkpoint is therefore the state
// exactly as of the high watermark. A duplicate of a batch that is not durable
// yet is acknowledged together with it, never before.
//
// All partitions of a broker know at most Options.ProducersMax producers together, which bounds its memory; one partition may have
// them all. What is opened with what it knew elsewhere counts, and is refused nothing of that. Once there are as many, all partitions
// refuse new idempotent producers with POLICY_VIOLATION until some expire (producer.id.expiration.ms; a partition looks for its own at
// once, for those of others with each round of housekeeping): were one forgotten before, its late retry would be appended twice. What a
// coordinator appends is never a retry: for it, a producer of the same partition without an open transaction is forgotten, and it is
// refused if there is none. Kafka has no bound. A partition whose checkpoint lies in the object store opens once that was read (R4).
//
// A batch that was refused so, or that waited too long for room, leaves a gap. What its producer
// sent behind it is out of order until the batch itself comes, or a batch of a newer epoch.
//
// # Validation
//
// No batch is acknowledged before every record of it was read. [record.Validate] does
// that off the loop while the request is decoded; the partition gets its facts, and
// compares them with the topic's configuration as Kafka's LogValidator does. Records
// at fault are listed in the answer (KIP-467, at most 1,000). What differs from Kafka
// is in conformance/batches, each case with its reason. How much is validated depends
// on the [Origin] of the batch.
//
// # Transactions
//
// A producer's state has the first offset of its open transaction and the epoch of the coordinator that wrote its last
// marker, in both layers. The rules are Kafka's (ProducerAppendInfo, KIP-98, KIP-890, KIP-1228):
//
//   - A batch outside a transaction is refused with INVALID_TXN_STATE while one of its producer is open.
//   - A transactional batch is appended only if its transaction is open here, or was verified since the last batch or
//     marker of its producer ([Partition.Verify], for a coordinator's writes [Partition.VerifyWrite]; [Append.Verification]). Verifications are kept in memory
//     alone: at most one for each producer, at most 5,000, for producer.id.expiration.ms at most. A marker of
//     transaction version 2 leaves the verification of its own or a later epoch: that is of a transaction to come.
//   - While a batch waits for a verification, or got a bad answer, none of a higher sequence is appended before it.
//   - A marker ([Partition.End]) has an epoch not below its producer's, or INVALID_PRODUCER_EPOCH; of transaction version 2
//     and above it has a higher one, unless no transaction is open: then it came again, and is acknowledged without being
//     written twice (Kafka writes it again).
//     A marker of a coordinator epoch below the last one's is refused with TRANSACTION_COORDINATOR_FENCED.
//   - A marker of a new epoch makes the next sequence 0; one of the same epoch changes no sequence.
//   - A producer with an open transaction neither expires nor is evicted. If the transaction is open for longer than a
//     coordinator lets it be, operators are told (Options.TransactionLate).
//
// The sequences of what a coordinator appends for its own state ([OriginCoordinator]) are not checked.
//
// The last stable offset is that of the durable layer, so that it moves over a marker when that is durable. It is not
// below the log start: DeleteRecords and retention may delete the beginning of an open transaction, whose first offset
// stays in the state until its marker comes. A partition whose broker knows as many producers as it may acknowledges the
// markers of others and does not write them: they end nothing here.
//
// # Reading
//
// Readers pass their [Isolation]. ReadUncommitted sees what is below the high watermark. ReadCommitted sees what is below
// the last stable offset, and gets the aborted transactions among it in the same answer, sorted by first offset; a
// [Watch] counts the bytes that its isolation lets see.
//
// # Compaction
//
// The Manager looks for the dirtiest partition of a topic with cleanup.policy compact, as Kafka's cleaner does, and has its stream
// compacted up to the last stable offset, one partition at a time. The last batch of each known producer stays, without records if
// need be. Nothing depends on that here: what a partition knows of producers is in checkpoints, and outlives all records.
// Records without a key are refused. A partition whose passes fail is left alone for longer and longer.
//
// # Order
//
// Appends to one partition happen in the order in which they are submitted. When
// the stream has no room they queue, still in that order, and are tried again
// when it has; their frames stay held, so that the world's byte budget for
// frames stops the senders.
//
// It may call core/stream, core/clean, core/metadata, core/record, core/config, core/task and
// core/env. Invariants: the high watermark never goes back (I3); every Append and
// every Watch gets its answer exactly once, or its owner took it back; nothing
// here depends on map order.
package partition
