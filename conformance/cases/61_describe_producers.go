package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeProducers() []suite.Case {
	return suite.OfAPI(61,
		suite.Case{Name: "an open transaction", Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			write(c, t, 0, 2)
			p.write(t, 0, 3)
			one := activeProducers(c, t, 0)
			c.Equal("ActiveProducers", len(one.ActiveProducers), 1)
			got := one.ActiveProducers[0]
			c.Equal("ProducerID", got.ProducerID, p.producer)
			c.Equal("ProducerEpoch", got.ProducerEpoch, p.epoch)
			c.Equal("LastSequence", got.LastSequence, 2)
			c.Equal("LastTimestamp", got.LastTimestamp, now+2)
			c.Equal("CurrentTxnStartOffset", got.CurrentTxnStartOffset, 2)
			c.Equal("CoordinatorEpoch", got.CoordinatorEpoch, -1)
		}},
		suite.Case{Name: "after a commit", Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 3)
			p.end(true)
			got := activeProducers(c, t, 0).ActiveProducers[0]
			c.Equal("CurrentTxnStartOffset", got.CurrentTxnStartOffset, -1)
			c.True("there is a coordinator epoch", got.CoordinatorEpoch >= 0)
			c.Equal("ProducerEpoch", got.ProducerEpoch, p.epoch)
			c.Equal("LastSequence", got.LastSequence, -1)
		}},
		suite.Case{Name: "nobody", Run: func(c *suite.C) {
			one := activeProducers(c, newTopic(c, "t", 1), 0)
			c.OK(one.ErrorCode)
			c.Equal("ActiveProducers", len(one.ActiveProducers), 0)
		}},
		suite.Case{Name: "an idempotent producer", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			p := newIdempotent(c)
			c.OK(produced(c, produceRequest(t, 0, p.batch(0, 2))).ErrorCode)
			got := activeProducers(c, t, 0).ActiveProducers[0]
			c.Equal("ProducerID", got.ProducerID, p.id)
			c.Equal("CurrentTxnStartOffset", got.CurrentTxnStartOffset, -1)
			c.Equal("LastSequence", got.LastSequence, 1)
		}},
		suite.Case{Name: "unknown topic", Run: func(c *suite.C) {
			c.Code(activeProducers(c, topic{name: c.Name("none")}, 0).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown partition", Run: func(c *suite.C) {
			c.Code(activeProducers(c, newTopic(c, "t", 1), 7).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
	)
}

func activeProducers(c *suite.C, t topic, partition int32) kmsg.DescribeProducersResponseTopicPartition {
	r := kmsg.NewPtrDescribeProducersRequest()
	in := kmsg.NewDescribeProducersRequestTopic()
	in.Topic, in.Partitions = t.name, []int32{partition}
	r.Topics = append(r.Topics, in)
	return suite.Call(c, r).Topics[0].Partitions[0]
}

func describeTransactions() []suite.Case {
	return suite.OfAPI(65,
		suite.Case{Name: "a life", Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			state := describeTransaction(c, p.id)
			c.OK(state.ErrorCode)
			c.Equal("State", state.State, "Empty")
			c.Equal("StartTimestamp", state.StartTimestamp, -1)
			c.Equal("TimeoutMillis", state.TimeoutMillis, transactionTimeout)
			c.Equal("ProducerID", state.ProducerID, p.producer)
			p.write(t, 0, 1)
			state = describeTransaction(c, p.id)
			c.Equal("State", state.State, "Ongoing")
			c.Equal("ProducerEpoch", state.ProducerEpoch, p.epoch)
			c.Equal("Topic", state.Topics[0].Topic, t.name)
			c.True("there is a start", state.StartTimestamp > now)
			p.end(true)
			state = describeTransaction(c, p.id)
			c.Equal("State", state.State, "CompleteCommit")
			c.Equal("Topics", len(state.Topics), 0)
			p.write(t, 0, 1)
			p.end(false)
			c.Equal("State", describeTransaction(c, p.id).State, "CompleteAbort")
		}},
		suite.Case{Name: "unknown transactional id", Run: func(c *suite.C) {
			c.Code(describeTransaction(c, c.TransactionalID("none")).ErrorCode, kerr.TransactionalIDNotFound)
		}},
		suite.Case{Name: "empty transactional id", Run: func(c *suite.C) {
			c.Code(describeTransaction(c, "").ErrorCode, kerr.InvalidRequest)
		}},
	)
}

func listTransactions() []suite.Case {
	return suite.OfAPI(66,
		suite.Case{Name: "an open transaction", Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 1)
			got := listedTransaction(c, p.id, kmsg.NewPtrListTransactionsRequest())
			c.True("it is listed", got != nil)
			c.Equal("ProducerID", got.ProducerID, p.producer)
			c.Equal("TransactionState", got.TransactionState, "Ongoing")
		}},
		suite.Case{Name: "state filter", Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 1)
			for state, want := range map[string]bool{"Ongoing": true, "Empty": false, "CompleteCommit": false} {
				r := kmsg.NewPtrListTransactionsRequest()
				r.StateFilters = []string{state}
				c.Equal("listed as "+state, listedTransaction(c, p.id, r) != nil, want)
			}
		}},
		suite.Case{Name: "an unknown state", Run: func(c *suite.C) {
			r := kmsg.NewPtrListTransactionsRequest()
			r.StateFilters = []string{"Ongoing", "ongoing", "Nonsense"}
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			slices.Sort(answer.UnknownStateFilters)
			c.Equal("UnknownStateFilters", answer.UnknownStateFilters, []string{"Nonsense", "ongoing"})
		}},
		suite.Case{Name: "producer id filter", Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			for id, want := range map[int64]bool{p.producer: true, p.producer + 1_000_000: false} {
				r := kmsg.NewPtrListTransactionsRequest()
				r.ProducerIDFilters = []int64{id}
				c.Equal("listed", listedTransaction(c, p.id, r) != nil, want)
			}
		}},
		suite.Case{Name: "duration filter", Versions: from(1), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 1)
			r := kmsg.NewPtrListTransactionsRequest()
			r.DurationFilterMillis = 1 << 40
			c.True("it is not that old", listedTransaction(c, p.id, r) == nil)
			r.DurationFilterMillis = 1
			c.Poll("it is a millisecond old", func() bool { return listedTransaction(c, p.id, r) != nil })
		}},
		suite.Case{Name: "pattern filter", Versions: from(2), Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			for pattern, want := range map[string]bool{".*-x": true, p.id: true, "x": false, "nonsense.*": false, "": true} {
				r := kmsg.NewPtrListTransactionsRequest()
				r.TransactionalIDPattern = &pattern
				c.Equal("listed with "+pattern, listedTransaction(c, p.id, r) != nil, want)
			}
		}},
		suite.Case{Name: "an invalid pattern", Versions: from(2), Run: func(c *suite.C) {
			r := kmsg.NewPtrListTransactionsRequest()
			r.TransactionalIDPattern = pointer("(open")
			c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidRegularExpression)
		}},
	)
}

func listedTransaction(c *suite.C, id string, r *kmsg.ListTransactionsRequest) *kmsg.ListTransactionsResponseTransactionState {
	answer := suite.Call(c, r)
	c.OK(answer.ErrorCode)
	i := slices.IndexFunc(answer.TransactionStates, func(s kmsg.ListTransactionsResponseTransactionState) bool { return s.TransactionalID == id })
	if i < 0 {
		return nil
	}
	return &answer.TransactionStates[i]
}
