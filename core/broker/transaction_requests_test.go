package broker

import (
	"fmt"
	"strings"
	"testing"

	"weir/core/config"
	"weir/core/coordinator/coordinatortest"
	"weir/core/env"
	"weir/core/txn"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// markersAtOnce writes every marker.
type markersAtOnce struct{}

func (markersAtOnce) WriteMarker(_ txn.Partition, _ txn.Marker, done func(wire.Code)) {
	done(wire.None)
}

// withTransactions gives a rig a transaction coordinator on a partition in memory.
func withTransactions(t *testing.T) *rig {
	r := newRig(t, "")
	c := txn.New(txn.Options{
		Loop: r.loop, Env: env.Env{Clock: r, Rand: r, Compute: r}, Config: func() config.Transactions { return r.broker.config.Transactions },
		Version: func() int16 { return 2 }, LeaderEpoch: func(int32) int32 { return 0 }, ProducerID: r.broker.NewProducerID, Markers: markersAtOnce{},
	})
	clock := &coordinatortest.Clock{}
	cluster := coordinatortest.OpenOn(r.loop, txn.Topic, []*coordinatortest.Log{{}}, clock, c.NewMachine)
	c.Run(cluster.Runtime)
	r.broker.transactions, r.broker.data.transactions = c, c
	r.topics = append(r.topics, r.newTopic(offsetsTopic, 50, nil))
	return r
}

func (r *rig) initTransactional(version int16, id string, p txn.Producer) (txn.Producer, int16) {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.TransactionalID, q.TransactionTimeoutMillis, q.ProducerID, q.ProducerEpoch = &id, 60_000, p.ID, p.Epoch
	out := ask[*kmsg.InitProducerIDResponse](r, version, q)
	return txn.Producer{ID: out.ProducerID, Epoch: out.ProducerEpoch}, out.ErrorCode
}

// added sends AddPartitionsToTxn of any version, and prints the answer: topic-partition=code.
func (r *rig) added(version int16, verify bool, id string, p txn.Producer, topics ...kmsg.AddPartitionsToTxnRequestTopic) string {
	q := kmsg.NewPtrAddPartitionsToTxnRequest()
	q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Topics = id, p.ID, p.Epoch, topics
	if version >= 4 {
		x := kmsg.NewAddPartitionsToTxnRequestTransaction()
		x.TransactionalID, x.ProducerID, x.ProducerEpoch, x.VerifyOnly = id, p.ID, p.Epoch, verify
		for _, t := range topics {
			x.Topics = append(x.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: t.Topic, Partitions: t.Partitions})
		}
		q.Transactions = append(q.Transactions, x)
	}
	out := ask[*kmsg.AddPartitionsToTxnResponse](r, version, q)
	var rows []string
	for _, t := range out.Topics {
		for _, p := range t.Partitions {
			rows = append(rows, fmt.Sprintf("%s-%d=%d", t.Topic, p.Partition, p.ErrorCode))
		}
	}
	for _, x := range out.Transactions {
		require.Equal(r.t, id, x.TransactionalID)
		for _, t := range x.Topics {
			for _, p := range t.Partitions {
				rows = append(rows, fmt.Sprintf("%s-%d=%d", t.Topic, p.Partition, p.ErrorCode))
			}
		}
	}
	return strings.Join(rows, " ")
}

func of(topic string, partitions ...int32) kmsg.AddPartitionsToTxnRequestTopic {
	return kmsg.AddPartitionsToTxnRequestTopic{Topic: topic, Partitions: partitions}
}

// As Apache Kafka 4.4.0 answers.
func TestAddPartitionsToTxn(t *testing.T) {
	for version := int16(0); version <= 5; version++ {
		r := withTransactions(t)
		p, code := r.initTransactional(5, "a", txn.NoProducer)
		require.Zero(t, code)
		fenced, internal := wire.ProducerFenced, "t-0=0 __consumer_offsets-0=0"
		if version < 2 {
			fenced = wire.InvalidProducerEpoch
		}
		if version < 4 {
			internal = "t-0=55 __consumer_offsets-0=29"
		}
		require.Equal(t, "t-0=55 nope-0=3", r.added(version, false, "a", p, of("t", 0, 0), of("nope", 0)))
		require.Equal(t, "t-9=3 t-0=55", r.added(version, false, "a", p, of("t", 9, 0)))
		require.Equal(t, "t--1=3", r.added(version, false, "a", p, of("t", -1)))
		require.Empty(t, r.added(version, false, "none", p), "there is nothing to say it of")
		require.Equal(t, fmt.Sprint("t-0=", fenced), r.added(version, false, "a", txn.Producer{ID: p.ID, Epoch: 9}, of("t", 0)))
		require.Equal(t, "t-0=49", r.added(version, false, "a", txn.Producer{ID: p.ID + 1}, of("t", 0)))
		require.Equal(t, "t-0=49", r.added(version, false, "other", p, of("t", 0)))
		require.Equal(t, "t-0=42", r.added(version, false, "", p, of("t", 0)))
		require.Equal(t, internal, r.added(version, false, "a", p, of("t", 0), of(offsetsTopic, 0)))
		require.Equal(t, "t-1=0", r.added(version, false, "a", p, of("t", 1)))
		if version >= 4 {
			require.Equal(t, "t-1=0 t-2=120", r.added(version, true, "a", p, of("t", 1, 2)))
			require.Equal(t, "t-1=55 nope-0=3", r.added(version, true, "a", p, of("t", 1), of("nope", 0)))
			require.Equal(t, "t-1=42", r.added(version, true, "", p, of("t", 1)))
		}
	}
}

func TestTransactionFromBeginToEnd(t *testing.T) {
	for version := int16(0); version <= 5; version++ {
		r := withTransactions(t)
		p, code := r.initTransactional(min(version, 5), "a", txn.NoProducer)
		require.Zero(t, code)
		_, code = r.initTransactional(5, "", txn.NoProducer)
		require.Equal(t, int16(wire.InvalidRequest), code)
		_, code = r.initTransactional(3, "a", txn.Producer{ID: p.ID, Epoch: 7})
		require.Equal(t, int16(wire.InvalidProducerEpoch), code)
		_, code = r.initTransactional(4, "a", txn.Producer{ID: p.ID, Epoch: 7})
		require.Equal(t, int16(wire.ProducerFenced), code)

		q := kmsg.NewPtrAddOffsetsToTxnRequest()
		q.TransactionalID, q.ProducerID, q.ProducerEpoch, q.Group = "a", p.ID, p.Epoch, "my-group"
		require.Zero(t, ask[*kmsg.AddOffsetsToTxnResponse](r, min(version, 4), q).ErrorCode)
		q.ProducerEpoch = 7
		fenced := int16(wire.ProducerFenced)
		if version < 2 {
			fenced = wire.InvalidProducerEpoch
		}
		require.Equal(t, fenced, ask[*kmsg.AddOffsetsToTxnResponse](r, min(version, 4), q).ErrorCode)
		require.Equal(t, "t-1=0", r.added(3, false, "a", p, of("t", 1)))

		d := kmsg.NewPtrDescribeTransactionsRequest()
		d.TransactionalIDs = []string{"a", "unknown", "", "a"}
		states := ask[*kmsg.DescribeTransactionsResponse](r, 0, d).TransactionStates
		require.Len(t, states, 3)
		require.Equal(t, "Ongoing", states[0].State)
		require.Equal(t, int32(60_000), states[0].TimeoutMillis)
		require.Equal(t, offsetsTopic, states[0].Topics[0].Topic)
		require.Equal(t, []int32{12}, states[0].Topics[0].Partitions, "as Kafka chooses it")
		require.Equal(t, []int32{1}, states[0].Topics[1].Partitions)
		require.Equal(t, int16(wire.TransactionalIDNotFound), states[1].ErrorCode)
		require.Zero(t, states[1].ProducerID, "as Kafka leaves it")
		require.Equal(t, int16(wire.InvalidRequest), states[2].ErrorCode)

		e := kmsg.NewPtrEndTxnRequest()
		e.TransactionalID, e.ProducerID, e.ProducerEpoch, e.Commit = "a", p.ID, 7, true
		require.Equal(t, fenced, ask[*kmsg.EndTxnResponse](r, version, e).ErrorCode)
		e.ProducerEpoch = p.Epoch
		out := ask[*kmsg.EndTxnResponse](r, version, e)
		require.Zero(t, out.ErrorCode)
		if version >= 5 {
			require.Equal(t, p, txn.Producer{ID: out.ProducerID, Epoch: out.ProducerEpoch - 1})
		}
		e.TransactionalID = ""
		require.Equal(t, int16(wire.InvalidRequest), ask[*kmsg.EndTxnResponse](r, version, e).ErrorCode)

		l := kmsg.NewPtrListTransactionsRequest()
		l.StateFilters, l.DurationFilterMillis = []string{"CompleteCommit", "Bogus"}, -1
		list := ask[*kmsg.ListTransactionsResponse](r, min(version, 2), l)
		require.Equal(t, []string{"Bogus"}, list.UnknownStateFilters)
		require.Equal(t, "a", list.TransactionStates[0].TransactionalID)
		require.Equal(t, "CompleteCommit", list.TransactionStates[0].TransactionState)
		l.TransactionalIDPattern = kmsg.StringPtr("(")
		require.Equal(t, int16(wire.InvalidRegularExpression), ask[*kmsg.ListTransactionsResponse](r, 2, l).ErrorCode)
	}
}

func TestAddOffsetsCreatesTheirTopic(t *testing.T) {
	r := withTransactions(t)
	r.topics = r.topics[:1]
	q := kmsg.NewPtrAddOffsetsToTxnRequest()
	q.TransactionalID, q.Group = "a", "g"
	require.Equal(t, int16(wire.CoordinatorNotAvailable), ask[*kmsg.AddOffsetsToTxnResponse](r, 4, q).ErrorCode)
	require.Equal(t, []string{"create " + offsetsTopic}, r.controller.asked)
}
