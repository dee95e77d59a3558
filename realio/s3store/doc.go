// Package s3store is env.ObjectStore on S3 and on what speaks its protocol. It is the only package
// that knows the AWS SDK. It may call bill, core/env and realio/workers.
//
// Every request is sent once: the SDK's retries are off, because a retry of a conditional PUT whose
// answer was lost is refused by its own first try. How a write ended, and why:
//
//	Done     2xx.
//	Refused  412 to a conditional write, and nothing else.
//	Failed   It certainly did not happen: no connection was made, the store throttled (429, or 503
//	         with a throttling code such as SlowDown), another request for the key was in flight
//	         (409), or the request was wrong (any other 3xx and 4xx).
//	Unknown  No answer to a request that may have left, any other 5xx (a gateway may have lost the
//	         store's answer), and an error inside the 200 with which a multipart upload ends.
//
// Reads are Refused for a missing key and Failed for everything else.
//
// # When a try ends
//
// A request has no deadline. It is canceled if no byte was acknowledged or received for IdleTimeout, by
// the kernel's counts (TCP_INFO), so that a slow link is not mistaken for a dead one. For bodies, less
// than 16 KiB within IdleTimeout is no progress. A proxy that accepts a body at once and forwards it
// slowly looks like a stalled link; fewer and smaller parts are then sent, until it keeps up.
//
// The number of large transfers (1 MiB and more) in flight adapts to the link, separately for each
// direction: it grows by one after each window of transfers that took at most 10 s, and is halved after
// a transfer that stalled, broke, was throttled or took more than 20 s. Small requests never wait for
// large ones.
//
// A read whose response breaks off is continued with a range request, as long as each request returns
// some bytes.
//
// # Large bodies
//
// A body above PartBytes, or above what the link transfers in a few seconds, is a multipart upload with
// several parts in flight; the request that completes it carries the condition. Some stores ignore the
// condition there, so the key's absence is checked just before; on those stores two concurrent large
// puts of one key may both be Done.
//
// Parts that arrived are kept: a put that fails, or whose response is lost, leaves its upload, and the
// next put of the same key and bytes sends only the missing parts. An upload is aborted if the key turns out to be
// taken, if the next put has other bytes, if no put comes for 10 minutes, and at Shutdown; an abort that
// fails is repeated. Once an hour, uploads of weir's keys that are older than a day and not this
// process's are aborted: ended processes left them. A lifecycle rule of the bucket that removes
// incomplete uploads after a few days covers what is left, such as a cluster that is gone.
//
// # What a store must not do
//
// A store that ignores the condition of a simple put too is detected by the first such put of a process,
// which is sent twice: the second must be refused, or every put fails, and says why. Redirects are not
// followed, and a 2xx without an ETag, or without a listing where one was asked for, does not count as success: it may be a
// proxy's sign-in page.
//
// Errors are env.StoreErrors with the store's own words, a cause and what to do. Credentials of the
// environment are read again, from files too, after the store refused them.
//
// Each body carries its CRC32C in a header, computed here, so that a store that supports it refuses
// damaged bodies. Trailers and chunked framing are not used, because many stores mistake them for data.
// Payloads are not hashed for the signature over TLS.
//
// # Invariants
//
//   - No request reads a lent body once its operation is complete, even if a connection still hangs.
//   - A request ends if no byte moved for IdleTimeout, and every request ends once Abandon is called.
//   - A multipart upload that was begun is completed, aborted, or known to this process.
//   - Keys map to keys under the prefix one to one.
package s3store
