package stream

import (
	"time"

	"weir/core/env"
	"weir/core/task"
	"weir/core/telemetry"
)

var retries = task.BackOff{First: 50 * time.Millisecond, Max: 5 * time.Second}

// storeHealth is what all operations together have seen of the store. It says how long each waits before it is
// tried again, so that a store in trouble is spared by everyone.
type storeHealth struct {
	rand             env.Rand
	failures         int // in a row
	retries, damaged env.Counter
}

func newStoreHealth(rand env.Rand, t *telemetry.Registry) *storeHealth {
	return &storeHealth{
		rand:    rand,
		retries: t.Counter("weir_store_retries_total", "operations on the store that had to be tried again"),
		damaged: t.Counter("weir_store_damaged_reads_total", "reads of the store that failed their checksum"),
	}
}

// answered notes how an operation ended.
func (h *storeHealth) answered(outcome env.Outcome) {
	if outcome == env.OutcomeFailed || outcome == env.OutcomeUnknown {
		h.failures++
	} else {
		h.failures = 0
	}
}

// backoff is how long to wait before trying again after so many attempts; entity is whatever is retried.
func (h *storeHealth) backoff(purpose string, entity uint64, attempts int) time.Duration {
	h.retries.Add(1)
	return retries.Wait(max(attempts-1, h.failures/8), h.rand.Uint64(purpose, entity, uint64(attempts)))
}
