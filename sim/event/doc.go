// Package event is the simulator's engine: one queue of events in virtual
// time, random draws keyed by what they are for, and the running hash of
// everything that happened.
//
// Virtual time jumps from event to event and costs nothing in between. Two
// events of the same instant fire in the order in which they were scheduled.
// Every draw is a pure function of (seed, purpose, entity, counter), so that
// removing one element of a plan moves no other draw.
//
// Invariants: nothing here starts a goroutine, reads a clock, or depends on the
// order of a map; the same seed and the same calls give the same events, draws
// and hash on every machine.
package event
