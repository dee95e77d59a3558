package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProduceWithoutAcks(t *testing.T) {
	r := newDataRig(t)
	x := r.produce(9, 0, "t", 1, batchOf(0, 1))
	if !x.silent || x.answered || x.frames != 1 {
		t.Fatalf("%+v", x)
	}
	r.logs[1].durable() // nothing is answered later either
	if x.ended != 1 {
		t.Fatal("answered")
	}
	if x := r.produce(9, 0, "unknown", 9, batchOf(0, 1)); !x.hungUp || x.frames != 1 {
		t.Fatal("an error without acks must close the connection")
	}
}

// TestProduceWithoutAcksThatFailsLater: what the client sent behind the batch must not be appended without it.
func TestProduceWithoutAcksThatFailsLater(t *testing.T) {
	r := newDataRig(t)
	x := r.produce(9, 0, "t", 1, batchOf(0, 1))
	require.False(t, x.wasCut)
	r.plane.partitions.Close()
	require.True(t, x.wasCut)
	require.Equal(t, 1, x.ended)
}
