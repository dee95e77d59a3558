package partition

import (
	"testing"
	"time"

	"weir/core/env"
	"weir/core/wire"
)

// TestNothingStandsInForABatchThatTimedOut: the partition does not know the producer,
// so nothing but the gap says that sequence 0 has to come first (I6).
func TestNothingStandsInForABatchThatTimedOut(t *testing.T) {
	r := newRig(t)
	r.log.room = 0
	first := r.send(7, 0, 0, 1)
	r.clock.now = env.Time(20 * time.Second)
	second := r.send(7, 0, 1, 1)
	r.clock.now = env.Time(31 * time.Second)
	r.loop.Turn(nil)
	r.want(first, wire.RequestTimedOut, -1)
	r.log.room = -1
	r.manager.space()
	r.want(second, wire.OutOfOrderSequence, -1)
	r.want(r.send(7, 0, 2, 1), wire.OutOfOrderSequence, -1)
	sent := []*Append{r.send(7, 0, 0, 1), r.send(7, 0, 1, 1), r.send(8, 0, 5, 1)}
	r.log.durable(3)
	for i, a := range sent {
		r.want(a, wire.None, int64(i))
	}
}

// TestNothingStandsInForABatchOfALaterEpoch: the producer answers the batch that timed out with a
// new epoch, whose first batch times out as well.
func TestNothingStandsInForABatchOfALaterEpoch(t *testing.T) {
	r := newRig(t)
	r.log.room = 0
	r.send(7, 0, 0, 1)
	r.send(7, 1, 0, 1)
	r.clock.now = env.Time(20 * time.Second)
	late, second := r.send(7, 0, 1, 1), r.send(7, 1, 1, 1)
	r.clock.now = env.Time(31 * time.Second)
	r.loop.Turn(nil)
	r.log.room = -1
	r.manager.space()
	r.want(late, wire.OutOfOrderSequence, -1)
	r.want(second, wire.OutOfOrderSequence, -1)
	third := r.send(7, 2, 0, 1)
	r.log.durable(1)
	r.want(third, wire.None, 0)
}

// TestNothingStandsInForARefusedProducer: the partition knew as many producers as it may when the
// first batch came, and fewer when the second came.
func TestNothingStandsInForARefusedProducer(t *testing.T) {
	r := newRig(t)
	r.p.state.max = 0
	r.want(r.send(7, 0, 0, 1), wire.PolicyViolation, -1)
	r.p.state.max = 1
	r.want(r.send(7, 0, 1, 1), wire.OutOfOrderSequence, -1)
	again := r.send(7, 0, 0, 1)
	r.log.durable(1)
	r.want(again, wire.None, 0)
}
