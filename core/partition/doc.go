// Package partition is Kafka's log on a stream: validation of appends, leader
// epochs, high watermark, log start, producer state for idempotence, fetch
// waiters, back-pressure, retention.
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
// A partition knows at most Options.ProducersMax producers, so that a checkpoint fits
// one record of the quorum's log. Once it knows as many, it refuses new idempotent
// producers with POLICY_VIOLATION until one expires (producer.id.expiration.ms):
// were one forgotten before, its late retry would be appended twice.
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
// # Reading
//
// Readers pass their [Isolation]. Without transactions the last stable offset is the
// high watermark, so both levels see the same.
//
// # Order
//
// Appends to one partition happen in the order in which they are submitted. When
// the stream has no room they queue, still in that order, and are tried again
// when it has; their frames stay held, so that the world's byte budget for
// frames stops the senders.
//
// It may call core/stream, core/metadata, core/record, core/config, core/task and
// core/env. Invariants: the high watermark never goes back (I3); every Append and
// every Watch gets its answer exactly once, or its owner took it back; nothing
// here depends on map order.
package partition
