package task

import "time"

// BackOff says how long to wait before an operation that failed is tried again: First, and twice as long after each
// failure, up to Max. Half of each wait is drawn, so that what failed together is not tried again together.
type BackOff struct {
	First, Max time.Duration // at least 2 ns
}

// Wait returns the wait after so many failures before this one; draw is any number, drawn for this wait.
func (b BackOff) Wait(failures int, draw uint64) time.Duration {
	wait := b.First
	for ; failures > 0 && wait < b.Max; failures-- {
		wait *= 2
	}
	half := min(wait, b.Max) / 2
	return half + time.Duration(draw%uint64(half))
}
