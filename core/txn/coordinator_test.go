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

const (
	none       = wire.Code(wire.None)
	concurrent = wire.Code(wire.ConcurrentTransactions)
	fenced     = wire.Code(wire.ProducerFenced)
	mapping    = wire.Code(wire.InvalidProducerIDMapping)
	invalid    = wire.Code(wire.InvalidTxnState)
	first      = int16(0) // generations, as EndTxn and AddPartitionsToTxn say them
	second     = int16(2)
)

func producer(id int64, epoch int16) txn.Producer { return txn.Producer{ID: id, Epoch: epoch} }

// ongoing is a state as another coordinator may have left it.
func ongoing(p txn.Producer) txn.Transaction {
	return txn.Transaction{
		ProducerID: p.ID, PreviousID: p.ID, NextID: -1, Epoch: p.Epoch, LastEpoch: -1, TimeoutMillis: 60_000, State: txn.Ongoing,
		Partitions: partitionsOf(0), StartMillis: 1, UpdateMillis: 1, ClientVersion: 2,
	}
}

func resting(p txn.Producer, s txn.State) txn.Transaction {
	t := ongoing(p)
	t.State, t.Partitions = s, nil
	return t
}

// Cases 106 to 108: a new id begins at epoch 0, and each producer after it has the next epoch.
func TestInitProducerID(t *testing.T) {
	r := newRig(t)
	require.Equal(t, producer(1000, 0), r.init(txn.NoProducer))
	require.Equal(t, producer(1000, 1), r.init(txn.NoProducer))
	require.Equal(t, producer(1000, 2), r.init(producer(1000, 1)), "the producer itself goes on (KIP-360)")
	require.Equal(t, producer(1000, 2), r.init(producer(1000, 1)), "its retry bumps nothing")
	r.restart()
	require.Equal(t, producer(1000, 2), r.init(producer(1000, 1)), "nor does it after the partition has moved")
	require.Equal(t, fenced, r.initCode(producer(1000, 0)))
	require.Equal(t, fenced, r.initCode(producer(7, 2)), "of another producer id")
	require.Equal(t, producer(1000, 3), r.init(txn.NoProducer))
	require.Equal(t, fenced, r.initCode(producer(1000, 2)), "a new producer has begun since")
	require.Equal(t, int32(60_000), r.state().TimeoutMillis)
}

// At the bound new ids and more partitions are refused. A producer that is known begins anew, goes on, and ends its transactions.
func TestMemoryOfTransactionalIDsIsBounded(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	require.Equal(t, none, r.add(p, second, 0, 1))
	held := r.cluster.Memory.Held()
	r.cluster.Memory.Max = held
	unavailable := wire.Code(wire.CoordinatorNotAvailable)
	require.Equal(t, unavailable, r.add(p, second, 0, 2))
	require.Equal(t, none, r.add(p, second, 1))
	a := &answer{}
	r.c.InitProducerID(txn.InitRequest{TransactionalID: "other", TimeoutMillis: 1, Expected: txn.NoProducer}, a.hear(r))
	r.turn()
	require.Equal(t, unavailable, a.code)
	p, code := r.end(p, true, second)
	require.Equal(t, none, code)
	require.Less(t, r.cluster.Memory.Held(), held)
	require.Equal(t, none, r.add(p, second, 0, 1), "what the transaction before gave back is free")
	require.Equal(t, concurrent, r.initCode(txn.NoProducer), "the transaction is aborted first")
	p = r.init(txn.NoProducer)
	require.Equal(t, none, r.add(p, second, 3))
	held = r.cluster.Memory.Held()
	r.restart()
	require.Equal(t, held, r.cluster.Memory.Held())
	r.cluster.Memory.Max = 1
	_, code = r.end(p, false, second)
	require.Equal(t, none, code, "a coordinator that loads more than it may hold serves")
	r.pass(8 * 24 * time.Hour)
	require.Zero(t, r.cluster.Memory.Held(), "the id expires")
}

func TestInitProducerIDRefusals(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		id      string
		timeout int32
		want    wire.Code
	}{
		{"", 1, wire.InvalidRequest},
		{"", 0, wire.InvalidRequest},
		{id, 0, wire.InvalidTransactionTimeout}, // case 111
		{id, -1, wire.InvalidTransactionTimeout},
		{id, 900_001, wire.InvalidTransactionTimeout},
		{id, math.MaxInt32, wire.InvalidTransactionTimeout},
		{id, 900_000, none},
	} {
		a := &answer{}
		r.c.InitProducerID(txn.InitRequest{TransactionalID: c.id, TimeoutMillis: c.timeout, Expected: txn.NoProducer}, a.hear(r))
		r.turn()
		require.Equal(t, c.want, a.code, c)
	}
	r.noIDs = wire.CoordinatorLoadInProgress
	a := &answer{}
	r.c.InitProducerID(txn.InitRequest{TransactionalID: "other", TimeoutMillis: 1, Expected: txn.NoProducer}, a.hear(r))
	require.Equal(t, wire.Code(wire.CoordinatorLoadInProgress), a.code)
	_, code := r.c.Describe("other")
	require.Equal(t, wire.Code(wire.TransactionalIDNotFound), code)
}

func TestTransactionalIDsAreBounded(t *testing.T) {
	r := newRig(t)
	r.idsMax = 1
	r.open()
	r.init(txn.NoProducer)
	a := &answer{}
	r.c.InitProducerID(txn.InitRequest{TransactionalID: "other", TimeoutMillis: 1, Expected: txn.NoProducer}, a.hear(r))
	require.Equal(t, wire.Code(wire.PolicyViolation), a.code)
	r.init(txn.NoProducer)
}

func TestFirstEpoch(t *testing.T) {
	r := newRig(t)
	r.first = math.MaxInt16 - 1
	r.open()
	require.Equal(t, producer(1000, math.MaxInt16-1), r.init(txn.NoProducer))
	require.Equal(t, producer(1001, 0), r.init(txn.NoProducer), "only a new id begins with it")
}

// Case 108: epochs that are used up give a new producer id, and the old pair stays fenced.
func TestExhaustedEpochsGiveANewProducerID(t *testing.T) {
	for _, expected := range []txn.Producer{txn.NoProducer, producer(5, math.MaxInt16-1)} {
		r := newRig(t)
		r.write(resting(producer(5, math.MaxInt16-1), txn.CompleteCommit))
		require.Equal(t, producer(1000, 0), r.init(expected))
		if expected != txn.NoProducer {
			require.Equal(t, producer(1000, 0), r.init(expected), "a retry after the id has changed (case 107)")
			r.restart()
			require.Equal(t, producer(1000, 0), r.init(expected))
		}
		require.Equal(t, fenced, r.initCode(producer(5, 3)))
		require.Equal(t, mapping, r.add(producer(5, math.MaxInt16-1), first, 0))
	}
	r := newRig(t)
	r.write(resting(producer(5, math.MaxInt16-2), txn.Empty))
	require.Equal(t, producer(5, math.MaxInt16-1), r.init(producer(5, math.MaxInt16-2)))
	require.Equal(t, producer(5, math.MaxInt16-1), r.init(producer(5, math.MaxInt16-2)), "a retry at the last epoch")
	require.Equal(t, fenced, r.initCode(producer(5, 3)))
}

// Case 109 and trap 61: InitProducerId aborts an open transaction with one bump, is told to come again, and then bumps once.
func TestInitProducerIDAbortsAnOpenTransaction(t *testing.T) {
	for _, c := range []struct {
		version int16 // of the cluster
		resume  txn.Producer
		code    wire.Code
	}{
		{2, producer(1000, 1), none},
		{1, txn.NoProducer, fenced},
		{0, txn.NoProducer, fenced},
	} {
		r := newRig(t)
		r.version = c.version
		p := r.init(txn.NoProducer)
		require.Equal(t, none, r.add(p, second, 0, 1))
		r.held = true
		require.Equal(t, concurrent, r.initCode(txn.NoProducer))
		require.Equal(t, txn.PrepareAbort, r.state().State)
		require.Equal(t, int16(1), r.state().Epoch)
		require.Equal(t, concurrent, r.initCode(txn.NoProducer), "markers are being written")
		require.Equal(t, int16(1), r.state().Epoch)
		r.release()
		require.Equal(t, txn.CompleteAbort, r.state().State)
		require.Equal(t, []string{fmt.Sprintf("abort 1000/1 v%d t-0", c.version/2*2), fmt.Sprintf("abort 1000/1 v%d t-1", c.version/2*2)}, r.markers)
		a := r.beginInit(producer(1000, 0))
		require.Equal(t, c.code, a.code, "the producer that was fenced")
		require.Equal(t, c.resume, a.producer)
		require.Equal(t, producer(1000, 2), r.init(txn.NoProducer))
	}
}

// Case 110 and trap 76: a fence whose record is refused has bumped nothing; the next one gives the same epoch.
func TestFenceThatIsNotWrittenBumpsNothing(t *testing.T) {
	for _, version := range []int16{0, 2} {
		r := newRig(t)
		r.version = version
		p := r.init(txn.NoProducer)
		r.add(p, second, 0)
		for range 3 {
			r.logs[0].Refuse = wire.RequestTimedOut
			require.Equal(t, wire.Code(wire.CoordinatorNotAvailable), r.initCode(txn.NoProducer))
			require.Equal(t, txn.Ongoing, r.state().State)
		}
		r.logs[0].Refuse = wire.None
		require.Equal(t, concurrent, r.initCode(txn.NoProducer))
		require.Equal(t, int16(1), r.state().Epoch)
		require.Equal(t, producer(1000, 2), r.init(txn.NoProducer))
	}
}

// Traps 61 and 20090 of Kafka's: a fence at the last epoch goes to a new id, or at least not past the end.
func TestFenceAtTheLastEpoch(t *testing.T) {
	for _, epoch := range []int16{math.MaxInt16 - 1, math.MaxInt16} {
		for _, version := range []int16{0, 2} {
			r := newRig(t)
			r.version = version
			r.write(ongoing(producer(5, epoch)))
			r.held = true
			require.Equal(t, concurrent, r.initCode(txn.NoProducer))
			require.Equal(t, int16(math.MaxInt16), r.state().Epoch)
			r.release()
			want := producer(5, math.MaxInt16)
			if version == 2 {
				want = producer(1000, 0)
			}
			require.Equal(t, want, producer(r.state().ProducerID, r.state().Epoch))
			generation := version
			if epoch == math.MaxInt16 {
				generation = first // a marker of the second would not be above its transaction, and be refused
			}
			require.Contains(t, r.markers[0], fmt.Sprintf("5/32767 v%d", generation))
			p := r.init(txn.NoProducer)
			require.NotEqual(t, int64(5), p.ID)
			require.Equal(t, none, r.add(p, second, 0))
		}
	}
}

// Cases 120, 121.
func TestAddPartitions(t *testing.T) {
	r := newRig(t)
	require.Equal(t, mapping, r.add(producer(1000, 0), first, 0), "an unknown id")
	p := r.init(txn.NoProducer)
	require.Equal(t, mapping, r.add(producer(7, 0), first, 0))
	require.Equal(t, fenced, r.add(producer(p.ID, 1), first, 0))
	require.Equal(t, fenced, r.add(producer(p.ID, -1), first, 0))
	for _, generation := range []int16{first, second} {
		require.Equal(t, none, r.add(p, generation, 3, 1, 3))
		require.Equal(t, partitionsOf(1, 3), r.state().Partitions)
		batches := len(r.logs[0].Batches)
		require.Equal(t, none, r.add(p, generation, 1))
		require.Equal(t, batches, len(r.logs[0].Batches), "what is there writes nothing")
		require.Equal(t, none, r.add(p, generation, 2))
		require.Equal(t, partitionsOf(1, 2, 3), r.state().Partitions)
		r.held = true
		next, code := r.end(p, generation == first, generation)
		require.Equal(t, none, code)
		require.Equal(t, concurrent, r.add(p, generation, 1), "PrepareCommit, PrepareAbort")
		require.Equal(t, concurrent, r.add(producer(1, 1), generation, 1), "before the producer is looked at")
		r.release()
		if generation == second {
			p = next
		}
		require.Equal(t, none, r.add(p, generation, 1), "CompleteCommit, CompleteAbort")
		p = nextOf(p, r.beginEnd(p, true, generation))
	}
}

func nextOf(p txn.Producer, a *answer) txn.Producer {
	if a.producer != txn.NoProducer {
		return a.producer
	}
	return p
}

// Case 123: to verify never adds, and looks at what is applied.
func TestVerify(t *testing.T) {
	r := newRig(t)
	verify := func(p txn.Producer, indexes ...int32) (codes []wire.Code) {
		r.c.AddPartitions(id, p.ID, p.Epoch, partitionsOf(indexes...), true, func(c []wire.Code) { codes = c })
		return codes
	}
	abortable := wire.Code(wire.TransactionAbortable)
	require.Equal(t, []wire.Code{mapping, mapping}, verify(producer(1, 0), 0, 1))
	p := r.init(txn.NoProducer)
	require.Equal(t, []wire.Code{abortable}, verify(p, 0))
	r.add(p, first, 0)
	require.Equal(t, []wire.Code{none, abortable}, verify(p, 0, 1))
	require.Equal(t, []wire.Code{fenced}, verify(producer(p.ID, 1), 0))
	require.Equal(t, []wire.Code{mapping}, verify(producer(1, 0), 0))
	r.logs[0].Held = true
	r.c.AddForClient(txn.AddRequest{TransactionalID: id, Producer: p, Partitions: partitionsOf(5)}, func(wire.Code) {})
	require.Equal(t, []wire.Code{none, abortable}, verify(p, 0, 5), "a write of another partition holds nothing up (trap 83)")
	r.logs[0].Held = false
	r.logs[0].Durable()
	r.turn()
	r.held = true
	r.end(p, true, first)
	require.Equal(t, []wire.Code{concurrent}, verify(p, 0))
}

func (r *rig) current() txn.Producer { return producer(r.state().ProducerID, r.state().Epoch) }

// Cases 134 to 138: every state with every kind of EndTxn.
func TestEndTxn(t *testing.T) {
	now, retry, other := producer(5, 7), producer(5, 6), producer(9, 7)
	bumped, same := producer(5, 8), producer(5, 7)
	for _, c := range []struct {
		state    txn.State
		version  int16
		from     txn.Producer
		commit   bool
		code     wire.Code
		producer txn.Producer // of the answer, in the second generation
		then     txn.State
	}{
		{txn.Ongoing, first, now, true, none, txn.NoProducer, txn.CompleteCommit},
		{txn.Ongoing, first, now, false, none, txn.NoProducer, txn.CompleteAbort},
		{txn.Ongoing, first, retry, true, fenced, txn.NoProducer, txn.Ongoing},
		{txn.Ongoing, first, producer(5, 8), true, fenced, txn.NoProducer, txn.Ongoing},
		{txn.Ongoing, first, other, true, mapping, txn.NoProducer, txn.Ongoing},
		{txn.Empty, first, now, true, invalid, txn.NoProducer, txn.Empty},
		{txn.Empty, first, now, false, invalid, txn.NoProducer, txn.Empty},
		{txn.CompleteCommit, first, now, true, none, txn.NoProducer, txn.CompleteCommit},
		{txn.CompleteCommit, first, now, false, invalid, txn.NoProducer, txn.CompleteCommit},
		{txn.CompleteAbort, first, now, false, none, txn.NoProducer, txn.CompleteAbort},
		{txn.CompleteAbort, first, now, true, invalid, txn.NoProducer, txn.CompleteAbort},
		{txn.CompleteAbort, first, retry, false, fenced, txn.NoProducer, txn.CompleteAbort},

		{txn.Ongoing, second, now, true, none, bumped, txn.CompleteCommit},
		{txn.Ongoing, second, now, false, none, bumped, txn.CompleteAbort},
		{txn.Ongoing, second, retry, true, fenced, txn.NoProducer, txn.Ongoing}, // R23
		{txn.Ongoing, second, retry, false, fenced, txn.NoProducer, txn.Ongoing},
		{txn.Ongoing, second, producer(5, 8), true, fenced, txn.NoProducer, txn.Ongoing},
		{txn.Ongoing, second, other, true, mapping, txn.NoProducer, txn.Ongoing},
		{txn.Empty, second, now, false, none, bumped, txn.CompleteAbort},
		{txn.Empty, second, now, true, invalid, txn.NoProducer, txn.Empty},
		{txn.Empty, second, retry, false, fenced, txn.NoProducer, txn.Empty},
		{txn.Empty, second, retry, true, fenced, txn.NoProducer, txn.Empty},
		{txn.CompleteAbort, second, now, false, none, bumped, txn.CompleteAbort},
		{txn.CompleteAbort, second, now, true, invalid, txn.NoProducer, txn.CompleteAbort},
		{txn.CompleteAbort, second, retry, false, none, same, txn.CompleteAbort},
		{txn.CompleteAbort, second, retry, true, invalid, txn.NoProducer, txn.CompleteAbort},
		{txn.CompleteCommit, second, now, false, none, bumped, txn.CompleteAbort}, // trap 63
		{txn.CompleteCommit, second, now, true, invalid, txn.NoProducer, txn.CompleteCommit},
		{txn.CompleteCommit, second, retry, true, none, same, txn.CompleteCommit},
		{txn.CompleteCommit, second, retry, false, invalid, txn.NoProducer, txn.CompleteCommit},
		{txn.CompleteCommit, second, producer(5, 5), true, fenced, txn.NoProducer, txn.CompleteCommit},
		{txn.CompleteCommit, second, producer(5, 8), true, fenced, txn.NoProducer, txn.CompleteCommit},
	} {
		r := newRig(t)
		state := resting(now, c.state)
		if c.state == txn.Ongoing {
			state = ongoing(now)
		}
		r.write(state)
		got, code := r.end(c.from, c.commit, c.version)
		require.Equal(t, c.code, code, c)
		require.Equal(t, c.producer, got, c)
		require.Equal(t, c.then, r.state().State, c)
		if code == none && c.state == txn.Ongoing {
			require.Len(t, r.markers, 1)
		}
	}
	r := newRig(t)
	_, code := r.end(now, true, second)
	require.Equal(t, mapping, code, "an unknown id")
	r.c.EndTxn(txn.EndRequest{}, func(_ txn.Producer, code wire.Code) { require.Equal(t, wire.Code(wire.InvalidRequest), code) })
}

// Case 135: while markers are being written, every EndTxn is told to come again.
func TestEndTxnWhileMarkersAreWritten(t *testing.T) {
	for _, commit := range []bool{true, false} {
		r := newRig(t)
		p := r.init(txn.NoProducer)
		r.add(p, second, 0)
		r.held = true
		next, code := r.end(p, commit, second)
		require.Equal(t, none, code)
		for _, from := range []txn.Producer{p, next, producer(77, 0)} {
			for _, again := range []bool{true, false} {
				_, code := r.end(from, again, second)
				require.Equal(t, concurrent, code)
			}
		}
		_, code = r.end(next, commit, first)
		require.Equal(t, concurrent, code)
		r.release()
		got, code := r.end(p, commit, second)
		require.Equal(t, none, code)
		require.Equal(t, next, got)
		_, code = r.end(p, !commit, second)
		require.Equal(t, invalid, code)
	}
}

// Trap 60, R23: the EndTxn of a transaction comes late, or again, while the next one is open. It decides nothing.
func TestDelayedEndTxnDecidesNoLaterTransaction(t *testing.T) {
	for _, delayed := range []bool{true, false} {
		r := newRig(t)
		p := r.init(txn.NoProducer)
		r.add(p, second, 0)
		next, _ := r.end(p, true, second)
		require.Equal(t, none, r.add(next, second, 0))
		_, code := r.end(p, delayed, second)
		require.Equal(t, fenced, code)
		require.Equal(t, txn.Ongoing, r.state().State)
		third, code := r.end(next, false, second)
		require.Equal(t, none, code)
		_, code = r.end(p, delayed, second)
		require.Equal(t, fenced, code)
		require.Equal(t, third, r.current())
	}
}

// Case 136 and trap 62: when the epochs are used up, EndTxn answers the next id, its retry too, and the next transaction goes on.
func TestEndTxnAtTheLastEpoch(t *testing.T) {
	for _, commit := range []bool{true, false} {
		r := newRig(t)
		last := producer(5, math.MaxInt16-1)
		r.write(ongoing(last))
		r.held = true
		next, code := r.end(last, commit, second)
		require.Equal(t, none, code)
		require.Equal(t, producer(1000, 0), next)
		require.Equal(t, last.ID, r.state().ProducerID, "the markers are still of the old id")
		require.Equal(t, concurrent, r.add(next, second, 0), "not: that is another producer")
		r.restart()
		r.release()
		require.Len(t, r.markers, 1)
		require.Contains(t, r.markers[0], "5/32767 v2")
		got, code := r.end(last, commit, second)
		require.Equal(t, none, code)
		require.Equal(t, next, got)
		require.Equal(t, none, r.add(next, second, 0))
		_, code = r.end(last, commit, second)
		require.Equal(t, mapping, code, "too late: the next transaction is open")
		_, code = r.end(next, true, second)
		require.Equal(t, none, code)
	}
}

// Case 139, traps 64, 65, 70: markers are written until every partition has one, and the transaction completes once.
func TestMarkersAreWrittenUntilAllPartitionsHaveThem(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0, 1, 2, 3)
	at := partitionsOf(0, 1, 2, 3)
	r.answers[at[1]] = wire.NotLeaderOrFollower
	r.answers[at[2]] = wire.UnknownTopicOrPartition // its topic was deleted
	r.answers[at[3]] = wire.InvalidProducerEpoch
	r.end(p, true, second)
	require.Equal(t, []string{"commit 1000/1 v2 t-0"}, r.markers)
	require.Equal(t, txn.PrepareCommit, r.state().State)
	r.pass(time.Minute)
	require.Equal(t, txn.PrepareCommit, r.state().State)
	require.Len(t, r.markers, 1, "a partition that has its marker gets no other")
	delete(r.answers, at[1])
	r.pass(time.Minute)
	require.Equal(t, []string{"commit 1000/1 v2 t-0", "commit 1000/1 v2 t-1"}, r.markers)
	require.Equal(t, txn.CompleteCommit, r.state().State)
	require.Empty(t, r.state().Partitions)
}

func TestCompletionIsWrittenUntilItSucceeds(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.held = true
	r.end(p, true, second)
	r.logs[0].Refuse = wire.RequestTimedOut
	r.release()
	r.pass(10 * time.Second)
	require.Equal(t, txn.PrepareCommit, r.state().State)
	r.logs[0].Refuse = wire.None
	r.pass(10 * time.Second)
	require.Equal(t, txn.CompleteCommit, r.state().State)
	require.Len(t, r.markers, 1)
}

// Case 145 and trap 64: a new coordinator completes what the one before had prepared.
func TestPreparedTransactionSurvivesARestart(t *testing.T) {
	for _, commit := range []bool{true, false} {
		r := newRig(t)
		p := r.init(txn.NoProducer)
		r.add(p, second, 0, 1)
		r.held = true
		r.end(p, commit, second)
		r.restart()
		require.Equal(t, concurrent, r.initCode(txn.NoProducer))
		require.Len(t, r.waiting, 2)
		r.release()
		require.Len(t, r.markers, 2)
		want := txn.CompleteAbort
		if commit {
			want = txn.CompleteCommit
		}
		require.Equal(t, want, r.state().State)
	}
}

// Trap 65: what answers late is of a marking that is over, and ends no other.
func TestLateMarkerCompletesNoOtherTransaction(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0, 1)
	r.held = true
	r.end(p, true, second)
	late := r.waiting
	txn.AppendForTest(r.cluster.Runtime, id, ref(resting(producer(1000, 1), txn.CompleteCommit)))
	r.turn()
	r.waiting = nil
	require.Equal(t, none, r.add(producer(1000, 1), second, 0))
	r.end(producer(1000, 1), false, second)
	require.Len(t, r.waiting, 1)
	for _, f := range late {
		f()
	}
	r.turn()
	require.Equal(t, txn.PrepareAbort, r.state().State)
	r.release()
	require.Equal(t, txn.CompleteAbort, r.state().State)
}

func ref[T any](v T) *T { return &v }

// Case 142 and trap 19: a transaction that runs too long is aborted, with one bump; time without a coordinator does not count.
func TestTransactionsTimeOut(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.pass(50 * time.Second)
	r.add(p, second, 1)
	r.clock.At = r.clock.At.Add(time.Hour) // nobody is there
	r.restart()
	require.Equal(t, txn.Ongoing, r.state().State)
	r.pass(59 * time.Second)
	require.Equal(t, txn.Ongoing, r.state().State, "its time has begun anew")
	r.logs[0].Refuse = wire.RequestTimedOut
	r.pass(30 * time.Second)
	require.Equal(t, txn.Ongoing, r.state().State)
	require.Equal(t, p, r.current(), "an abort that is not written bumps nothing")
	r.logs[0].Refuse = wire.None // trap 66: it is tried again
	r.pass(11 * time.Second)
	require.Equal(t, txn.CompleteAbort, r.state().State)
	require.Equal(t, producer(p.ID, 1), r.current())
	require.Equal(t, []string{"abort 1000/1 v2 t-0", "abort 1000/1 v2 t-1"}, r.markers)
	_, code := r.end(p, true, second)
	require.Equal(t, invalid, code, "a commit that comes too late")
	got, code := r.end(p, false, second)
	require.Equal(t, none, code)
	require.Equal(t, producer(p.ID, 1), got, "an abort gets the epoch that was bumped meanwhile")
	r.pass(time.Hour)
	require.Equal(t, producer(p.ID, 1), r.current())
}

func TestTimeoutIsOfTheTransactionNotOfThePartition(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.pass(40 * time.Second)
	r.add(p, second, 1)
	r.pass(31 * time.Second)
	require.Equal(t, txn.CompleteAbort, r.state().State)
	p = r.init(txn.NoProducer)
	r.add(p, first, 0)
	r.pass(40 * time.Second)
	r.end(p, true, first)
	r.add(p, first, 0)
	r.pass(40 * time.Second)
	require.Equal(t, txn.Ongoing, r.state().State)
}

func TestTimeoutAtTheLastEpoch(t *testing.T) {
	for _, version := range []int16{0, 2} {
		r := newRig(t)
		r.version = version
		r.write(ongoing(producer(5, math.MaxInt16-1)))
		r.pass(71 * time.Second)
		require.Equal(t, txn.CompleteAbort, r.state().State)
		require.NotEqual(t, int64(5), r.init(txn.NoProducer).ID)
	}
}

// Case 143: ids that are not used any more are removed, never with a transaction.
func TestUnusedIDsAreRemoved(t *testing.T) {
	week := 7*24*time.Hour + 2*time.Hour
	for _, state := range []txn.State{txn.Empty, txn.CompleteCommit, txn.CompleteAbort} {
		r := newRig(t)
		s := resting(producer(5, 3), state)
		s.UpdateMillis = r.clock.WallMillis()
		r.write(s)
		r.pass(6 * 24 * time.Hour)
		require.Equal(t, state, r.state().State)
		r.logs[0].Refuse = wire.RequestTimedOut
		r.pass(week - 6*24*time.Hour)
		require.Equal(t, state, r.state().State, "the tombstone was refused")
		r.logs[0].Refuse = wire.None
		r.pass(2 * time.Hour)
		_, code := r.c.Describe(id)
		require.Equal(t, wire.Code(wire.TransactionalIDNotFound), code)
		require.Equal(t, mapping, r.add(producer(5, 3), first, 0))
		r.restart()
		_, code = r.c.Describe(id)
		require.Equal(t, wire.Code(wire.TransactionalIDNotFound), code)
		require.Equal(t, producer(1000, 0), r.init(txn.NoProducer))
	}
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.answers[partitionsOf(0)[0]] = wire.RequestTimedOut
	r.end(p, true, second)
	r.pass(week)
	require.Equal(t, txn.PrepareCommit, r.state().State)
}

// Case 153.
func TestListTransactions(t *testing.T) {
	r := newRig(t)
	begin := func(name string) txn.Producer {
		a := &answer{}
		r.c.InitProducerID(txn.InitRequest{TransactionalID: name, TimeoutMillis: 60_000, Expected: txn.NoProducer}, a.hear(r))
		r.turn()
		return a.producer
	}
	a, b := begin("app-a"), begin("app-b")
	begin("other")
	r.c.AddForClient(txn.AddRequest{TransactionalID: "app-b", Producer: b, Partitions: partitionsOf(0)}, func(wire.Code) {})
	r.pass(10 * time.Second)
	list := func(q txn.ListRequest) (names []string, out txn.List) {
		r.c.List(q, func(l txn.List) { out = l })
		for _, l := range out.Transactions {
			names = append(names, l.ID+" "+l.State.String())
		}
		return names, out
	}
	all := []string{"app-a Empty", "app-b Ongoing", "other Empty"}
	names, _ := list(txn.ListRequest{DurationMillis: -1})
	require.Equal(t, all, names)
	names, _ = list(txn.ListRequest{DurationMillis: -1, States: []string{"Ongoing"}})
	require.Equal(t, all[1:2], names)
	names, out := list(txn.ListRequest{DurationMillis: -1, States: []string{"ongoing", "No", "ongoing"}})
	require.Empty(t, names)
	require.Equal(t, []string{"ongoing", "No"}, out.UnknownStates)
	names, _ = list(txn.ListRequest{DurationMillis: -1, ProducerIDs: []int64{b.ID, a.ID, b.ID, 1}})
	require.Equal(t, all[:2], names)
	names, _ = list(txn.ListRequest{DurationMillis: 10_000, States: []string{"Ongoing"}})
	require.Equal(t, all[1:2], names)
	names, _ = list(txn.ListRequest{DurationMillis: 10_001, States: []string{"Ongoing"}})
	require.Empty(t, names)
	names, _ = list(txn.ListRequest{DurationMillis: -1, Pattern: "app-.*"})
	require.Equal(t, all[:2], names)
	names, _ = list(txn.ListRequest{DurationMillis: -1, Pattern: "app|x"})
	require.Empty(t, names, "the whole id")
	for _, bad := range []string{"(", "a)(b", "((((a{10}){10}){10}b{900}){1}b{900})", string(make([]byte, 5000))} {
		_, out = list(txn.ListRequest{DurationMillis: -1, Pattern: bad})
		require.Equal(t, wire.Code(wire.InvalidRegularExpression), out.Code, bad)
	}
	r.logs[0].ReadErr = wireDown{}
	again := r.logs[0].Reopen()
	again.ReadErr = wireDown{}
	r.logs[0].Close()
	r.turn()
	r.logs[0] = again
	r.open()
	_, out = list(txn.ListRequest{DurationMillis: -1})
	require.Equal(t, wire.Code(wire.CoordinatorLoadInProgress), out.Code)
	_, code := r.c.Describe("app-a")
	require.Equal(t, wire.Code(wire.CoordinatorLoadInProgress), code)
	_, code = r.c.Describe("")
	require.Equal(t, wire.Code(wire.InvalidRequest), code)
}

type wireDown struct{}

func (wireDown) Error() string { return "the store is down" }

// A request whose partition closes is told to look for the coordinator, whatever it waits for.
func TestClosingAnswersEveryRequest(t *testing.T) {
	r := newRig(t)
	p := r.init(txn.NoProducer)
	r.add(p, second, 0)
	r.logs[0].Held = true
	answers := []*answer{r.beginEnd(p, true, second), r.beginEnd(p, true, second), r.beginInit(txn.NoProducer)}
	r.logs[0].Close()
	r.turn()
	for _, a := range answers {
		require.True(t, a.done)
		require.Equal(t, wire.Code(wire.NotCoordinator), a.code)
	}
	require.Equal(t, wire.Code(wire.NotCoordinator), r.initCode(txn.NoProducer))
}
