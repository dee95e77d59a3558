// Package task is a node's loop: the total order of its events, its timers, and
// its procs (long procedures written in direct style on coroutines); the queue
// that its users wait in ([Queue]); and the waits between tries ([BackOff]).
//
// A Loop takes one event at a time and runs it to its next wait. The world
// swaps its mailbox whole and hands it to [Loop.Turn]; work posted and timers
// due run in the same turn; effects that gather (a WAL group, say) are flushed
// once at its end by the functions given to [Loop.OnTurnEnd].
//
// It may call core/env only. Invariants: nothing here starts a goroutine of its
// own accord, reads time but through env.Clock, or depends on map order; two
// timers due at the same instant fire in the order in which they were set; a
// proc holds nothing of value, since a crash drops it without running it on.
package task
