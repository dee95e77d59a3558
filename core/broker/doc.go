// Package broker is the Kafka edge: requests in, responses out, one file for
// each API key, named by number and request.
//
// A [Codec] admits and decodes frames off the loop; a [Broker] takes them on the
// loop, in the order of their connection, hands each to its handler, and sends
// the answers in that order, whatever order the handlers finish in. Responses are
// encoded off the loop, few at a time.
//
// # Order on a connection
//
// Produce requests may be in flight together. Any other request starts once all
// before it on its connection are answered, and what follows waits for it. So a
// client sees the effects of its own earlier requests, as it does in Kafka, where
// a connection has one request in flight at a time, and one connection can make
// the broker hold a bounded amount only.
//
// # Limits on untrusted clients
//
// A frame is refused before its body is read unless its key is served and its
// size within the key's limit. Before a body is decoded a walk over its schema
// checks every array's length against what is left of the frame, and counts
// unknown tags, so that what decoding allocates stays within a small multiple of
// the frame. A request that waits for its turn is decoded again when that comes, unless it is small, so that only its frame is held
// meanwhile. A connection with too many requests waiting is not read from. Answers that
// clients do not read are bounded together, for one address to three quarters of that
// bound, and so is the memory of Fetch requests for very many partitions. At the bound,
// requests wait before they start, except Produce with few partitions and ApiVersions, and
// clients that have not read for ten seconds are disconnected.
//
// # As Kafka answers
//
// In doubt a running Apache Kafka 4.4 decides, not its documentation: conformance/diff sends both the same requests and
// compares every field. So a partition or topic that a request has twice is answered once, and the last mention counts;
// bytes behind a body are ignored; a client id is cut, not refused; a tag of a later version closes the connection. Each
// API's file opens with the versions served, their KIPs, and where weir differs. What one request can make of an answer is
// bounded all the same: see cheapResourcesMax.
//
// The package may call core/partition, core/controller, core/config and what
// lies below. Invariants: one answer or none for each request, in order; each
// frame is released once; nothing is sent on a connection that has closed.
package broker
