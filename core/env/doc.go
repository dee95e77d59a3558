// Package env is everything outside the core that a node may touch: clocks,
// disks, sockets, the object store, randomness, off-loop computation, memory,
// logs and metrics.
//
// # Submit and complete
//
// No call in this package blocks. The core fills an operation (a pointer to a
// struct such as [DiskWrite]), submits it, and the world later delivers that
// same pointer back to the node's loop exactly once, with its result fields
// set; the loop then calls [Event.Deliver], which runs the operation's Done on
// the loop. The operation is its own token. Between submit and completion the
// operation and every buffer it names are lent to the world: the core neither
// reads results from it nor changes it. Completions of one resource may arrive
// in any order unless the operation says otherwise.
//
// When a node crashes, its world delivers nothing more to it. A completion
// never reaches an incarnation that did not submit the operation.
//
// # Errors
//
// Operations carry errors that callers branch on as sentinel values of this
// package (test with errors.Is); anything else is an error for people. The
// object store has outcomes rather than errors, because a lost answer is a
// normal answer there: see [Outcome].
//
// # Invariants
//
//   - One submit, one completion (or none, if the node crashed).
//   - The world runs functions handed to it (DiskWrite.Prepare, Compute.Work,
//     Codec, Outgoing.Encode) off the loop, and possibly at the same time as
//     the loop; those functions touch only what the operation lends them.
//   - Slab reference counts are touched on the loop only.
//
// The package holds interfaces and the data that crosses them, imports nothing
// of weir, and decides nothing. Package env/envtest has the contract tests that
// each implementation must pass.
package env
