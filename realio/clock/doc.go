// Package clock is production's env.Clock.
//
// Its monotonic clock counts the time that the machine was suspended, as leases
// need (R9): the system's boot-time clock. Reading that takes a system call of
// 0.3 microseconds on the machines measured, ten times what the ordinary clock
// takes, so [Clock.Now] reads the ordinary monotonic clock and adds the time spent
// suspended, which it reads anew when the wall clock has moved against the
// monotonic one by more than a millisecond (as it does over a suspension), and
// every second.
//
// Invariants: Now never goes back; after a suspension it is less than a
// millisecond behind at once, unless the wall clock was set back meanwhile by just
// that time, and then for a second at most. The package may import core/env only.
package clock
