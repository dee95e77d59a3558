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
// # When a try ends
//
// A request has no deadline. It is given up once nothing has moved for IdleTimeout, as the kernel's
// count of acknowledged and received bytes says (TCP_INFO), so that a slow link is not taken for a dead
// one. Of bodies, less than 16 KiB within IdleTimeout is no progress. A proxy that takes a body at once
// and sends it on slowly looks like a dead link for as long as it needs: fewer and smaller parts follow,
// until it keeps up.
//
// How many large transfers (1 MiB and more) share the link follows what gets through, apart for each
// direction: one more for each window of transfers that took 10 s at most, half as many after one that
// stalled, broke, was throttled or took more than 20 s. Small requests never wait for large ones.
//
// A read whose answer breaks off is continued by range, as long as each request brings something.
//
// # Large bodies
//
// A body above PartBytes, or above what the link takes in some seconds, goes in parts, several at once;
// the request that joins them carries the condition. Some stores ignore it there, so the key's absence
// is checked just before; on those stores two large puts of one key at the same time may both be told
// Done.
//
// What arrived is kept: a put that fails, or whose answer is lost, leaves its upload, and the next put of
// the same key and bytes sends only what is missing. An upload is aborted if the key turns out to be
// taken, if the next put has other bytes, if no put comes for 10 minutes, and at Shutdown; an abort that
// fails is repeated. Once an hour, uploads of weir's keys that are older than a day and not this
// process's are aborted: ended processes left them. A lifecycle rule of the bucket that removes
// incomplete uploads after a few days covers what is left, such as a cluster that is gone.
//
// # What a store must not do
//
// A store that ignores the condition of a whole put too is found out by the first such put of a
// process, which is sent once more and must be refused; else every put fails, and says why. Redirects are
// not followed, and a success without an ETag is none: a proxy's sign-in page is not an object stored.
//
// Errors are env.StoreErrors with the store's own words, a cause and what to do. Credentials of the
// environment are read again, from files too, after the store refused them.
//
// Each body carries its CRC32C in a header, computed here, so that a store that knows it refuses
// what arrives damaged; no trailers and no chunked framing, which many stores mistake for data.
// Payloads are not hashed for the signature over TLS.
//
// # Invariants
//
//   - No request reads a lent body once its operation is complete, even if a connection still hangs.
//   - A request ends when nothing has moved for IdleTimeout, and all of them once Abandon is called.
//   - A multipart upload that was begun is joined, aborted, or known to this process.
//   - Keys map to keys under the prefix one to one.
package s3store
