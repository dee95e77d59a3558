package cases

import (
	"errors"
	"slices"
	"time"

	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clientTransactions are sequences of franz-go's producers and of consume, transform, produce.
func clientTransactions() []suite.Case {
	eos := slices.Concat(groupClients, transactions)
	return slices.Concat(
		suite.OfArea("Clients",
			suite.Case{Name: "idempotent producer in every codec", Needs: []int16{22}, Run: func(c *suite.C) {
				t := newTopic(c, "t", 1)
				for i, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
					client := c.KGO(kgo.DefaultProduceTopic(t.name), kgo.ProducerBatchCompression(codec))
					for range 20 {
						client.Produce(c.Context(), &kgo.Record{Value: make([]byte, 500)}, nil)
					}
					c.NoError(client.Flush(c.Context()))
					c.Equal("end", listOffset(c, t, 0, latest).Offset, 20*(i+1))
				}
			}},
			suite.Case{Name: "transactions are read whole or not at all", Needs: eos, Run: func(c *suite.C) {
				t := newTopic(c, "t", 3)
				p := transactor(c, "x")
				for round := range 6 {
					transact(c, p, t, 10, round%2 == 0)
				}
				got := newTally()
				consume(c, c.KGO(kgo.ConsumeTopics(t.name), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), got, 30)
				c.Equal("records", got.records(), 30)
				got = newTally()
				consume(c, c.KGO(kgo.ConsumeTopics(t.name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), got, 60)
				c.Equal("uncommitted records", got.records(), 60)
			}},
			suite.Case{Name: "a zombie is fenced", Needs: eos, Run: func(c *suite.C) {
				t, zombie := newTopic(c, "t", 1), transactor(c, "x")
				transact(c, zombie, t, 1, true)
				c.NoError(zombie.BeginTransaction())
				c.NoError(zombie.ProduceSync(c.Context(), &kgo.Record{Topic: t.name, Value: []byte("zombie")}).FirstErr())
				p := transactor(c, "x")
				transact(c, p, t, 1, true)
				err := errors.Join(zombie.ProduceSync(c.Context(), &kgo.Record{Topic: t.name, Value: []byte("late")}).FirstErr(), zombie.EndTransaction(c.Context(), kgo.TryCommit))
				c.True("the zombie is fenced, not %v", errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced), err)
				c.Poll("two records are visible", func() bool { return visible(readFrom(c, t, 0, 0, readStable)) == 2 })
			}},
			suite.Case{Name: "KIP-447 consume and produce exactly once", Needs: eos, Run: func(c *suite.C) {
				pipeline(c, kgo.Balancers(kgo.CooperativeStickyBalancer()))
			}},
			suite.Case{Name: "KIP-848 consume and produce exactly once", Needs: slices.Concat(modernClients, transactions), Run: func(c *suite.C) {
				pipeline(c, modernGroups...)
			}},
		))
}

func transactor(c *suite.C, id string) *kgo.Client {
	return c.KGO(kgo.TransactionalID(c.Name(id)), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
}

// transact writes one transaction of n records.
func transact(c *suite.C, p *kgo.Client, t topic, n int, commit bool) {
	c.NoError(p.BeginTransaction())
	for i := range n {
		r := &kgo.Record{Topic: t.name, Value: []byte{byte(i)}}
		r.Value = append(r.Value, time.Now().String()...)
		p.Produce(c.Context(), r, nil)
	}
	c.NoError(p.Flush(c.Context()))
	c.NoError(p.EndTransaction(c.Context(), kgo.TransactionEndTry(commit)))
}

// pipeline copies a topic by two workers in transactions, every third of which is aborted, and wants each value once.
func pipeline(c *suite.C, opts ...kgo.Opt) {
	in, out := newTopic(c, "in", 4), newTopic(c, "out", 2)
	fill(c, in, clientRecords)
	copied := newTally()
	done := make(chan struct{})
	c.Together(3, func(c *suite.C, i int) {
		if i == 2 {
			defer close(done)
			consume(c, c.KGO(kgo.ConsumeTopics(out.name), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), copied, clientRecords)
			return
		}
		copyInTransactions(c, in, out, c.Name("x")+string(rune('a'+i)), done, opts)
	})
	c.Equal("records", copied.records(), clientRecords)
}

func copyInTransactions(c *suite.C, in, out topic, id string, done chan struct{}, opts []kgo.Opt) {
	all := append(append(c.Broker.KGO(), kgo.TransactionalID(id), kgo.ConsumerGroup(c.Name("g")), kgo.ConsumeTopics(in.name), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(100*time.Millisecond)), opts...)
	session, err := kgo.NewGroupTransactSession(all...)
	c.NoError(err)
	defer session.Close()
	for round := 0; ; round++ {
		select {
		case <-done:
			return
		default:
		}
		records := session.PollRecords(contextFor(c.Context(), 300*time.Millisecond), 40).Records()
		if len(records) == 0 {
			continue
		}
		c.NoError(session.Begin())
		for _, r := range records {
			session.Produce(c.Context(), &kgo.Record{Topic: out.name, Value: r.Value}, nil)
		}
		_, err := session.End(c.Context(), kgo.TransactionEndTry(round%3 != 1))
		c.NoError(err)
	}
}
