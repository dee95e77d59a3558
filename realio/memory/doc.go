// Package memory gives buffers outside the garbage-collected heap: slabs to the
// core (env.Memory), and frame buffers to the sockets.
//
// An [Arena] maps memory from the system, keeps what was given back, and reuses
// the most recently freed piece first, because its pages are resident: on the
// machines measured, the first write to fresh memory ran at 1.3 GB/s in pages of
// 4 KiB and at 5.3 GB/s in huge pages, against tens of GB/s for memory that was
// used before. Idle memory above a bound is returned to the system in the
// background, because returning 16 MiB takes a millisecond.
//
// Pieces come in size classes: multiples of a page up to 16 KiB, then four classes
// for each doubling, so that at most a fifth of a piece is unused. Pieces of up to
// 256 KiB are cut from mappings of 2 MiB; larger ones are mappings of their own.
//
// An Arena may be used by any goroutine; a [Memory] on the loop only, as
// env.Memory says. The package may import core/env only.
package memory
