// Package mailbox runs a node's loop: it gathers the events that drivers deliver
// from their goroutines, and hands them to the node in turns.
//
// Deliver takes a short lock and appends; the loop swaps the whole slice, so that
// events wait for each other only while the node is busy. The loop parks when there
// is nothing to do, and wakes for an event or for the time that the node asked of
// the clock. It does not spin before it parks: see BenchmarkWake for what that
// would have to gain.
//
// Invariants: turns never overlap; an event is handed over once, in the order of
// delivery; nothing is after Stop but the turn that is running. The package may
// import core/env and realio/clock only.
package mailbox
