// Package checker judges what clients saw.
//
// A [Partition] is the history of one partition: appends with their outcomes,
// reads, bounds and trims, each with strictly increasing stamps of call and
// return. Because an acknowledged append carries its offset, the order of the log
// is given, and [CheckLog] judges a history of any length in time n log n:
//
//   - I2, inconsistent offsets: an offset has one value; batches do not overlap;
//   - I6, duplicate: a value lies at one offset; a producer's batches lie in its
//     order, and none is missing below a later one of the same session;
//   - I1, lost write: what was acknowledged, or seen once, is in every later drain;
//   - aborted read: what definitely failed is never seen (reported as I6);
//   - read from the future, real-time order: an append lies above all that was
//     acknowledged before it was called; a read sees nothing called after it;
//   - I3: the high watermark covers all that was acknowledged before the call, never
//     passes what was called before the return, and never goes back in real time;
//   - skips: a read is without gaps, and starts at the offset that was asked for;
//   - trims: the log start moves up only, to where a trim asked it to be.
//
// [CheckLinear] is the independent oracle: porcupine over the same history, with a
// model that knows only append and read. Appends of unknown outcome stay open.
//
// Both are proved by planted histories, good and bad, in this package's tests.
package checker
