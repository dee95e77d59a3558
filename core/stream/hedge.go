package stream

import (
	"math/bits"
	"slices"
	"time"
)

const (
	hedgeClasses     = 6  // of sizes, see classOf
	hedgeSamples     = 64 // the newest latencies of a class
	hedgeSamplesMin  = 16
	hedgeDelayMin    = time.Millisecond
	hedgeCost        = 20 // gets that pay for a hedge
	hedgeSavingsMax  = 10 * hedgeCost
	hedgeClassOfLow  = 18 // bits: up to 256 KiB is one class
	hedgePercentile  = 95
	hedgeMedianTimes = 2
)

// hedging says when a GET takes so long that it is worth a second one: once it is slower than 95 in 100 of about its
// size were of late, and than twice their median, so that a store whose answers take much the same time is asked nothing
// twice. At most one GET in twenty is a hedge, whatever the store does.
type hedging struct {
	classes [hedgeClasses]latencies
	savings int // gets that no hedge was taken for
}

// latencies are the newest of a class.
type latencies struct {
	newest [hedgeSamples]time.Duration
	count  int           // of all
	limit  time.Duration // as of some samples ago
}

// classOf sorts sizes: to 256 KiB, then one class for each doubling.
func classOf(bytes int64) int {
	return min(max(bits.Len64(uint64(bytes-1))-hedgeClassOfLow, 0), hedgeClasses-1)
}

// took notes how long a GET took, a hedged one too: what is lost by hedging is still how long the store takes.
func (h *hedging) took(bytes int64, d time.Duration) {
	c := &h.classes[classOf(bytes)]
	c.newest[c.count%hedgeSamples] = d
	c.count++
	h.savings = min(h.savings+1, hedgeSavingsMax)
	if c.count >= hedgeSamplesMin && c.count%(hedgeSamples/8) == 0 {
		sorted := slices.Clone(c.newest[:min(c.count, hedgeSamples)])
		slices.Sort(sorted)
		n := len(sorted)
		c.limit = max(hedgeDelayMin, sorted[n*hedgePercentile/100], hedgeMedianTimes*sorted[n/2])
	}
}

// delay is after how long a GET of so many bytes is worth a hedge; false while that is not known.
func (h *hedging) delay(bytes int64) (time.Duration, bool) {
	c := &h.classes[classOf(bytes)]
	return c.limit, c.limit > 0
}

// allow takes what a hedge costs from the savings.
func (h *hedging) allow() bool {
	if h.savings < hedgeCost {
		return false
	}
	h.savings -= hedgeCost
	return true
}
