package cases

import (
	"math"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// endTxn has cases of both generations: versions up to 4 are of the first, 5 is of the second.
func endTxn() []suite.Case {
	describe := append([]int16{65}, transactions...)
	return suite.OfAPI(26,
		suite.Case{Name: "commit", Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 2), generation(c, c.Name("x"))
			p.write(t, 0, 3)
			p.write(t, 1, 2)
			r := suite.Call(p, p.endRequest(true))
			checkEnd(c, p, r)
			p.ended()
			c.Equal("State", describeTransaction(c, p.id).State, "CompleteCommit")
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable))+visible(readFrom(c, t, 1, 0, readStable)), 5)
			c.Equal("HighWatermark", readFrom(c, t, 0, 0, readStable).HighWatermark, 4)
		}},
		suite.Case{Name: "abort", Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 3)
			checkEnd(c, p, suite.Call(p, p.endRequest(false)))
			p.ended()
			c.Equal("State", describeTransaction(c, p.id).State, "CompleteAbort")
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 0)
			c.Equal("uncommitted records", visible(readFrom(c, t, 0, 0, uncommitted)), 3)
		}},
		suite.Case{Name: "a repeated request", Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			for _, commit := range []bool{true, false} {
				p.write(t, 0, 1)
				request := p.endRequest(commit)
				first := suite.Call(p, request)
				c.OK(first.ErrorCode)
				p.ended()
				again := suite.Call(p, request)
				c.OK(again.ErrorCode, "the second EndTxn")
				c.Equal("ProducerEpoch", again.ProducerEpoch, first.ProducerEpoch)
				c.Equal("ProducerID", again.ProducerID, first.ProducerID)
				p.took(first)
			}
		}},
		suite.Case{Name: "a repeated request the other way", Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 1)
			r := suite.Call(p, p.endRequest(true))
			c.OK(r.ErrorCode)
			p.ended()
			c.Code(suite.Call(p, p.endRequest(false)).ErrorCode, kerr.InvalidTxnState)
			p.took(r)
			p.write(t, 0, 1)
			c.OK(suite.Call(p, p.endRequest(false)).ErrorCode)
			p.ended()
			c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, kerr.InvalidTxnState)
		}},
		suite.Case{Name: "nothing to commit", Needs: transactions, Run: func(c *suite.C) {
			p := generation(c, c.Name("x"))
			c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, kerr.InvalidTxnState)
		}},
		suite.Case{Name: "nothing to abort", Versions: upTo(4), Needs: transactions, Run: func(c *suite.C) {
			p := generation(c, c.Name("x"))
			c.Code(suite.Call(p, p.endRequest(false)).ErrorCode, kerr.InvalidTxnState)
		}},
		suite.Case{Name: "an empty abort raises the epoch", Versions: from(5), Needs: describe, Run: func(c *suite.C) {
			p := generation(c, c.Name("x"))
			for range 3 {
				r := suite.Call(p, p.endRequest(false))
				checkEnd(c, p, r)
				p.took(r)
				p.ended()
			}
		}},
		suite.Case{Name: "an empty abort after a commit", Versions: from(5), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 1)
			p.took(suite.Call(p, p.endRequest(true)))
			var r *kmsg.EndTxnResponse
			c.Poll("the commit is complete", func() bool {
				r = suite.Call(p, p.endRequest(false))
				return r.ErrorCode != kerr.ConcurrentTransactions.Code
			})
			checkEnd(c, p, r)
			p.took(r)
			p.write(t, 0, 1)
		}},
		suite.Case{Name: "a commit after a commit", Versions: from(5), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 1)
			p.end(true)
			c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, kerr.InvalidTxnState)
		}},
		suite.Case{Name: "unknown transactional id", Needs: transactions, Run: func(c *suite.C) {
			p := generation(c, c.Name("x"))
			p.id = c.TransactionalID("none")
			c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "empty transactional id", Needs: transactions, Run: func(c *suite.C) {
			p := generation(c, c.Name("x"))
			p.id = ""
			c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "another producer id", Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 1)
			p.producer += 1000
			c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, kerr.InvalidProducerIDMapping)
		}},
		suite.Case{Name: "another epoch", Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.init()
			p.write(t, 0, 1)
			for _, epoch := range []int16{0, 2} {
				p.epoch = epoch
				c.Code(suite.Call(p, p.endRequest(true)).ErrorCode, fenced(c.V >= 2))
			}
			c.Equal("State", describeTransaction(c, p.id).State, "Ongoing")
		}},
		suite.Case{Name: "a delayed request does not end the next transaction", Versions: from(5), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 1)
			delayed := p.endRequest(true)
			p.end(true)
			p.write(t, 0, 1)
			c.Code(suite.Call(c, delayed).ErrorCode, kerr.ProducerFenced)
			c.Equal("State", describeTransaction(c, p.id).State, "Ongoing")
			p.end(false)
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 1)
		}},
		suite.Case{Name: "a delayed request of the first generation ends the next transaction", Versions: upTo(4), Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(t, 0, 1)
			delayed := p.endRequest(true)
			p.end(true)
			p.write(t, 0, 1)
			c.OK(suite.Call(c, delayed).ErrorCode) // KAFKA-17754
			p.ended()
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 2)
		}},
		suite.Case{Name: "a fenced producer", Needs: describe, Run: func(c *suite.C) {
			t, old := newTopic(c, "t", 1), generation(c, c.Name("x"))
			old.write(t, 0, 1)
			p := generation(c, old.id)
			c.Code(suite.Call(old, old.endRequest(true)).ErrorCode, fenced(c.V >= 2))
			p.write(t, 0, 1)
			p.end(true)
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 1)
		}},
		suite.Case{Name: "a topic of the transaction was deleted", Needs: describe, Run: func(c *suite.C) {
			gone, t, p := newTopic(c, "gone", 1), newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.write(gone, 0, 1)
			p.write(t, 0, 2)
			deleteTopic(c, gone)
			c.OK(suite.Call(p, p.endRequest(true)).ErrorCode)
			p.ended()
			c.Equal("State", describeTransaction(c, p.id).State, "CompleteCommit")
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 2)
		}},
		suite.Case{Name: "offsets only", Needs: append([]int16{9}, describe...), Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.stage(c.Name("g"), t, 5)
			c.OK(suite.Call(p, p.endRequest(true)).ErrorCode)
			p.ended()
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, 5)
		}},
		suite.Case{Name: "epochs are used up", Versions: from(5), Slow: true, Needs: describe, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), generation(c, c.Name("x"))
			p.epoch = useUpEpochs(c, p)
			p.write(t, 0, 1)
			request := p.endRequest(true)
			r := suite.Call(p, request)
			c.OK(r.ErrorCode)
			c.True("the producer id is new", r.ProducerID != p.producer)
			c.Equal("ProducerEpoch", r.ProducerEpoch, 0)
			p.ended()
			again := suite.Call(p, request)
			c.OK(again.ErrorCode, "the second EndTxn")
			c.Equal("ProducerID", again.ProducerID, r.ProducerID)
			p.took(r)
			p.write(t, 0, 1)
			p.end(true)
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 2)
			c.True("epochs stay small", p.epoch < math.MaxInt16)
		}},
	)
}

// generation is a producer of the case's generation.
func generation(c *suite.C, id string) *producer {
	p := newProducer(c, id)
	p.first = c.V < 5
	return p
}

// checkEnd checks a successful answer: the second generation gives the epoch to continue with.
func checkEnd(c *suite.C, p *producer, r *kmsg.EndTxnResponse) {
	c.OK(r.ErrorCode)
	if c.V < 5 {
		return
	}
	c.Equal("ProducerID", r.ProducerID, p.producer)
	c.Equal("ProducerEpoch", r.ProducerEpoch, p.epoch+1)
}
