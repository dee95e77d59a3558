package txn_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"weir/core/txn"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// A transaction to which partitions are added until the log takes no larger record can be ended all the same, by whomever.
func TestTheLargestTransactionCanBeEnded(t *testing.T) {
	for _, epoch := range []int16{3, math.MaxInt16 - 1, math.MaxInt16} {
		for generation := first; generation <= second; generation += 2 {
			for extra := range 4 { // as many bytes as a partition takes
				for _, end := range []func(*rig, txn.Producer){
					func(r *rig, p txn.Producer) { r.end(p, false, first) },
					func(r *rig, p txn.Producer) { r.end(p, true, second) },
					func(r *rig, _ txn.Producer) { r.initCode(txn.NoProducer) },
					func(r *rig, _ txn.Producer) { r.pass(71 * time.Second) },
				} {
					r := newRig(t)
					p := producer(5, epoch)
					s := resting(p, txn.Empty)
					s.ClientVersion = 0
					r.write(s)
					r.logs[0].BytesMax = 800 + extra
					added := int32(0)
					for r.add(p, generation, added) == none {
						added++
					}
					require.Greater(t, added, int32(100))
					require.Len(t, r.state().Partitions, int(added))
					end(r, p)
					require.True(t, r.state().State == txn.CompleteAbort || r.state().State == txn.CompleteCommit, r.state().State.String())
				}
			}
		}
	}
}

func TestManyTransactionsTimeOutInSeveralTurns(t *testing.T) {
	r := newRig(t)
	open := func() (n int) {
		r.c.List(txn.ListRequest{States: []string{"Ongoing"}, DurationMillis: -1}, func(l txn.List) { n = len(l.Transactions) })
		return n
	}
	for i := range 2500 {
		r.c.InitProducerID(txn.InitRequest{TransactionalID: fmt.Sprint(i), TimeoutMillis: 1, Expected: txn.NoProducer}, func(p txn.Producer, _ wire.Code) {
			r.c.AddForClient(txn.AddRequest{TransactionalID: fmt.Sprint(i), Producer: p, Partitions: partitionsOf(0), Version: second}, func(code wire.Code) { require.Equal(t, none, code) })
		})
	}
	r.turn()
	require.Equal(t, 2500, open())
	r.clock.At = r.clock.At.Add(20 * time.Second)
	for _, want := range []int{1500, 500, 0} {
		r.loop.Turn(nil)
		require.Equal(t, want, open())
	}
}

func TestManyUnusedIDsAreRemoved(t *testing.T) {
	r := newRig(t)
	for i := range 2500 {
		r.c.InitProducerID(txn.InitRequest{TransactionalID: fmt.Sprint(i), TimeoutMillis: 1, Expected: txn.NoProducer}, func(_ txn.Producer, code wire.Code) { require.Equal(t, none, code) })
	}
	r.turn()
	r.clock.At = r.clock.At.Add(8 * 24 * time.Hour)
	for range 20 {
		r.turn()
	}
	r.c.List(txn.ListRequest{DurationMillis: -1}, func(l txn.List) { require.Empty(t, l.Transactions) })
}
