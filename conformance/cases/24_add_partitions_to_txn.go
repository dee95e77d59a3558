package cases

import (
	"slices"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func addPartitionsToTxn() []suite.Case {
	describe := append([]int16{65}, transactions...)
	return suite.OfAPI(24,
		suite.Case{Name: "partitions are added", Versions: upTo(3), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 2), firstProducer(c, c.Name("x"))
			for range 2 { // adding again changes nothing
				for _, part := range suite.Call(p, p.addRequest(t, 0, 1)).Topics[0].Partitions {
					c.OK(part.ErrorCode)
				}
			}
			state := describeTransaction(c, p.id)
			c.Equal("State", state.State, "Ongoing")
			slices.Sort(state.Topics[0].Partitions)
			c.Equal("Partitions", state.Topics[0].Partitions, []int32{0, 1})
		}},
		suite.Case{Name: "after a commit and an abort", Versions: upTo(3), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			for _, commit := range []bool{true, false, true} {
				p.write(t, 0, 1)
				p.end(commit)
				c.OK(addCode(p, p.addRequest(t, 0)))
			}
		}},
		suite.Case{Name: "unknown transactional id", Versions: upTo(3), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			p.id = c.TransactionalID("other")
			c.Code(addCode(p, p.addRequest(t, 0)), kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "empty transactional id", Versions: upTo(3), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			p.id = ""
			c.Code(addCode(p, p.addRequest(t, 0)), kerr.InvalidRequest)
		}},
		suite.Case{Name: "another producer id", Versions: upTo(3), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			p.producer++
			c.Code(addCode(p, p.addRequest(t, 0)), kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "another epoch", Versions: upTo(3), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			p.init()
			for _, epoch := range []int16{0, 2} {
				p.epoch = epoch
				c.Code(addCode(p, p.addRequest(t, 0)), fenced(c.V >= 2))
			}
		}},
		suite.Case{Name: "an unknown topic spoils the others", Versions: upTo(3), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			r := p.addRequest(t, 0)
			r.Topics = append(r.Topics, p.addRequest(topic{name: c.TransactionalID("none")}, 0).Topics...)
			codes := map[string]int16{}
			for _, in := range suite.Call(p, r).Topics {
				codes[in.Topic] = in.Partitions[0].ErrorCode
			}
			c.Equal("ErrorCode", codes, map[string]int16{t.name: kerr.OperationNotAttempted.Code, c.TransactionalID("none"): kerr.UnknownTopicOrPartition.Code})
			c.Equal("State", describeTransaction(c, p.id).State, "Empty")
		}},
		suite.Case{Name: "an unknown partition", Versions: upTo(3), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			c.Code(addCode(p, p.addRequest(t, 5)), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "many transactions", Versions: from(4), Needs: describe, Run: func(c *suite.C) {
			t, a, b := newTopic(c, "t", 1), firstProducer(c, c.TransactionalID("a")), firstProducer(c, c.TransactionalID("b"))
			b.epoch += 5
			r := a.addRequest(t, 0)
			r.Transactions = append(r.Transactions, b.addRequest(t, 0).Transactions...)
			answer := suite.Call(c, r)
			c.OK(answer.ErrorCode)
			c.Equal("ErrorCode", codesByID(answer), map[string]int16{a.id: 0, b.id: kerr.ProducerFenced.Code})
			c.Equal("State", describeTransaction(c, a.id).State, "Ongoing")
		}},
		suite.Case{Name: "verification never adds", Versions: from(4), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			r := p.addRequest(t, 0)
			r.Transactions[0].VerifyOnly = true
			c.Equal("ErrorCode", codesByID(suite.Call(c, r)), map[string]int16{p.id: kerr.TransactionAbortable.Code})
			c.Equal("State", describeTransaction(c, p.id).State, "Empty")
		}},
		suite.Case{Name: "verification of what was added", Versions: from(4), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			c.OK(p.add(t, 0))
			r := p.addRequest(t, 0)
			r.Transactions[0].VerifyOnly = true
			c.Equal("ErrorCode", codesByID(suite.Call(c, r)), map[string]int16{p.id: 0})
		}},
		suite.Case{Name: "unknown transactional ids", Versions: from(4), Needs: transactions, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), firstProducer(c, c.Name("x"))
			p.id = c.TransactionalID("none")
			c.Equal("ErrorCode", codesByID(suite.Call(c, p.addRequest(t, 0))), map[string]int16{p.id: kerr.InvalidProducerIDMapping.Code})
		}},
	)
}

func addCode(p *producer, r *kmsg.AddPartitionsToTxnRequest) int16 {
	return suite.Call(p, r).Topics[0].Partitions[0].ErrorCode
}

// codesByID are the codes of the first partition of each transaction.
func codesByID(r *kmsg.AddPartitionsToTxnResponse) map[string]int16 {
	codes := map[string]int16{}
	for _, one := range r.Transactions {
		codes[one.TransactionalID] = one.Topics[0].Partitions[0].ErrorCode
	}
	return codes
}

func addOffsetsToTxn() []suite.Case {
	describe := append([]int16{65}, transactions...)
	return suite.OfAPI(25,
		suite.Case{Name: "the group's partition is added", Needs: describe, Run: func(c *suite.C) {
			p := firstProducer(c, c.Name("x"))
			c.OK(suite.Call(p, p.addOffsetsRequest(c.Name("g"))).ErrorCode)
			state := describeTransaction(c, p.id)
			c.Equal("State", state.State, "Ongoing")
			c.Equal("Topic", state.Topics[0].Topic, "__consumer_offsets")
		}},
		suite.Case{Name: "unknown transactional id", Needs: transactions, Run: func(c *suite.C) {
			p := firstProducer(c, c.Name("x"))
			p.id = c.TransactionalID("none")
			c.Code(suite.Call(p, p.addOffsetsRequest(c.Name("g"))).ErrorCode, kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "another producer id", Needs: transactions, Run: func(c *suite.C) {
			p := firstProducer(c, c.Name("x"))
			p.producer++
			c.Code(suite.Call(p, p.addOffsetsRequest(c.Name("g"))).ErrorCode, kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "another epoch", Needs: transactions, Run: func(c *suite.C) {
			p := firstProducer(c, c.Name("x"))
			p.epoch++
			c.Code(suite.Call(p, p.addOffsetsRequest(c.Name("g"))).ErrorCode, fenced(c.V >= 2))
		}},
		suite.Case{Name: "empty transactional id", Needs: transactions, Run: func(c *suite.C) {
			p := firstProducer(c, c.Name("x"))
			p.id = ""
			c.Code(suite.Call(p, p.addOffsetsRequest(c.Name("g"))).ErrorCode, kerr.InvalidRequest)
		}},
	)
}
