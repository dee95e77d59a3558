// Package mailbox runs a node's loop: it gathers the events that drivers deliver
// from their goroutines, and hands them to the node in turns.
//
// Deliver takes a short lock and appends; the loop swaps the whole slice, so that
// events wait for each other only while the node is busy. The loop parks when there
// is nothing to do, and wakes for an event or at the time that the node asked of
// the clock. It does not spin before it parks: waking it takes half a microsecond
// (BenchmarkWake), which is not worth a busy processor.
//
// Waking is slower when all processors are idle, as they are while a disk writes: two
// wake-ups, one after the other, took 20 us, a fifth of a durable write of 4 KiB
// (BenchmarkLog of realio/disk, whose ratio was 0.77 then). DeliverInTurn therefore lets
// the delivering goroutine run the turn itself if the loop is parked: a disk worker that
// completed a write runs the turn that acknowledges it and submits the next write, and
// then takes that write from its queue, without waking another goroutine. If the loop is
// busy, DeliverInTurn is Deliver.
//
// Invariants: turns never overlap, and each sees what the one before it left; an event
// is handed over once, in the order of delivery; a driver's goroutine runs at most one
// turn for each event that it delivers; after Stop only the running turn is finished.
// With metrics, each turn is timed: it is what everything else in the node waits for.
// The package may import core/env and realio/clock only.
package mailbox
