package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/compress"
)

// TestAProduceOfManyPartitionsCountsWhileItWaits: for its records to be durable, or for room in the log, as long as its client likes.
func TestAProduceOfManyPartitionsCountsWhileItWaits(t *testing.T) {
	for _, acks := range []int16{-1, 0} {
		r := newDataRig(t)
		batches := make([][]byte, smallParts+1)
		batches[0] = batchOf(compress.None, 1)
		x := r.produce(9, acks, "t", 1, batches...)
		require.NotZero(t, r.plane.held.bytes, acks)
		r.logs[1].durable()
		r.turn()
		if acks != 0 {
			x.want(true)
			require.NotZero(t, r.plane.held.bytes, "until the answer is written")
			x.written()
		}
		require.Zero(t, r.plane.held.bytes, acks)
	}
}
