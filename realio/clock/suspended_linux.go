package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspendedTime is by how much the clock that counts suspended time is ahead of
// the one that does not. The latter is read before and after: half the distance is
// the inaccuracy.
func suspendedTime() (time.Duration, bool) {
	before, ok1 := read(unix.CLOCK_MONOTONIC)
	boot, ok2 := read(unix.CLOCK_BOOTTIME)
	after, ok3 := read(unix.CLOCK_MONOTONIC)
	return boot - before - (after-before)/2, ok1 && ok2 && ok3
}

func read(clock int32) (time.Duration, bool) {
	var t unix.Timespec
	err := unix.ClockGettime(clock, &t)
	return time.Duration(t.Nano()), err == nil
}
