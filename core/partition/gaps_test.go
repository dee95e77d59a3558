package partition

import (
	"testing"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
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
	r.manager.producers.max = 0
	r.want(r.send(7, 0, 0, 1), wire.PolicyViolation, -1)
	r.manager.producers.max = 1
	r.want(r.send(7, 0, 1, 1), wire.OutOfOrderSequence, -1)
	again := r.send(7, 0, 0, 1)
	r.log.durable(1)
	r.want(again, wire.None, 0)
}

// TestNothingStandsInForABatchThatCameTooEarly: the first batch came before the partition was open, the
// second after it.
func TestNothingStandsInForABatchThatCameTooEarly(t *testing.T) {
	r := newRig(t)
	r.p.topic.partitions = make([]*Partition, 2)
	r.manager.byName["t"] = r.p.topic
	refused := func(producer int64, index, sequence int32) {
		h := record.Header{ProducerID: producer, BaseSequence: sequence}
		r.manager.Refused(metadata.TopicID{}, "t", index, &h)
	}
	refused(7, 0, 0)
	refused(7, 0, 1)
	refused(8, 0, 3)
	refused(9, 1, 0)
	known := record.Header{ProducerID: 8, BaseSequence: 3}
	r.p.state.appended(&known, nil, 0, wallZero, 0, 0)
	r.p.takeEarly()
	require.Equal(t, gaps{{producer: 7}}, r.p.gaps, "the first of a producer that is not known")
	require.Equal(t, map[partitionID]gaps{{index: 1}: {{producer: 9}}}, r.manager.early.byPartition, "it may be moved here")
	r.want(r.send(7, 0, 1, 1), wire.OutOfOrderSequence, -1)
}

// TestNothingStandsInForABatchWithoutALease: the lease had ended when the first batch came, and was renewed when the second
// did.
func TestNothingStandsInForABatchWithoutALease(t *testing.T) {
	r := newRig(t)
	r.p.topic.partitions = []*Partition{r.p}
	r.manager.byName["t"] = r.p.topic
	h := record.Header{ProducerID: 7}
	r.manager.Refused(metadata.TopicID{}, "t", 0, &h)
	r.want(r.send(7, 0, 1, 1), wire.OutOfOrderSequence, -1)
	again := r.send(7, 0, 0, 1)
	r.log.durable(1)
	r.want(again, wire.None, 0)
}

// TestAGapIsForgottenBeforeItsProducer: a producer was refused here, went on at the leader, and was silent until the
// leader forgot it. Its next batch is not held back for the one that was refused here.
func TestAGapIsForgottenBeforeItsProducer(t *testing.T) {
	r := newRig(t)
	r.p.topic.partitions = make([]*Partition, 1)
	r.manager.byName["t"] = r.p.topic
	r.manager.options.ProducerIDExpiration = time.Minute
	early := record.Header{ProducerID: 7, BaseSequence: 3}
	r.manager.Refused(metadata.TopicID{}, "t", 0, &early)
	r.clock.now = env.Time(time.Minute)
	r.p.takeEarly()
	require.Empty(t, r.p.gaps)
	again := r.send(7, 0, 9, 1)
	r.log.durable(1)
	r.want(again, wire.None, 0)
}

// TestEarlyGapsAreBounded: a client sends to a broker that leads none of the partitions, as ever new producers.
func TestEarlyGapsAreBounded(t *testing.T) {
	e := earlyGaps{byPartition: make(map[partitionID]gaps)}
	noteAll := func(now env.Time) {
		for i := range 2 * earlyGapsMax {
			e.note(partitionID{index: int32(i % 1000)}, &record.Header{ProducerID: int64(i)}, now)
		}
	}
	noteAll(0)
	kept := 0
	for _, of := range e.byPartition {
		kept += len(of)
	}
	require.LessOrEqual(t, kept, earlyGapsMax)
	require.Equal(t, earlyGapsMax, e.noted.Len())
	require.NotEmpty(t, e.take(partitionID{index: 999}, 0, time.Minute), "the newest stay")
	e.expire(env.Time(time.Minute), time.Minute)
	require.Empty(t, e.byPartition)
	require.Zero(t, e.noted.Len())
}
