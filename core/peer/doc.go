// Package peer carries messages between the nodes of a cluster: their frames, the connections that they travel on, and
// the handshake by which both ends know each other. What is in a message is its sender's and its receiver's affair: a kind
// and bytes. It may call core/env, core/task and core/telemetry.
//
// # Connections
//
// Two nodes share one connection. Whoever has something to send dials; if both do at once, the connection stays
// that the node with the lower node.id dialed. A newer connection of the same end replaces the older, which may be one that a
// machine left behind when it lost its power. Nodes are known by their addresses, which the caller gives, or by having
// dialed; of an address alone ([Mesh.Find]) the handshake tells whose it is. A connection that carries nothing is closed by the world when it has been idle for long, and dialed anew.
//
// Delivery is at most once, and in order while a connection lasts. What waits for a connection, or on a slow one, is bounded
// in bytes; beyond, and when a connection ends, messages are lost, and their sender is not told. Raft wants no more
// than that, and whoever wants an answer sets a time for it.
//
// # Frames
//
// A frame is a 4-byte big-endian length, as everywhere, and a body: u8 kind, then bytes. Kinds below 16 are the mesh's own; all
// integers in them are little-endian.
//
//	1 hello   u64 magic "weirPEER", u16 lowest and u16 highest version of messages spoken, u32 zero,
//	          16 cluster id (zeros: not known yet), i32 node id, 16 incarnation, 16 nonce
//	2 answer  hello, then 32 bytes of proof
//	3 proof   32 bytes of proof
//	4 ready   nothing
//
// Whoever dialed says hello; the other answers; the first proves, and the other is ready. A proof is the
// HMAC-SHA256, under the cluster's secret, of "weir peer", a byte that tells the ends apart (0: dialed), and both hellos, the dialing
// end's first: each is fresh by the other's nonce. It tells that the peer is of the cluster; it hides nothing of what follows,
// so that a listener beyond the machine needs TLS ([Options].Secure). Until a peer has proved that, its frames may have 128 bytes.
//
// The version spoken is the highest that both have; without one the connection ends, loudly. Both must belong to the same
// cluster, if both know theirs.
//
// # Invariants
//
//   - At most one connection of a node is used at a time; a message is handed over with the node that proved to have
//     sent it.
//   - A connection that has not ended its handshake after HandshakeTimeout is closed. At most PendingMax such connections
//     exist; a newer one closes the oldest.
//   - Decoders run off the loop, and are pure.
package peer
