package txn_test

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"weir/core/coordinator/coordinatortest"
	"weir/core/record"
	"weir/core/txn"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// history is every state of the id that a log has, in order; nil: a tombstone.
func history(t require.TestingT, log *coordinatortest.Log) (all []*txn.Transaction) {
	for _, b := range log.Batches {
		h, err := record.ReadHeader(b)
		require.NoError(t, err)
		require.NoError(t, record.Each(b[:h.Bytes], 1<<20, func(r record.Record) bool {
			if r.Value == nil {
				all = append(all, nil)
				return true
			}
			s, err := txn.DecodeValue(r.Value)
			require.NoError(t, err)
			all = append(all, s)
			return true
		}))
	}
	return all
}

// checkHistory wants each step to be one that the protocol has: an epoch rises by one or gives way to a new producer id, what is
// prepared completes as it was decided, and a transaction of the second generation is decided once.
func checkHistory(t require.TestingT, all []*txn.Transaction) {
	decided := map[txn.Producer]txn.State{}
	for i := 1; i < len(all); i++ {
		before, s := all[i-1], all[i]
		text := fmt.Sprintf("record %d: %+v after %+v", i, s, before)
		switch {
		case s.ProducerID != before.ProducerID:
			require.Equal(t, int16(0), s.Epoch, text)
			require.GreaterOrEqual(t, before.Epoch, int16(32766), text)
			require.Equal(t, before.ProducerID, s.PreviousID, text)
		default:
			require.Contains(t, []int16{before.Epoch, before.Epoch + 1}, s.Epoch, text)
		}
		switch {
		case before.State == txn.PrepareCommit:
			require.Equal(t, txn.CompleteCommit, s.State, text)
		case before.State == txn.PrepareAbort:
			require.Equal(t, txn.CompleteAbort, s.State, text)
		case s.State == txn.PrepareCommit:
			require.Equal(t, txn.Ongoing, before.State, text)
		case s.State == txn.CompleteCommit || s.State == txn.CompleteAbort:
			require.Fail(t, "it completes what was not prepared", text)
		}
		if (s.State == txn.PrepareCommit || s.State == txn.PrepareAbort) && s.ClientVersion == 2 {
			p := producer(s.ProducerID, s.Epoch)
			require.NotContains(t, decided, p, text)
			decided[p] = s.State
		}
	}
}

// What a coordinator loads is what was served, wherever it stopped; and whatever clients ask, and however often, transactions end
// as they were decided.
func TestCrashesAtEveryBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRig(t)
		r.version = rapid.SampledFrom([]int16{0, 2, 2}).Draw(t, "transaction.version")
		if rapid.Bool().Draw(t, "near the end of the epochs") {
			r.write(resting(producer(5, int16(rapid.IntRange(32760, 32767).Draw(t, "epoch"))), txn.CompleteAbort))
		}
		r.logs[0].Held = true
		known := []txn.Producer{txn.NoProducer, producer(1000, 0)} // what clients have been told, zombies' too
		pick := func() txn.Producer {
			if rapid.IntRange(0, 3).Draw(t, "zombie") > 0 {
				return known[len(known)-1]
			}
			return rapid.SampledFrom(known).Draw(t, "producer")
		}
		type outcome struct {
			q    txn.EndRequest
			code wire.Code
		}
		var acknowledged []outcome
		adds := &addOrder{t: t}
		learn := func(p txn.Producer, code wire.Code) {
			if code == none && p != txn.NoProducer {
				known = append(known, p)
			}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			switch rapid.IntRange(0, 15).Draw(t, "step") {
			case 0:
				r.c.InitProducerID(txn.InitRequest{TransactionalID: id, TimeoutMillis: 60_000, Expected: txn.NoProducer}, learn)
			case 1:
				r.c.InitProducerID(txn.InitRequest{TransactionalID: id, TimeoutMillis: 60_000, Expected: pick()}, learn)
			case 2, 3, 4:
				p := pick()
				adds.add(r, p, rapid.SliceOfN(rapid.Int32Range(0, 4), 1, 3).Draw(t, "partitions"))
			case 5, 6:
				q := txn.EndRequest{TransactionalID: id, Producer: pick(), Commit: rapid.Bool().Draw(t, "commit"), Version: rapid.SampledFrom([]int16{0, 2, 2}).Draw(t, "generation")}
				r.c.EndTxn(q, func(p txn.Producer, code wire.Code) {
					learn(p, code)
					acknowledged = append(acknowledged, outcome{q, code})
				})
			case 7, 8:
				r.logs[0].DurableFirst(rapid.IntRange(1, 3).Draw(t, "durable"))
			case 9:
				r.answers[partitionsOf(rapid.Int32Range(0, 4).Draw(t, "partition"))[0]] = rapid.SampledFrom([]wire.Code{none, wire.NotLeaderOrFollower, wire.UnknownTopicOrPartition}).Draw(t, "code")
			case 10:
				r.pass(rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 70 * time.Second}).Draw(t, "time"))
			case 11:
				r.restart()
				adds.over()
			case 12:
				r.held = true // markers
			case 13:
				r.release()
			case 14:
				r.logs[0].Refuse = rapid.SampledFrom([]wire.Code{none, wire.RequestTimedOut}).Draw(t, "refuse")
			case 15:
				r.logs[0].BytesMax = rapid.SampledFrom([]int{0, 230, 260}).Draw(t, "batches of at most")
			}
			for range rapid.IntRange(0, 3).Draw(t, "turns") {
				r.loop.Turn(nil)
			}
		}
		clear(r.answers)
		r.logs[0].Held, r.logs[0].Refuse, r.logs[0].BytesMax = false, none, 0
		r.release()
		r.logs[0].Durable()
		r.turn()
		r.pass(3 * time.Minute)
		adds.over()
		all := history(t, r.logs[0])
		checkHistory(t, all)
		for _, a := range acknowledged {
			if a.code == none && a.q.Version == 2 {
				checkDecided(t, all, a.q)
			}
		}
		live, code := r.c.Describe(id)
		if code == none {
			require.NotContains(t, []txn.State{txn.Ongoing, txn.PrepareCommit, txn.PrepareAbort}, live.State, "nothing is left open")
			served, held := *live, r.cluster.Memory.Held()
			r.restart()
			require.Equal(t, served, r.state())
			require.Equal(t, held, r.cluster.Memory.Held())
		}
	})
}

// addOrder holds the answers to adds to what they promise: each add has one, it succeeds after all adds before it are answered, and is part of the
// transaction then.
type addOrder struct {
	t        require.TestingT
	answered []bool
}

func (o *addOrder) add(r *rig, p txn.Producer, indexes []int32) {
	number := len(o.answered)
	o.answered = append(o.answered, false)
	r.c.AddPartitions(id, p.ID, p.Epoch, partitionsOf(indexes...), false, func(codes []wire.Code) {
		require.False(o.t, o.answered[number], "answered twice")
		o.answered[number] = true
		if codes[0] == none {
			require.NotContains(o.t, o.answered[:number], false, "an add overtook another")
			s := r.state()
			require.Equal(o.t, txn.Ongoing, s.State)
			require.Equal(o.t, p, producer(s.ProducerID, s.Epoch))
			require.Subset(o.t, s.Partitions, partitionsOf(indexes...))
		}
	})
}

// over wants all to be answered.
func (o *addOrder) over() { require.NotContains(o.t, o.answered, false) }

// checkDecided wants an EndTxn that was acknowledged to have been decided, as it asked, for the transaction of its own epoch.
func checkDecided(t require.TestingT, all []*txn.Transaction, q txn.EndRequest) {
	want := txn.PrepareAbort
	if q.Commit {
		want = txn.PrepareCommit
	}
	for _, s := range all {
		if s.State == want && s.ProducerID == q.Producer.ID && int(s.Epoch) == min(int(q.Producer.Epoch)+1, 32767) {
			return
		}
	}
	require.Fail(t, "an acknowledged EndTxn decided nothing", "%+v", q)
}

func TestRecordsSurviveTheirEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := txn.Transaction{
			ProducerID: rapid.Int64().Draw(t, "id"), PreviousID: rapid.Int64().Draw(t, "previous"), NextID: rapid.Int64().Draw(t, "next"),
			Epoch: rapid.Int16().Draw(t, "epoch"), LastEpoch: rapid.Int16Range(-1, 32767).Draw(t, "last epoch"),
			TimeoutMillis: rapid.Int32().Draw(t, "timeout"), State: txn.State(rapid.IntRange(0, 5).Draw(t, "state")),
			StartMillis: rapid.Int64().Draw(t, "start"), UpdateMillis: rapid.Int64().Draw(t, "update"), ClientVersion: rapid.Int16().Draw(t, "version"),
		}
		if s.State != txn.Empty {
			for i := range rapid.IntRange(0, 3).Draw(t, "topics") {
				for p := range rapid.Int32Range(1, 3).Draw(t, "partitions") {
					s.Partitions = append(s.Partitions, txn.Partition{Topic: fmt.Sprint("topic-", i), Index: p})
				}
			}
		}
		got, err := txn.DecodeValue(txn.EncodeValue(&s))
		require.NoError(t, err)
		require.Equal(t, &s, got)
	})
}

func FuzzDecodeValue(f *testing.F) {
	f.Add(txn.EncodeValue(ref(ongoing(producer(5, 7)))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := txn.DecodeValue(b); err == nil {
			again, err := txn.DecodeValue(txn.EncodeValue(s))
			require.NoError(t, err)
			if s.State != txn.Empty {
				require.Equal(t, s.Partitions, again.Partitions)
			}
		}
	})
}

// The bytes are those that the classes of Apache Kafka 4.4.0 write. The tag of the last epoch is ours: Kafka's reader passes over it.
func TestRecordsAreKafkas(t *testing.T) {
	kafka := func(text string) []byte {
		b, err := hex.DecodeString(text)
		require.NoError(t, err)
		return b
	}
	require.Equal(t, kafka("000000097472616e7366657273"), txn.EncodeKey(id))
	prepared := txn.Transaction{
		ProducerID: 5, PreviousID: 4, NextID: 1000, Epoch: 32767, LastEpoch: -1, TimeoutMillis: 60_000, State: txn.PrepareCommit,
		Partitions:   []txn.Partition{{Topic: "orders", Index: 0}, {Topic: "orders", Index: 3}, {Topic: "payments", Index: 1}},
		UpdateMillis: 1_700_000_000_001, StartMillis: 1_700_000_000_000, ClientVersion: 2,
	}
	require.Equal(t, kafka("000100000000000000057fff0000ea600203076f726465727303000000000000000300097061796d656e74730200000001000000018bcfe568010000018bcfe568000300080000000000000004010800000000000003e802020002"),
		txn.EncodeValue(&prepared))
	empty := txn.Transaction{ProducerID: 5, PreviousID: 5, NextID: -1, LastEpoch: -1, TimeoutMillis: 60_000, UpdateMillis: 1_700_000_000_001, StartMillis: -1}
	require.Equal(t, kafka("0001000000000000000500000000ea6000000000018bcfe56801ffffffffffffffff0100080000000000000005"), txn.EncodeValue(&empty))
	old, err := txn.DecodeValue(kafka("0000000000000000000500000000ea60010000000100066f72646572730000000200000000000000030000018bcfe568010000018bcfe56800"))
	require.NoError(t, err)
	require.Equal(t, &txn.Transaction{
		ProducerID: 5, PreviousID: -1, NextID: -1, LastEpoch: -1, TimeoutMillis: 60_000, State: txn.Ongoing, Partitions: prepared.Partitions[:2],
		UpdateMillis: 1_700_000_000_001, StartMillis: 1_700_000_000_000,
	}, old, "version 0")
	prepared.LastEpoch = 32766
	require.Contains(t, hex.EncodeToString(txn.EncodeValue(&prepared)), "e807027ffe", "tag 1000")
	_, err = txn.DecodeValue([]byte{0, 2, 0})
	require.Error(t, err, "a version that a newer release writes")
}
