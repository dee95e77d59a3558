package cases

import (
	"math"
	"time"

	"weir/conformance/recordbatch"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
)

// idempotent is a producer with an id and no transactions.
type idempotent struct {
	id    int64
	epoch int16
}

func newIdempotent(c *suite.C) idempotent {
	r := suite.Call(c, idempotentRequest())
	c.OK(r.ErrorCode, "InitProducerID")
	return idempotent{r.ProducerID, r.ProducerEpoch}
}

func (p idempotent) batch(sequence int32, n int) []byte {
	b := recordbatch.New(now, n)
	b.ProducerID, b.ProducerEpoch, b.Sequence = p.id, p.epoch, sequence
	return b.Bytes()
}

// served are the versions of Produce that Kafka serves; it advertises those before too, for old clients' sake.
var served = from(3)

func produce() []suite.Case {
	return suite.OfAPI(0,
		suite.Case{Name: "records", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			for offset := int64(0); offset < 9; offset += 3 {
				p := produced(c, produceRequest(t, 0, records(3)))
				c.OK(p.ErrorCode)
				c.Equal("BaseOffset", p.BaseOffset, offset)
				c.Equal("LogAppendTime", p.LogAppendTime, -1)
				if c.V >= 5 {
					c.Equal("LogStartOffset", p.LogStartOffset, 0)
				}
				c.Equal("ErrorRecords", len(p.ErrorRecords), 0)
				c.Equal("CurrentLeader", p.CurrentLeader.LeaderID, -1)
			}
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, uncommitted)), 9)
		}},
		suite.Case{Name: "removed versions close the connection", Versions: upTo(2), Run: func(c *suite.C) {
			suite.Start(c, produceRequest(newTopic(c, "t", 1), 0, records(1))).Closed()
		}},
		suite.Case{Name: "without acknowledgement", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := produceRequest(t, 0, records(2))
			r.Acks = 0
			c.SendOnly(r)
			c.Equal("BaseOffset of the next", write(c, t, 0, 1), 2)
		}},
		suite.Case{Name: "unknown acks", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			for _, acks := range []int16{2, -2} {
				r := produceRequest(t, 0, records(1))
				r.Acks = acks
				p := produced(c, r)
				c.Code(p.ErrorCode, kerr.InvalidRequiredAcks)
				c.Equal("BaseOffset", p.BaseOffset, -1)
			}
		}},
		suite.Case{Name: "unknown topic", Versions: between(3, 12), Run: func(c *suite.C) {
			p := produced(c, produceRequest(topic{name: c.Name("none")}, 0, records(1)))
			c.Code(p.ErrorCode, kerr.UnknownTopicOrPartition)
			c.Equal("BaseOffset", p.BaseOffset, -1)
		}},
		suite.Case{Name: "unknown topic id", Versions: from(13), Run: func(c *suite.C) {
			c.Code(produced(c, produceRequest(topic{id: [16]byte{1, 2}}, 0, records(1))).ErrorCode, kerr.UnknownTopicID)
		}},
		suite.Case{Name: "unknown partition", Versions: served, Run: func(c *suite.C) {
			c.Code(produced(c, produceRequest(newTopic(c, "t", 1), 5, records(1))).ErrorCode, kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "a wrong checksum", Versions: served, Run: func(c *suite.C) {
			t, bad := newTopic(c, "t", 1), records(2)
			bad[len(bad)-1] ^= 1
			c.Code(produced(c, produceRequest(t, 0, bad)).ErrorCode, kerr.CorruptMessage)
			c.Equal("BaseOffset of the next", write(c, t, 0, 1), 0)
		}},
		suite.Case{Name: "a batch too large", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "max.message.bytes", "1000")
			b := recordbatch.New(now, 1)
			b.Value = make([]byte, 1000)
			c.Code(produced(c, produceRequest(t, 0, b.Bytes())).ErrorCode, kerr.MessageTooLarge)
		}},
		suite.Case{Name: "a control batch", Versions: served, Run: func(c *suite.C) {
			b := recordbatch.New(now, 1)
			b.Attributes = recordbatch.Control
			c.Code(produced(c, produceRequest(newTopic(c, "t", 1), 0, b.Bytes())).ErrorCode, kerr.InvalidRecord)
		}},
		suite.Case{Name: "no key in a compacted topic", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "cleanup.policy", "compact")
			b := recordbatch.New(now, 2)
			b.Key = nil
			p := produced(c, produceRequest(t, 0, b.Bytes()))
			c.Code(p.ErrorCode, kerr.InvalidRecord)
			if c.V >= 8 {
				c.Equal("ErrorRecords", len(p.ErrorRecords), 2)
				c.Equal("RelativeOffset", p.ErrorRecords[1].RelativeOffset, 1)
				c.True("there is a message", p.ErrorMessage != nil)
			}
		}},
		suite.Case{Name: "the topic's compression", Versions: served, Run: func(c *suite.C) {
			for codec, name := range []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"} {
				t := newTopic(c, name, 1, "compression.type", name)
				c.OK(produced(c, produceRequest(t, 0, records(3))).ErrorCode)
				got := recordbatch.Parse(readFrom(c, t, 0, 0, uncommitted).RecordBatches)
				c.Equal("batches", len(got), 1)
				c.Equal("codec", int(got[0].Attributes&7), codec)
				c.Equal("NumRecords", got[0].NumRecords, 3)
				c.Equal("FirstTimestamp", got[0].FirstTimestamp, now)
			}
		}},
		suite.Case{Name: "a timestamp in the future", Versions: served, Run: func(c *suite.C) {
			b := recordbatch.New(now+(48*time.Hour).Milliseconds(), 1)
			c.Code(produced(c, produceRequest(newTopic(c, "t", 1), 0, b.Bytes())).ErrorCode, kerr.InvalidTimestamp)
		}},
		suite.Case{Name: "the broker's time", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1, "message.timestamp.type", "LogAppendTime")
			p := produced(c, produceRequest(t, 0, records(1)))
			c.OK(p.ErrorCode)
			c.True("LogAppendTime is told", p.LogAppendTime > now)
		}},
		suite.Case{Name: "two batches of one partition", Versions: served, Run: func(c *suite.C) {
			p := produced(c, produceRequest(newTopic(c, "t", 1), 0, append(records(1), records(1)...)))
			c.Code(p.ErrorCode, kerr.InvalidRecord)
		}},
		suite.Case{Name: "one of two partitions is unknown", Versions: served, Run: func(c *suite.C) {
			t := newTopic(c, "t", 1)
			r := produceRequest(t, 0, records(1))
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, produceRequest(t, 5, records(1)).Topics[0].Partitions...)
			codes := map[int32]int16{}
			for _, p := range suite.Call(c, r).Topics[0].Partitions {
				codes[p.Partition] = p.ErrorCode
			}
			c.Equal("ErrorCode", codes, map[int32]int16{0: 0, 5: kerr.UnknownTopicOrPartition.Code})
		}},
	)
}

func produceIdempotent() []suite.Case {
	return suite.OfAPI(0,
		suite.Case{Name: "a duplicate of the last five batches", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			for round := range 2 {
				for i := range int32(5) {
					r := produced(c, produceRequest(t, 0, p.batch(2*i, 2)))
					c.OK(r.ErrorCode)
					c.Equal("BaseOffset", r.BaseOffset, 2*i)
					c.True("round %d", round < 2, round)
				}
			}
			c.Equal("end", listOffset(c, t, 0, -1).Offset, 10)
		}},
		suite.Case{Name: "a duplicate before the last five batches", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			for i := range int32(6) {
				c.OK(produced(c, produceRequest(t, 0, p.batch(i, 1))).ErrorCode)
			}
			c.Code(produced(c, produceRequest(t, 0, p.batch(0, 1))).ErrorCode, kerr.OutOfOrderSequenceNumber)
		}},
		suite.Case{Name: "a gap in the sequence", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			c.OK(produced(c, produceRequest(t, 0, p.batch(0, 2))).ErrorCode)
			c.Code(produced(c, produceRequest(t, 0, p.batch(3, 1))).ErrorCode, kerr.OutOfOrderSequenceNumber)
			c.OK(produced(c, produceRequest(t, 0, p.batch(2, 1))).ErrorCode)
		}},
		suite.Case{Name: "an old epoch", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			p.epoch = 2
			c.OK(produced(c, produceRequest(t, 0, p.batch(0, 1))).ErrorCode)
			p.epoch = 1
			c.Code(produced(c, produceRequest(t, 0, p.batch(1, 1))).ErrorCode, kerr.InvalidProducerEpoch)
		}},
		suite.Case{Name: "a new epoch starts at zero", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			c.OK(produced(c, produceRequest(t, 0, p.batch(0, 1))).ErrorCode)
			p.epoch++
			c.Code(produced(c, produceRequest(t, 0, p.batch(1, 1))).ErrorCode, kerr.OutOfOrderSequenceNumber)
			c.OK(produced(c, produceRequest(t, 0, p.batch(0, 1))).ErrorCode)
		}},
		suite.Case{Name: "the sequence wraps between batches", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			c.OK(produced(c, produceRequest(t, 0, p.batch(math.MaxInt32-1, 2))).ErrorCode)
			c.OK(produced(c, produceRequest(t, 0, p.batch(0, 1))).ErrorCode)
			c.Code(produced(c, produceRequest(t, 0, p.batch(2, 1))).ErrorCode, kerr.OutOfOrderSequenceNumber)
		}},
		suite.Case{Name: "the sequence wraps inside a batch", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			c.OK(produced(c, produceRequest(t, 0, p.batch(math.MaxInt32, 3))).ErrorCode)
			c.OK(produced(c, produceRequest(t, 0, p.batch(2, 1))).ErrorCode)
		}},
		suite.Case{Name: "an unknown producer may begin anywhere", Versions: served, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newIdempotent(c)
			c.OK(produced(c, produceRequest(t, 0, p.batch(42, 1))).ErrorCode)
		}},
	)
}

func produceTransactional() []suite.Case {
	needs := append([]int16{65}, transactions...)
	return suite.OfAPI(0,
		// Kafka verifies requests of several versions in one batch, and answers all as the first of them, so that this runs alone.
		suite.Case{Name: "a partition that was not added", Versions: between(3, 11), Serial: true, Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			c.Code(p.produceCode(t), choose(c.V >= 11, kerr.TransactionAbortable, kerr.InvalidTxnState))
		}},
		suite.Case{Name: "a partition that was added", Versions: between(3, 11), Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			c.OK(p.add(t, 0))
			c.OK(p.produceCode(t))
			p.end(true)
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 1)
		}},
		suite.Case{Name: "the partition is added by itself", Versions: from(12), Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			c.OK(p.produceCode(t))
			state := describeTransaction(c, p.id)
			c.Equal("State", state.State, "Ongoing")
			c.Equal("Topic", state.Topics[0].Topic, t.name)
		}},
		suite.Case{Name: "a fenced epoch", Versions: served, Needs: needs, Run: func(c *suite.C) {
			t, old := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			old.write(t, 0, 1)
			old.end(true)
			p := newProducer(c, old.id)
			p.write(t, 0, 1)
			old.next[t.name] = map[int32]int32{}
			c.Code(old.produceCode(t), kerr.InvalidProducerEpoch)
		}},
		suite.Case{Name: "a plain batch of a producer in a transaction", Versions: served, Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 1)
			plain := idempotent{p.producer, p.epoch}
			c.Code(produced(c, produceRequest(t, 0, plain.batch(1, 1))).ErrorCode, kerr.InvalidTxnState)
		}},
		suite.Case{Name: "a transactional batch without its id", Versions: served, Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			r := produceRequest(t, 0, p.batch(t, 0, 1))
			c.True("it is refused", produced(c, r).ErrorCode != 0)
		}},
		suite.Case{Name: "an unknown transactional id", Versions: from(12), Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.id = c.Name("none")
			c.Code(p.produceCode(t), kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "the first sequence of a transaction on a new partition", Versions: from(12), Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.next[t.name] = map[int32]int32{0: 7}
			c.Code(p.produceCode(t), kerr.OutOfOrderSequenceNumber)
		}},
	)
}

// produceCode sends the next batch in the case's version.
func (p *producer) produceCode(t topic) (code int16) {
	r := produceRequest(t, 0, p.batch(t, 0, 1))
	r.TransactionID = &p.id
	return produced(p, r).ErrorCode
}
