// Package partition is Kafka's log on a stream: validation of appends, leader
// epochs, high watermark, log start, producer state for idempotence, fetch
// waiters, back-pressure, retention.
//
// # Two layers of producer state
//
// Offsets are assigned before a batch is durable, so each producer has two
// windows of its last five batches: one with everything appended, against which
// the next batch is judged, and one with everything durable, which is what
// [State.AppendCheckpoint] writes. The second follows the first, in order, as
// the stream says how far it is durable; a checkpoint is therefore the state
// exactly as of the high watermark. A duplicate of a batch that is not durable
// yet is acknowledged together with it, never before.
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
