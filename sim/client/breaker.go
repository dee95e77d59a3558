package client

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/core/compress"
	"weir/core/record"
	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/event"
)

// BreakerOptions configure a breaker.
type BreakerOptions struct {
	// Topics are those of other clients: the breaker sends them requests that must be refused.
	Topics []*Topic
	// Own is a topic of its own, created with [BreakerConfigs].
	Own *Topic
	// Pause is the mean time between two requests.
	Pause time.Duration
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// BreakerConfigs are the configurations of a breaker's own topic: they refuse records that other topics take.
var BreakerConfigs = []Config{
	{Key: "cleanup.policy", Value: "compact"},
	{Key: "min.compaction.lag.ms", Value: "9223372036854775807"}, // what it took stays
	{Key: "message.timestamp.after.max.ms", Value: "1000"},
	{Key: "max.decompressed.message.bytes", Value: "1000"},
}

// Breaker sends requests that the broker must refuse, and checks the code of each answer; and on connections of their
// own, frames that are no requests or do not end. None of it may be acknowledged, or hold anybody else up. Batches that
// are refused are in no history, so that the checker finds any that is read.
type Breaker struct {
	session
	options     BreakerOptions
	ending      bool
	standIn     bool
	next        int // the next refusal of the last round; every one is asked for once after the faults
	frames      []*frameBreaker
	stored      int        // valid batches that its own topic has taken
	silentSince event.Time // a broker that alone can answer; 0: it is not
}

// NewBreaker makes a breaker; Start starts it.
func NewBreaker(c *Cluster, client int, options BreakerOptions) *Breaker {
	b := &Breaker{options: options}
	b.init(c, client, b)
	b.lag = options.Lag
	return b
}

// Start connects and begins.
func (b *Breaker) Start() { b.connect() }

// End begins the last round: each refusal once, when nothing excuses another code.
func (b *Breaker) End() {
	b.ending, b.next = true, 0
	for _, f := range b.frames {
		f.end()
	}
	b.frames = nil
}

// Idle reports whether the last round is over.
func (b *Breaker) Idle() bool { return b.ending && (b.standIn || b.next > len(refusals)) }

// Stop ends the client.
func (b *Breaker) Stop() { b.stop() }

func (b *Breaker) sessionUp() {
	if !b.whole() {
		b.standIn = true // it refuses little
		return
	}
	b.learn(append(slices.Clone(b.options.Topics), b.options.Own), func(known bool) {
		if !known {
			b.after(100*time.Millisecond, b.sessionUp)
			return
		}
		b.step()
	})
}

func (b *Breaker) step() {
	switch {
	case b.ending && b.next < len(refusals):
		b.refuse(&refusals[b.next], func() { b.next++ })
	case b.ending && b.next == len(refusals):
		b.readOwn(0, 0)
	case b.ending:
	case b.draws.PerMille(150):
		b.breakFrame()
		b.pause()
	case b.draws.PerMille(100):
		b.store()
	default:
		b.refuse(&refusals[b.draws.Below(int64(len(refusals)))], func() {})
	}
}

func (b *Breaker) pause() {
	if b.ending {
		b.step()
		return
	}
	b.after(b.draws.Duration(0, 2*b.options.Pause), b.step)
}

// part is a partition that others use.
func (b *Breaker) part() *Partition {
	t := b.options.Topics[b.draws.Below(int64(len(b.options.Topics)))]
	return t.Partitions[b.draws.Below(int64(len(t.Partitions)))]
}

// refuse asks for one refusal and checks the answer.
func (b *Breaker) refuse(c *refusal, done func()) {
	r := c.make(b)
	if r == nil || !b.choose(r) || r.GetVersion() < c.since {
		done()
		b.after(time.Millisecond, b.pause)
		return
	}
	b.dispatch(requestTimeout, r, func(response kmsg.Response, err error) {
		if err != nil {
			b.unheard(r, done)
			return
		}
		if alter, ok := r.(*kmsg.IncrementalAlterConfigsRequest); ok && brokerNamed(alter) != anyBroker {
			b.silentSince = 0
		}
		again, codes := false, codesOf(response)
		if len(codes) == 0 {
			b.fail("refusal", "%s: client %d was answered nothing in version %d", c.name, b.client, r.GetVersion())
		}
		for _, code := range codes {
			switch {
			case slices.Contains(c.want, code):
			case b.passing(code):
				again = true
			default:
				b.fail("refusal", "%s: client %d was answered %s in version %d, and not %s", c.name, b.client, checker.CodeName(code), r.GetVersion(), codeNames(c.want))
			}
		}
		switch {
		case again && b.ending && b.leaves(codes...):
			return
		case again && b.ending:
			b.after(50*time.Millisecond, b.step)
			return
		}
		done()
		b.pause()
	})
}

// silenceMax is for how long a broker that alone can answer may be silent before it counts as lost for good.
const silenceMax = 40 * time.Second

// unheard gives a question up that only a broker could answer which is lost for good. All others are asked again.
func (b *Breaker) unheard(r kmsg.Request, done func()) {
	alter, ok := r.(*kmsg.IncrementalAlterConfigsRequest)
	if !ok || b.routes == nil || brokerNamed(alter) == anyBroker || !b.ending {
		return
	}
	if b.silentSince == 0 {
		b.silentSince = b.Queue.Now()
	}
	if b.Queue.Now().Sub(b.silentSince) > silenceMax {
		done()
	}
}

// passing reports whether a code says that nothing was decided, for a while.
func (b *Breaker) passing(code int16) bool {
	switch code {
	case wire.NotLeaderOrFollower, wire.LeaderNotAvailable, wire.RequestTimedOut, wire.KafkaStorageError, wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress, wire.NotController:
		return true
	case wire.NetworkException, wire.NotCoordinator:
		return b.routes != nil
	case wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.InvalidReplicaAssignment: // an image that lags behind, a broker that is away
		return b.routes != nil
	}
	return false
}

func codeNames(codes []int16) (names []string) {
	for _, code := range codes {
		names = append(names, checker.CodeName(code))
	}
	return names
}

// store writes a batch that its own topic takes.
func (b *Breaker) store() {
	p := b.options.Own.Partitions[0]
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 3000
	addProduce(r, p, b.keyed(func(*record.Builder, []record.Record) {}))
	b.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		if code, _, ok := findProduced(response.(*kmsg.ProduceResponse), p); ok && code == 0 {
			b.stored++
		}
		b.pause()
	})
}

// keyed is a batch of records with keys, changed by change.
func (b *Breaker) keyed(change func(*record.Builder, []record.Record)) []byte {
	builder := &record.Builder{Codec: compress.Codec(b.draws.Below(int64(compress.LZ4) + 1)), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	records := make([]record.Record, b.draws.Between(1, 5))
	for i := range records {
		records[i] = record.Record{Timestamp: startMillis - 10*24*3600*1000, Key: fmt.Appendf(nil, "key-%d", i), Value: make([]byte, b.draws.Below(100))}
	}
	change(builder, records)
	return builder.AppendBatch(nil, records)
}

// readOwn reads its own topic from an offset on: it has whole batches of records with keys, at least as many as were
// acknowledged; found is how many lie below.
func (b *Breaker) readOwn(from int64, found int) {
	p := b.options.Own.Partitions[0]
	r := kmsg.NewPtrFetchRequest()
	r.MaxBytes, r.SessionEpoch = 1<<20, -1
	addFetch(r, p, from, 1<<20)
	b.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		if v.ErrorCode != 0 || len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 || v.Topics[0].Partitions[0].ErrorCode != 0 {
			b.after(100*time.Millisecond, func() { b.readOwn(from, found) })
			return
		}
		got := &v.Topics[0].Partitions[0]
		next := from
		for data := got.RecordBatches; ; found++ {
			h, err := record.ReadHeader(data)
			if err != nil {
				break // cut off
			}
			if err := record.Each(data, 1<<20, func(r record.Record) bool { return r.Key != nil }); err != nil {
				b.fail("I2", "client %d: batch at %d of %s: %v", b.client, h.BaseOffset, p.History.Name, err)
				return
			}
			data, next = data[h.Bytes:], h.NextOffset()
		}
		switch {
		case next < got.HighWatermark:
			b.after(time.Millisecond, func() { b.readOwn(next, found) })
		case found < b.stored:
			b.fail("I1", "client %d: %s has %d batches, %d were acknowledged", b.client, p.History.Name, found, b.stored)
		default:
			b.next++
		}
	})
}
