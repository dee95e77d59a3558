package cases

import (
	"math"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func initProducerID() []suite.Case {
	return suite.OfAPI(22,
		suite.Case{Name: "without a transactional id", Run: func(c *suite.C) {
			seen := map[int64]bool{}
			for range 3 {
				r := suite.Call(c, idempotentRequest())
				c.OK(r.ErrorCode)
				c.Equal("ProducerEpoch", r.ProducerEpoch, 0)
				c.True("the producer id %d is new", r.ProducerID >= 0 && !seen[r.ProducerID], r.ProducerID)
				seen[r.ProducerID] = true
			}
		}},
		suite.Case{Name: "no timeout without a transactional id", Run: func(c *suite.C) {
			r := idempotentRequest()
			r.TransactionTimeoutMillis = 0
			c.OK(suite.Call(c, r).ErrorCode)
		}},
		suite.Case{Name: "a new transactional id", Needs: transactions, Run: func(c *suite.C) {
			r := suite.Call(c, initRequest(c.Name("x")))
			c.OK(r.ErrorCode)
			c.Equal("ProducerEpoch", r.ProducerEpoch, 0)
			c.True("there is a producer id", r.ProducerID >= 0)
		}},
		suite.Case{Name: "again", Needs: transactions, Run: func(c *suite.C) {
			first := suite.Call(c, initRequest(c.Name("x")))
			for epoch := int16(1); epoch < 4; epoch++ {
				r := suite.Call(c, initRequest(c.Name("x")))
				c.OK(r.ErrorCode)
				c.Equal("ProducerEpoch", r.ProducerEpoch, epoch)
				c.Equal("ProducerID", r.ProducerID, first.ProducerID)
			}
		}},
		suite.Case{Name: "empty transactional id", Needs: transactions, Run: func(c *suite.C) {
			r := suite.Call(c, initRequest(""))
			c.Code(r.ErrorCode, kerr.InvalidRequest)
			c.Equal("ProducerID", r.ProducerID, -1)
			c.Equal("ProducerEpoch", r.ProducerEpoch, -1)
		}},
		suite.Case{Name: "timeouts out of range", Needs: transactions, Run: func(c *suite.C) {
			for _, timeout := range []int32{0, -1, math.MaxInt32} {
				r := initRequest(c.Name("x"))
				r.TransactionTimeoutMillis = timeout
				c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidTransactionTimeout)
			}
		}},
		suite.Case{Name: "the longest timeout", Needs: transactions, Run: func(c *suite.C) {
			r := initRequest(c.Name("x"))
			r.TransactionTimeoutMillis = int32(c.ConfigInt("transaction.max.timeout.ms", math.MaxInt32))
			c.OK(suite.Call(c, r).ErrorCode)
			r.TransactionTimeoutMillis++
			c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidTransactionTimeout)
		}},
		suite.Case{Name: "the present epoch is raised", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			r := suite.Call(c, p.reinitRequest(0))
			c.OK(r.ErrorCode)
			c.Equal("ProducerEpoch", r.ProducerEpoch, p.epoch+1)
			c.Equal("ProducerID", r.ProducerID, p.producer)
		}},
		suite.Case{Name: "a repeated request is answered alike", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			first := suite.Call(c, p.reinitRequest(0))
			again := suite.Call(c, p.reinitRequest(0))
			c.OK(again.ErrorCode)
			c.Equal("ProducerEpoch", again.ProducerEpoch, first.ProducerEpoch)
		}},
		suite.Case{Name: "an older epoch is fenced", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			p.init()
			p.init()
			c.Code(suite.Call(c, p.reinitRequest(-2)).ErrorCode, fenced(c.V >= 4))
		}},
		suite.Case{Name: "a later epoch is fenced", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			c.Code(suite.Call(c, p.reinitRequest(1)).ErrorCode, fenced(c.V >= 4))
		}},
		suite.Case{Name: "another producer id is fenced", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			p.producer += 1000
			c.Code(suite.Call(c, p.reinitRequest(0)).ErrorCode, fenced(c.V >= 4))
		}},
		suite.Case{Name: "a producer id for a new transactional id", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			r := initRequest(c.Name("x"))
			r.ProducerID, r.ProducerEpoch = 12345, 3
			c.OK(suite.Call(c, r).ErrorCode)
		}},
		suite.Case{Name: "a producer id without an epoch", Versions: from(3), Needs: transactions, Run: func(c *suite.C) {
			r := initRequest(c.Name("x"))
			r.ProducerID, r.ProducerEpoch = 12345, -1
			c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidRequest)
			r.ProducerID, r.ProducerEpoch = -1, 3
			c.Code(suite.Call(c, r).ErrorCode, kerr.InvalidRequest)
		}},
		suite.Case{Name: "an open transaction is aborted", Needs: append([]int16{65}, transactions...), Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 3)
			c.Equal("LastStableOffset", readFrom(c, t, 0, 0, readStable).LastStableOffset, 0)
			r := suite.Call(c, initRequest(p.id))
			c.Code(r.ErrorCode, kerr.ConcurrentTransactions)
			r = initUntil(c, c, initRequest(p.id))
			c.OK(r.ErrorCode)
			c.True("the epoch %d is higher than %d", r.ProducerEpoch > p.epoch, r.ProducerEpoch, p.epoch)
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 0)
			c.Equal("LastStableOffset", readFrom(c, t, 0, 0, readStable).LastStableOffset, 4)
			c.Code(p.tryEnd(true).ErrorCode, kerr.ProducerFenced, "EndTxn of the old producer")
			c.Code(p.tryWrite(t, 0, 1).ErrorCode, kerr.InvalidProducerEpoch, "Produce of the old producer")
		}},
		suite.Case{Name: "epochs are used up", Versions: only(5), Slow: true, Needs: append([]int16{65}, transactions...), Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			last := useUpEpochs(c, p)
			r := suite.Call(c, initRequest(p.id))
			c.OK(r.ErrorCode)
			c.True("the producer id is new", r.ProducerID != p.producer)
			c.Equal("ProducerEpoch", r.ProducerEpoch, 0)
			p.epoch = last
			c.Code(p.tryEnd(true).ErrorCode, kerr.ProducerFenced, "EndTxn of the old producer id")
		}},
	)
}

func idempotentRequest() *kmsg.InitProducerIDRequest {
	r := kmsg.NewPtrInitProducerIDRequest()
	r.TransactionTimeoutMillis = transactionTimeout
	return r
}

// reinitRequest is that of KIP-360, with an epoch relative to the present one.
func (p *producer) reinitRequest(relative int16) *kmsg.InitProducerIDRequest {
	r := initRequest(p.id)
	r.ProducerID, r.ProducerEpoch = p.producer, p.epoch+relative
	return r
}

// fenced is the code for an old epoch: versions that know PRODUCER_FENCED have it.
func fenced(known bool) *kerr.Error {
	return choose(known, kerr.ProducerFenced, kerr.InvalidProducerEpoch)
}

// useUpEpochs raises the epoch, many requests in flight, to the last that is given out, and returns it.
func useUpEpochs(c *suite.C, p *producer) int16 {
	const last, inFlight = math.MaxInt16 - 1, 64
	pending := make(chan *suite.Pending[*kmsg.InitProducerIDResponse], inFlight)
	for epoch := int(p.epoch) + 1; epoch <= last; epoch++ {
		if len(pending) == inFlight {
			c.OK((<-pending).Wait().ErrorCode)
		}
		pending <- suite.Start(p, initRequest(p.id))
	}
	var r *kmsg.InitProducerIDResponse
	for len(pending) > 0 {
		r = (<-pending).Wait()
	}
	c.OK(r.ErrorCode)
	c.Equal("ProducerEpoch", r.ProducerEpoch, last)
	return last
}
