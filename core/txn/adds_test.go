package txn_test

import (
	"fmt"
	"testing"
	"time"

	"weir/core/txn"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// Trap 74: a partition that Produce adds waits for the transaction before, for a bounded time.
func TestImplicitAddWaitsForTheTransactionBefore(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.held = true
	next, code := r.end(p, true, second)
	require.Equal(t, none, code)
	var got []wire.Code
	add := func(p txn.Producer) {
		got = nil
		r.c.AddPartitions(id, p.ID, p.Epoch, partitionsOf(1, 2), false, func(codes []wire.Code) {
			require.Nil(t, got, "answered twice")
			got = codes
		})
		r.turn()
	}
	add(next)
	r.pass(99 * time.Millisecond)
	require.Nil(t, got)
	r.pass(time.Millisecond)
	require.Equal(t, []wire.Code{concurrent, concurrent}, got, "the time is over")
	add(next)
	r.release()
	require.Equal(t, []wire.Code{none, none}, got)
	require.Equal(t, txn.Ongoing, r.state().State)
	r.pass(time.Second)
	r.held = true
	_, code = r.end(next, true, second)
	require.Equal(t, none, code)
	add(next)
	r.release()
	require.Equal(t, []wire.Code{fenced, fenced}, got, "an old epoch adds nothing to the next transaction")
	next = r.current()
	r.add(next, second, 0)
	r.held = true
	next, _ = r.end(next, false, second)
	add(next)
	r.logs[0].Close()
	r.turn()
	require.Equal(t, []wire.Code{wire.NotCoordinator, wire.NotCoordinator}, got)
}

// Adds are answered in the order in which they came, though the first was told to wait and the second found nothing to wait for: a producer's
// batches are appended in that order.
func TestImplicitAddsAreAnsweredInTheirOrder(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.held = true
	next, _ := r.end(p, true, second)
	var order []string
	add := func(name string) {
		r.c.AddPartitions(id, next.ID, next.Epoch, partitionsOf(1), false, func(codes []wire.Code) { order = append(order, fmt.Sprint(name, codes[0])) })
	}
	add("a") // finds markers being written
	add("b")
	r.logs[0].Held = true
	r.release()
	add("c") // finds the completion being written
	r.turn()
	require.Empty(t, order)
	r.logs[0].Durable()
	add("d")
	r.turn()
	r.logs[0].Held = false
	r.logs[0].Durable()
	add("e")
	r.turn()
	require.Equal(t, []string{"a0", "b0", "c0", "d0", "e0"}, order)

	order, r.held = nil, true
	p = next
	next, _ = r.end(p, true, second)
	add("a")
	r.pass(60 * time.Millisecond)
	add("b")
	r.pass(60 * time.Millisecond)
	require.Equal(t, []string{"a51"}, order, "each has its own time")
	r.logs[0].Close()
	r.turn()
	require.Equal(t, []string{"a51", "b16"}, order)
}

// addsOf lets a test add partitions, and see how each was answered.
func (r *rig) addsOf(got map[string]wire.Code) func(name string, p txn.Producer, indexes ...int32) {
	return func(name string, p txn.Producer, indexes ...int32) {
		r.c.AddPartitions(id, p.ID, p.Epoch, partitionsOf(indexes...), false, func(codes []wire.Code) {
			require.NotContains(r.t, got, name, "answered twice")
			got[name] = codes[0]
		})
	}
}

// What waits for the transaction before begins the next one in the batch that completes it, all together: nothing waits for another
// write of the log, each of which takes long where logs are objects.
func TestTheNextTransactionBeginsWithTheCompletion(t *testing.T) {
	for _, c := range []struct {
		name     string
		bytesMax int // of a batch
		batches  int
	}{
		{"one batch has room for both", 0, 1},
		{"a batch has no room for both", 230, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			p := r.init(txn.NoProducer)
			r.add(p, second, 0)
			r.held = true
			next, _ := r.end(p, true, second)
			got := map[string]wire.Code{}
			add := r.addsOf(got)
			add("a", next, 1)
			add("b", next, 2)
			add("zombie", p, 3)
			add("c", next, 4)
			r.turn()
			before := len(r.logs[0].Batches)
			r.logs[0].BytesMax = c.bytesMax
			r.logs[0].Held = true
			r.release()
			require.Len(t, r.logs[0].Batches, before+1)
			require.Empty(t, got, "nothing is durable yet")
			for range c.batches {
				require.Empty(t, got)
				r.logs[0].DurableFirst(1)
				r.turn()
			}
			require.Equal(t, map[string]wire.Code{"a": none, "b": none, "zombie": fenced}, got)
			r.logs[0].Durable()
			r.turn()
			require.Equal(t, none, got["c"])
			require.Equal(t, partitionsOf(1, 2, 4), r.state().Partitions)
			all := history(t, r.logs[0])
			checkHistory(t, all)
			require.Equal(t, txn.CompleteCommit, all[len(all)-3].State, "other readers of the topic see each state")
		})
	}
}

// A completion that is not written answers what would have begun with it, and is written again.
func TestTheNextTransactionDoesNotBeginWithoutTheCompletion(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.held = true
	next, _ := r.end(p, true, second)
	got := map[string]wire.Code{}
	add := r.addsOf(got)
	add("a", next, 1)
	add("b", next, 2)
	r.turn()
	r.logs[0].Refuse = wire.RequestTimedOut
	r.release()
	require.Equal(t, map[string]wire.Code{"a": wire.CoordinatorNotAvailable, "b": wire.CoordinatorNotAvailable}, got)
	require.Equal(t, txn.PrepareCommit, r.state().State)
	add("c", next, 1)
	r.turn()
	r.logs[0].Refuse = none
	r.pass(50 * time.Millisecond)
	require.Equal(t, none, got["c"])

	r.held = true
	p = next
	next, _ = r.end(p, true, second)
	add("d", next, 1)
	add("e", next, 2)
	r.turn()
	r.logs[0].Held = true
	r.release()
	r.restart()
	require.Equal(t, wire.Code(wire.NotCoordinator), got["d"])
	require.Equal(t, wire.Code(wire.NotCoordinator), got["e"])
	require.Equal(t, txn.PrepareCommit, r.state().State, "both are lost, or none")
}

// Adds that come while one is being written share the next write.
func TestAddsShareAWrite(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	got := map[string]wire.Code{}
	add := r.addsOf(got)
	before := len(r.logs[0].Batches)
	r.logs[0].Held = true
	add("a", p, 1)
	r.turn()
	add("b", p, 2)
	add("c", p, 1)
	add("d", p, 3)
	r.turn()
	r.logs[0].DurableFirst(1)
	r.turn()
	require.Equal(t, map[string]wire.Code{"a": none}, got)
	r.logs[0].Durable()
	r.turn()
	require.Equal(t, map[string]wire.Code{"a": none, "b": none, "c": none, "d": none}, got)
	require.Len(t, r.logs[0].Batches, before+2)
	require.Equal(t, partitionsOf(1, 2, 3), r.state().Partitions)
}
