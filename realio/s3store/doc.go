// Package s3store is env.ObjectStore on S3 and on what speaks its protocol. It is the only package
// that knows the AWS SDK. It may call core/env and realio/workers.
//
// Every request is sent once: the SDK's retries are off, because a retry of a conditional PUT whose
// answer was lost is refused by its own first try. How a write ended, and why:
//
//	Done     2xx.
//	Refused  412 to a conditional write, and nothing else.
//	Failed   It certainly did not happen: no connection was had, the store throttled (429, or 503
//	         with a throttling code such as SlowDown), another request for the key was in flight
//	         (409), or the request was wrong (any other 3xx and 4xx).
//	Unknown  No answer to a request that may have left, any other 5xx (a gateway may have lost the
//	         store's answer), and an error inside the 200 with which a multipart upload ends.
//
// Reads are Refused for a missing key and Failed for everything else.
//
// A body above PartBytes goes in parts, several at once; the request that joins them carries the
// condition. Some stores ignore it there, so the key's absence is checked just before; on those
// stores two large puts of one key at the same time may both be told Done. An upload that ended
// Unknown is not aborted, since that could undo it; let a lifecycle rule of the bucket remove
// incomplete uploads after a day.
//
// A store that ignores the condition of a whole put too is found out by the first such put of a
// process, which is sent once more and must be refused; else every put fails, and says why.
//
// Each body carries its CRC32C in a header, computed here, so that a store that knows it refuses
// what arrives damaged; no trailers and no chunked framing, which many stores mistake for data.
// Payloads are not hashed for the signature over TLS.
//
// # Invariants
//
//   - No request reads a lent body once its operation is complete, even if a connection still hangs.
//   - An operation ends within TryTimeout for each request that it needs.
//   - Keys map to keys under the prefix one to one.
package s3store
