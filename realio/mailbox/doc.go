// Package mailbox runs a node's loop: it gathers the events that drivers deliver
// from their goroutines, and hands them to the node in turns.
//
// Deliver takes a short lock and appends; the loop swaps the whole slice, so that
// events wait for each other only while the node is busy. The loop parks when there
// is nothing to do, and wakes for an event or for the time that the node asked of
// the clock. It does not spin before it parks: half a microsecond to wake it (see
// BenchmarkWake) is not worth a processor.
//
// That is while the processors are awake. When all slept while a disk wrote, waking two
// goroutines in turn took 20 us, a fifth of a durable write of 4 KiB (see BenchmarkLog of
// realio/disk, whose ratio was 0.77 then). So DeliverInTurn lends a parked loop to
// the goroutine that brings the event: a disk's worker that has ended a write runs the
// turn that acknowledges it, submits the next write in it, and takes that from the queue
// itself, all without waking anybody. A loop that is busy is lent to nobody.
//
// Invariants: turns never overlap, and each sees what the one before it left; an event
// is handed over once, in the order of delivery; a driver's goroutine has one turn at
// most for each event that it brings; nothing is after Stop but the turn that is running.
// The package may import core/env and realio/clock only.
package mailbox
