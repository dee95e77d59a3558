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
// [CheckLinear] is an independent oracle: porcupine over the same history, with a
// model of append and read only. Appends of unknown outcome stay open.
//
// Histories planted in this package's tests, good and bad, prove each rule.
package checker
