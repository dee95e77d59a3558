package cases

import (
	"weir/conformance/recordbatch"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func fetch() []suite.Case {
	return suite.OfAPI(1,
		suite.Case{Name: "records", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			r := suite.Call(c, readRequest(t, 0, 0))
			c.OK(r.ErrorCode)
			c.Equal("SessionID", r.SessionID, 0)
			p := r.Topics[0].Partitions[0]
			c.OK(p.ErrorCode)
			c.Equal("HighWatermark", p.HighWatermark, 3)
			c.Equal("LastStableOffset", p.LastStableOffset, 3)
			c.Equal("AbortedTransactions", len(p.AbortedTransactions), 0)
			c.Equal("PreferredReadReplica", p.PreferredReadReplica, -1)
			if c.V >= 5 {
				c.Equal("LogStartOffset", p.LogStartOffset, 0)
			}
			batches := recordbatch.Parse(p.RecordBatches)
			c.Equal("batches", len(batches), 1)
			c.Equal("records", batches[0].NumRecords, 3)
			c.Equal("FirstOffset", batches[0].FirstOffset, 0)
		}},
		suite.Case{Name: "from inside a batch", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			write(c, t, 0, 3)
			batches := recordbatch.Parse(readFrom(c, t, 0, 4, uncommitted).RecordBatches)
			c.Equal("FirstOffset", batches[0].FirstOffset, 3)
		}},
		suite.Case{Name: "at the end", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			p := readFrom(c, t, 0, 3, uncommitted)
			c.OK(p.ErrorCode)
			c.Equal("RecordBatches", len(p.RecordBatches), 0)
			c.Equal("HighWatermark", p.HighWatermark, 3)
		}},
		suite.Case{Name: "out of range", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 3)
			for _, offset := range []int64{4, -1, 1 << 40} {
				p := readFrom(c, t, 0, offset, uncommitted)
				c.Code(p.ErrorCode, kerr.OffsetOutOfRange)
				c.Equal("HighWatermark", p.HighWatermark, -1)
			}
		}},
		suite.Case{Name: "unknown topic", Versions: upTo(12), Run: func(c *suite.C) {
			c.Code(readFrom(c, topic{name: c.Name("none")}, 0, 0, uncommitted).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown topic id", Versions: from(13), Run: func(c *suite.C) {
			c.Code(readFrom(c, topic{id: [16]byte{1, 2}}, 0, 0, uncommitted).ErrorCode, kerr.UnknownTopicID)
		}},
		suite.Case{Name: "unknown partition", Run: func(c *suite.C) {
			c.Code(readFrom(c, newTopic(c, "t", 1), 7, 0, uncommitted).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "one batch in spite of the limits", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 1)
			write(c, t, 0, 1)
			r := readRequest(t, 0, 0)
			r.MaxBytes, r.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
			batches := recordbatch.Parse(read(c, r).RecordBatches)
			c.Equal("batches", len(batches), 1)
		}},
		suite.Case{Name: "a wait ends with new records", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := readRequest(t, 0, 0)
			r.MinBytes, r.MaxWaitMillis = 1, 25_000
			parked := suite.Start(c.Dial(), r)
			write(c, t, 0, 1)
			c.Equal("visible records", visible(parked.Wait().Topics[0].Partitions[0]), 1)
		}},
		suite.Case{Name: "an old leader epoch", Versions: from(9), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			epoch := leaderEpoch(c, t)
			if epoch == 0 {
				r := readRequest(t, 0, 0)
				r.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
				c.OK(read(c, r).ErrorCode)
				return
			}
			r := readRequest(t, 0, 0)
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch - 1
			c.Code(read(c, r).ErrorCode, kerr.FencedLeaderEpoch)
		}},
		suite.Case{Name: "a leader epoch to come", Versions: from(9), Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := readRequest(t, 0, 0)
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = leaderEpoch(c, t) + 1
			c.Code(read(c, r).ErrorCode, kerr.UnknownLeaderEpoch)
		}},
		suite.Case{Name: "deleted records", Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			write(c, t, 0, 6)
			c.OK(deleteRecordsBefore(c, t, 0, 4).ErrorCode, "DeleteRecords")
			c.Code(readFrom(c, t, 0, 3, uncommitted).ErrorCode, kerr.OffsetOutOfRange)
			p := readFrom(c, t, 0, 4, uncommitted)
			c.OK(p.ErrorCode)
			if c.V >= 5 {
				c.Equal("LogStartOffset", p.LogStartOffset, 4)
			}
		}},
		suite.Case{Name: "a topic made again under its name", Run: func(c *suite.C) {
			old := newTopic(c, "t", 1)
			write(c, old, 0, 3)
			deleteTopic(c, old)
			again := newTopic(c, "t", 1)
			c.True("the id is new", old.id != again.id)
			c.Equal("HighWatermark", readFrom(c, again, 0, 0, uncommitted).HighWatermark, 0)
			if c.V >= 13 {
				c.Code(readFrom(c, old, 0, 0, uncommitted).ErrorCode, kerr.UnknownTopicID)
			}
		}},
	)
}

func fetchTransactions() []suite.Case {
	needs := append([]int16{65}, transactions...)
	return suite.OfAPI(1,
		suite.Case{Name: "an open transaction bounds the last stable offset", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			write(c, t, 0, 2)
			p.write(t, 0, 3)
			write(c, t, 0, 2)
			got := readFrom(c, t, 0, 0, readStable)
			c.Equal("LastStableOffset", got.LastStableOffset, 2)
			c.Equal("HighWatermark", got.HighWatermark, 7)
			c.Equal("visible records", visible(got), 2)
			c.Equal("visible records, uncommitted", visible(readFrom(c, t, 0, 0, uncommitted)), 7)
			p.end(true)
			got = readFrom(c, t, 0, 0, readStable)
			c.Equal("LastStableOffset", got.LastStableOffset, 8)
			c.Equal("visible records", visible(got), 7)
		}},
		suite.Case{Name: "aborted transactions are listed", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 2)
			p.end(false)
			p.write(t, 0, 2)
			p.end(true)
			got := readFrom(c, t, 0, 0, readStable)
			c.Equal("AbortedTransactions", got.AbortedTransactions, []kmsg.FetchResponseTopicPartitionAbortedTransaction{aborted(p.producer, 0)})
			c.Equal("visible records", visible(got), 2)
			c.Equal("AbortedTransactions, uncommitted", len(readFrom(c, t, 0, 0, uncommitted).AbortedTransactions), 0)
			c.Equal("AbortedTransactions behind it", len(readFrom(c, t, 0, 3, readStable).AbortedTransactions), 0)
		}},
		suite.Case{Name: "overlapping transactions are all listed", Needs: needs, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			a, b, d := newProducer(c, c.TransactionalID("a")), newProducer(c, c.TransactionalID("b")), newProducer(c, c.TransactionalID("d"))
			a.write(t, 0, 1) // 0
			b.write(t, 0, 1) // 1
			d.write(t, 0, 1) // 2
			ids := []int64{a.producer, b.producer, d.producer}
			d.end(false) // 3
			b.end(false) // 4
			c.Equal("LastStableOffset", readFrom(c, t, 0, 0, readStable).LastStableOffset, 0)
			a.end(false) // 5
			got := readFrom(c, t, 0, 0, readStable)
			c.Equal("LastStableOffset", got.LastStableOffset, 6)
			c.Equal("visible records", visible(got), 0)
			found := map[int64]int64{}
			for _, one := range got.AbortedTransactions {
				found[one.ProducerID] = one.FirstOffset
			}
			c.Equal("AbortedTransactions", found, map[int64]int64{ids[0]: 0, ids[1]: 1, ids[2]: 2})
		}},
		suite.Case{Name: "a parked read wakes at the marker", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 2)
			r := readRequest(t, 0, 0)
			r.MinBytes, r.MaxWaitMillis, r.IsolationLevel = 1, 25_000, readStable
			parked := suite.Start(c.Dial(), r)
			p.end(false)
			got := parked.Wait().Topics[0].Partitions[0]
			c.Equal("AbortedTransactions", len(got.AbortedTransactions), 1)
			c.Equal("visible records", visible(got), 0)
		}},
		suite.Case{Name: "the offsets of markers", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			for i := range int64(3) {
				c.Equal("BaseOffset", p.write(t, 0, 1), 2*i)
				p.end(i%2 == 0)
			}
			c.Equal("end", listOffset(c, t, 0, -1).Offset, 6)
		}},
		suite.Case{Name: "a transaction that times out is aborted", Needs: needs, Run: func(c *suite.C) {
			if c.ConfigInt("transaction.abort.timed.out.transaction.cleanup.interval.ms", 1000) < 0 {
				c.Skip("no transaction times out here")
			}
			t, p := newTopic(c, "t", 1), &producer{Conn: c.Dial(), c: c, id: c.Name("x"), next: map[string]map[int32]int32{}}
			r := initRequest(p.id)
			r.TransactionTimeoutMillis = 500
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			p.producer, p.epoch = answer.ProducerID, answer.ProducerEpoch
			p.write(t, 0, 2)
			c.Poll("the transaction is aborted", func() bool { return readFrom(c, t, 0, 0, readStable).LastStableOffset == 3 })
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 0)
			p.ended()
			c.Code(p.tryEnd(true).ErrorCode, kerr.InvalidTxnState, "EndTxn")
			c.Code(p.tryWrite(t, 0, 1).ErrorCode, kerr.InvalidProducerEpoch, "Produce")
			p.init()
			p.write(t, 0, 1)
			p.end(true)
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 1)
		}},
	)
}

func aborted(producer, first int64) kmsg.FetchResponseTopicPartitionAbortedTransaction {
	a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
	a.ProducerID, a.FirstOffset = producer, first
	return a
}

// leaderEpoch is that of a topic's partition 0.
func leaderEpoch(c *suite.C, t topic) int32 {
	return describeTopic(c, t.name).Partitions[0].LeaderEpoch
}

// describeTopic is what Metadata says of a topic.
func describeTopic(c *suite.C, name string) kmsg.MetadataResponseTopic {
	return suite.CallV(c, c.Broker.Highest(3), metadataRequest(name)).Topics[0]
}

func metadataRequest(names ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		in := kmsg.NewMetadataRequestTopic()
		in.Topic = &name
		r.Topics = append(r.Topics, in)
	}
	return r
}

func deleteRecordsBefore(c *suite.C, t topic, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	r := kmsg.NewPtrDeleteRecordsRequest()
	r.TimeoutMillis = 10_000
	in, p := kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	in.Topic, in.Partitions = t.name, append(in.Partitions, p)
	r.Topics = append(r.Topics, in)
	return suite.Call(c, r).Topics[0].Partitions[0]
}
