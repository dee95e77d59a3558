package mailbox

import (
	"time"

	"weir/core/env"
)

// longestWindow is the time of which the longest turn is told, at least; at most it is twice that.
const longestWindow = 30 * time.Second

// turnTimes are how long turns took. Whoever has the loop uses them.
type turnTimes struct {
	all     env.Histogram
	longest env.Gauge
	now     time.Duration // the longest of this window
	before  time.Duration // and of the one before it
	until   env.Time      // the end of this window
}

func newTurnTimes(m env.Metrics) *turnTimes {
	return &turnTimes{
		all:     m.Histogram("weir_loop_turn_nanoseconds", "time of one turn of the node's loop, which everything else in the node waits for"),
		longest: m.Gauge("weir_loop_turn_longest_nanoseconds", "the longest turn of the last half minute to minute"),
	}
}

// took notes one turn.
func (t *turnTimes) took(began, ended env.Time) {
	d := ended.Sub(began)
	t.all.Observe(int64(d))
	before := max(t.before, t.now)
	if ended >= t.until {
		t.before, t.now = t.now, 0
		if ended >= t.until.Add(longestWindow) {
			t.before = 0 // there was no turn for long
		}
		t.until = ended.Add(longestWindow)
	}
	t.now = max(t.now, d)
	if longest := max(t.before, t.now); longest != before {
		t.longest.Set(int64(longest))
	}
}
