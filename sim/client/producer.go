package client

import (
	"fmt"
	"math"
	"slices"
	"time"

	"weir/core/compress"
	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/event"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProducerOptions configure a producer.
type ProducerOptions struct {
	// Topics are those that it writes to, all partitions.
	Topics []*Topic
	// Idempotent gives it a producer id and sequence numbers.
	Idempotent bool
	// PerSecond is the mean number of requests a second. 0: it sends only when it is told to.
	PerSecond int64
	// Records is the maximum of records in a batch, 1 and up. Most batches have far fewer.
	Records int64
	// ValueBytes is the maximum of bytes in a value, 1 and up. Most values are far smaller.
	ValueBytes int64
	// InFlight is the maximum of unacknowledged batches of a partition, 1 to 5.
	InFlight int
	// Spread is the maximum of partitions in a request, 1 and up.
	Spread int64
	// Compress is how many batches in a thousand are compressed.
	Compress int64
	// Huge is how many batches in a thousand are nearly BatchBytes large; Excess is how many
	// of a producer that is not idempotent are larger.
	Huge, Excess int64
	// BatchBytes is the largest batch that the broker accepts, RequestBytes the largest
	// request. 0: no bound.
	BatchBytes, RequestBytes int
	// GiveUp is the age at which an idempotent producer abandons a batch, and takes the next
	// epoch. 0: never.
	GiveUp time.Duration
	// Acks is that of a producer that is not idempotent: -1 or 1 for a response, 0 for none.
	Acks int16
	// Mixed is the difference between the timestamps of a batch's records, in milliseconds.
	Mixed int64
	// Poison is how many rounds in a thousand send a batch that the broker must refuse.
	Poison int64
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Producer writes.
type Producer struct {
	session
	options    ProducerOptions
	parts      []*producerPart
	producerID int64
	epoch      int16
	asking     bool
	known      bool // the topics
	ending     bool
	turn       int
	records    []byte
	retrying   bool // it pumps again soon
}

// producerPart is a producer's view of a partition.
type producerPart struct {
	*Partition
	queue    []*batch // unacknowledged, in order
	session  uint64
	sequence int32 // of the next record
	ordinal  int32 // of the next batch
	acked    bool  // a batch of it was acknowledged
	flying   int
	carrier  uint64     // connection on which the session's batches travel, if they have no answers or a sequence
	rest     event.Time // nothing is sent again before
}

// batch is one batch until it is acknowledged or given up.
type batch struct {
	spec    batchSpec
	sent    bool // in flight now
	ever    bool // sent at least once
	created event.Time
}

// NewProducer makes a producer; Start starts it.
func NewProducer(c *Cluster, client int, options ProducerOptions) *Producer {
	p := &Producer{options: options, producerID: -1}
	p.init(c, client, p)
	p.lag = options.Lag
	for _, t := range options.Topics {
		for _, partition := range t.Partitions {
			p.parts = append(p.parts, &producerPart{Partition: partition})
		}
	}
	return p
}

// Start connects and begins to write.
func (p *Producer) Start() {
	p.connect()
	if p.options.PerSecond > 0 {
		p.Queue.After(p.pause(), (*producerTick)(p), 0)
	}
}

// End stops new writes; what is unacknowledged is still pursued.
func (p *Producer) End() { p.ending = true }

// Idle reports whether nothing is unacknowledged.
func (p *Producer) Idle() bool {
	for _, part := range p.parts {
		if len(part.queue) > 0 {
			return false
		}
	}
	return true
}

// Waiting says what is not acknowledged yet of the first partition that has anything.
func (p *Producer) Waiting() string {
	for _, part := range p.parts {
		if n := len(part.queue); n > 0 {
			return fmt.Sprintf("%d batches of %s, %d of them sent to node %d", n, part.History.Name, part.flying, p.leader(part.Partition))
		}
	}
	return ""
}

// Stop ends the client; what is unacknowledged stays open.
func (p *Producer) Stop() { p.ending = true; p.stop() }

// Probe writes one small batch to every partition.
func (p *Producer) Probe() {
	for _, part := range p.parts {
		p.add(part)
	}
	p.pump()
}

// Probed reports whether every partition has acknowledged a batch. It writes again where one
// was refused: a log without room refuses what is not idempotent.
func (p *Producer) Probed() bool {
	if !p.Idle() {
		return false
	}
	for _, part := range p.parts {
		if !part.acked && !part.Topic.Deleting {
			p.add(part)
		}
	}
	p.pump()
	return p.Idle()
}

// ComeBack has an idempotent producer write on, after it was idle: the broker may have
// forgotten it meanwhile, and must take its next sequence all the same.
func (p *Producer) ComeBack() {
	if p.options.Idempotent && p.producerID >= 0 {
		p.Probe()
	}
}

type producerTick Producer

func (p *Producer) pause() time.Duration {
	mean := int64(time.Second) / p.options.PerSecond
	return time.Duration(p.draws.Between(mean/2, mean*3/2))
}

// Fire implements event.Handler: one more request's worth of batches.
func (t *producerTick) Fire(uint64) {
	p := (*Producer)(t)
	if p.ending || p.stopped {
		return
	}
	p.giveUp()
	if p.options.Poison > 0 && p.up && p.known && p.whole() && p.draws.PerMille(p.options.Poison) {
		p.poison(p.parts[p.draws.Below(int64(len(p.parts)))])
	}
	spread := p.draws.Between(1, min(p.options.Spread, int64(len(p.parts))))
	for range spread {
		p.turn += 1 + int(p.draws.Below(2))
		part := p.parts[p.turn%len(p.parts)]
		if len(part.queue) < p.options.InFlight && !part.Topic.Deleting {
			p.add(part)
		}
	}
	p.pump()
	p.Queue.After(p.pause(), t, 0)
}

// small draws from 1 to most, mostly few.
func (p *Producer) small(most int64) int64 {
	if p.draws.PerMille(900) {
		most = min(most, 1+most/20)
	}
	return p.draws.Between(1, most)
}

func (p *Producer) add(part *producerPart) {
	b := &batch{created: p.Queue.Now()}
	b.spec = batchSpec{
		tag: part.tag, id: -1, records: int32(p.small(p.options.Records)), valueSize: int(p.small(p.options.ValueBytes)),
		producer: -1, epoch: -1, sequence: -1, timestamp: p.wallMillis(),
	}
	if part.Topic.Untimed {
		b.spec.timestamp = -1
	} else if p.options.Mixed > 0 && p.whole() && p.draws.PerMille(500) {
		b.spec.mixed = p.options.Mixed
	}
	p.size(&b.spec)
	if p.draws.PerMille(p.options.Compress) {
		newest := compress.Zstd
		if p.options.Lag > 0 {
			newest = compress.LZ4 // an old client does not know zstd, and old versions of Produce refuse it
		}
		b.spec.codec = compress.Codec(p.draws.Between(1, int64(newest)))
	}
	part.queue = append(part.queue, b)
}

// recordOverhead is the most that a record takes beside its value.
const recordOverhead = 20

// size keeps a batch within what the broker takes, or brings it close to that, or
// beyond.
func (p *Producer) size(s *batchSpec) {
	o := &p.options
	most := o.BatchBytes
	if o.RequestBytes > 0 && (most == 0 || most > o.RequestBytes) {
		most = o.RequestBytes
	}
	if most == 0 {
		return
	}
	switch draw := p.draws.Below(1000); {
	case draw < o.Huge:
		s.valueSize = (most-headerBytes)/int(s.records) - recordOverhead
	case draw < o.Huge+o.Excess && !o.Idempotent:
		s.records, s.valueSize = 1, o.BatchBytes+int(p.draws.Below(1000))
		return
	}
	s.valueSize = min(s.valueSize, (most-headerBytes)/int(s.records)-recordOverhead)
}

func (p *Producer) sessionUp() {
	p.known, p.retrying = false, false
	if p.silent() {
		p.newSession(0) // what one connection carried is appended in its order
	}
	p.learn(p.options.Topics, func(known bool) {
		if !known {
			p.after(100*time.Millisecond, p.sessionUp)
			return
		}
		p.known = true
		p.pump()
	})
}

// initProducer asks for a producer id.
func (p *Producer) initProducer() {
	if p.asking {
		return
	}
	p.asking = true
	r := kmsg.NewPtrInitProducerIDRequest()
	r.ProducerID, r.ProducerEpoch = -1, -1
	p.request(r, func(response kmsg.Response, err error) {
		p.asking = false
		if err != nil {
			return
		}
		v := response.(*kmsg.InitProducerIDResponse)
		switch {
		case v.ErrorCode != 0 && p.leaves(v.ErrorCode): // real clients ask another broker each time
			return
		case v.ErrorCode != 0:
			p.after(50*time.Millisecond, p.pump)
			return
		}
		p.producerID, p.epoch = v.ProducerID, v.ProducerEpoch
		p.noteProducer(p.client, v.ProducerID)
		p.newSession(p.firstSequence())
		p.pump()
	})
}

// newSession starts every partition again.
func (p *Producer) newSession(sequence int32) {
	for _, part := range p.parts {
		p.sessions++
		part.session, part.sequence, part.ordinal = p.sessions, sequence, 0
	}
}

// firstSequence is where a new producer id begins: 0, or so high that its sequences
// soon wrap. A broker takes any from a producer that it does not know, since it may
// have forgotten it.
func (p *Producer) firstSequence() int32 {
	if p.draws.PerMille(700) {
		return 0
	}
	return math.MaxInt32 - int32(p.draws.Below(200))
}

// silent reports whether it waits for no answers.
func (p *Producer) silent() bool { return p.options.Acks == 0 && !p.options.Idempotent && p.whole() }

// acks is what it asks for.
func (p *Producer) acks() int16 {
	if p.options.Idempotent || !p.whole() {
		return -1
	}
	return p.options.Acks
}

// pump sends what may be sent, in order.
func (p *Producer) pump() {
	if !p.up || !p.known || p.stopped {
		return
	}
	if p.options.Idempotent && p.producerID < 0 {
		p.initProducer()
		return
	}
	for {
		r, sent := p.gather()
		if len(sent) == 0 {
			break
		}
		p.send(r, sent)
	}
	if slices.ContainsFunc(p.parts, func(part *producerPart) bool { return p.Queue.Now() < part.rest }) {
		p.pumpSoon()
	}
}

type sentBatch struct {
	part  *producerPart
	batch *batch
}

// gather takes the next batch of each partition that may send one, of one leader.
func (p *Producer) gather() (*kmsg.ProduceRequest, []sentBatch) {
	var sent []sentBatch
	for _, part := range p.parts {
		if b := part.ready(p.Queue.Now()); b != nil && p.mayFollow(part) && (len(sent) == 0 || p.leader(part.Partition) == p.leader(sent[0].part.Partition)) {
			sent = append(sent, sentBatch{part, b})
		}
	}
	if len(sent) == 0 {
		return nil, nil
	}
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = p.acks(), 3000
	if p.silent() {
		r.TimeoutMillis = 60_000 // a refusal that nobody hears of would leave a hole
	}
	p.records = p.records[:0]
	for i, s := range sent {
		if most := p.options.RequestBytes; i > 0 && most > 0 && len(p.records)+s.batch.spec.bytesMax() > most {
			sent = sent[:i] // the others go into a request of their own
			break
		}
		p.prepare(s.part, s.batch)
		p.records = appendBatch(p.records, &s.batch.spec)
	}
	at := 0
	for _, s := range sent {
		size := int(uint32(p.records[at+8])<<24|uint32(p.records[at+9])<<16|uint32(p.records[at+10])<<8|uint32(p.records[at+11])) + 12
		addProduce(r, s.part.Partition, p.records[at:at+size])
		s.part.History.Appends[s.batch.spec.id].Bytes = int64(size)
		at += size
	}
	return r, sent
}

// ready is the next batch to send: none while a resend has to wait for what flies.
func (p *producerPart) ready(now event.Time) *batch {
	if now < p.rest {
		return nil
	}
	for i, b := range p.queue {
		if b.sent {
			continue
		}
		if b.ever && p.flying > 0 && i < p.flying {
			return nil
		}
		return b
	}
	return nil
}

// prepare gives a batch its number, session and sequence before it is first sent.
func (p *Producer) prepare(part *producerPart, b *batch) {
	if b.ever {
		p.Resends++
	}
	if !b.ever {
		a := b.spec.append(p.client, p.Stamp())
		if p.silent() {
			p.follow(part)
			a.Session, a.Sequence = part.session, part.ordinal
			part.ordinal++
		}
		if p.options.Idempotent {
			a.Session, a.Sequence = part.session, part.ordinal
			b.spec.producer, b.spec.epoch, b.spec.sequence = p.producerID, p.epoch, part.sequence
			part.ordinal++
			part.sequence = (part.sequence + b.spec.records) & math.MaxInt32 // wraps to 0
		}
		b.spec.id = int32(len(part.History.Appends))
		part.History.Appends = append(part.History.Appends, a)
	}
	if p.options.Idempotent {
		part.carrier = p.carrier(part.Partition)
	}
	b.sent, b.ever = true, true
	part.flying++
}

// mayFollow reports whether a partition's next batch may be sent: not while those before it travel to another broker. One that
// does not know the producer yet takes any of them for its first.
func (p *Producer) mayFollow(part *producerPart) bool {
	return !p.options.Idempotent || part.flying == 0 || part.carrier == p.carrier(part.Partition)
}

// follow begins a new session where batches without answers travel on another connection than those before.
func (p *Producer) follow(part *producerPart) {
	if carrier := p.carrier(part.Partition); carrier != part.carrier {
		p.sessions++
		part.carrier, part.session, part.ordinal = carrier, p.sessions, 0
	}
}

func (p *Producer) send(r *kmsg.ProduceRequest, sent []sentBatch) {
	if p.silent() {
		p.post(r)
		for _, s := range sent {
			p.answered(s, -1, -1)
		}
		return
	}
	p.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			for _, s := range sent {
				p.answered(s, -1, -1)
			}
			return
		}
		v := response.(*kmsg.ProduceResponse)
		for _, s := range sent {
			code, base, ok := findProduced(v, s.part.Partition)
			if !ok {
				p.fail("protocol", "no answer for %s in a produce response", s.part.History.Name)
				return
			}
			p.answered(s, code, base)
		}
		p.pump()
	})
}

// answered takes an answer; code -1 is a lost one.
func (p *Producer) answered(s sentBatch, code int16, base int64) {
	part, b := s.part, s.batch
	b.sent = false
	part.flying--
	position := part.indexOf(b)
	if position < 0 {
		return // given up
	}
	a := &part.History.Appends[b.spec.id]
	switch {
	case code == 0 || code == wire.DuplicateSequence && p.options.Idempotent:
		if code != 0 {
			base = -1
		}
		a.Outcome, a.Return, a.Base = checker.Done, p.Stamp(), base
		p.Acked++
		part.acked = true
		part.drop(position)
	case !p.options.Idempotent:
		a.Code = code
		if definite(code) {
			a.Outcome, a.Return = checker.Failed, p.Stamp()
		}
		part.drop(position)
	case part.Topic.Deleting || code == wire.MessageTooLarge || code == wire.CorruptMessage || code == wire.InvalidRecord:
		part.drop(position)
		p.unexpected(part, a, code)
	case code == wire.PolicyViolation: // the partition knows as many producers as it may, and not this one
		a.Outcome, a.Return, a.Code = checker.Failed, p.Stamp(), code
		part.drop(position)
		p.nextEpoch()
	case code == wire.OutOfOrderSequence && position > 0:
		a.Code = code // its predecessor has to be sent again
	case code == wire.OutOfOrderSequence && p.LogsLost: // what it had acknowledged is gone with a log
		part.History.OutOfOrder++
		a.Code = code
		part.drop(position)
		p.nextEpoch()
	case code == wire.OutOfOrderSequence || code == wire.UnknownProducerID || code == wire.InvalidProducerEpoch || code == wire.ProducerFenced:
		p.unexpected(part, a, code)
		part.drop(position)
	default:
		a.Code = code
		if code > 0 {
			p.retry(part)
		}
	}
}

// retryPause is how long a partition that answered with an error is left alone. In a cluster its leader may be away for long.
const retryPause = 50 * time.Millisecond

// retry sends what was refused again: at once to a leader that the refusal named, else after a while.
func (p *Producer) retry(part *producerPart) {
	if p.options.Idempotent && part.carrier != p.carrier(part.Partition) {
		return
	}
	if p.routes == nil {
		p.after(30*time.Millisecond, p.pump)
		return
	}
	part.rest = p.Queue.Now().Add(retryPause)
	p.pumpSoon()
}

// pumpSoon pumps after a while.
func (p *Producer) pumpSoon() {
	if p.retrying {
		return
	}
	p.retrying = true
	p.after(retryPause, func() {
		p.retrying = false
		p.pump()
	})
}

func (p *Producer) unexpected(part *producerPart, a *checker.Append, code int16) {
	if part.Topic.Deleting {
		return
	}
	p.fail("I6", "%s: %s for batch %d of session %d of client %d, though all before it is acknowledged", part.History.Name, checker.CodeName(code), a.Sequence, a.Session, p.client)
}

// definite reports whether an error excludes that the batch was appended, or will be.
func definite(code int16) bool {
	switch code {
	case wire.CorruptMessage, wire.UnknownTopicOrPartition, wire.MessageTooLarge, wire.InvalidRecord, wire.OutOfOrderSequence, wire.InvalidProducerEpoch, wire.UnknownTopicID:
		return true
	}
	return false
}

func (p *producerPart) indexOf(b *batch) int {
	for i, o := range p.queue {
		if o == b {
			return i
		}
	}
	return -1
}

func (p *producerPart) drop(i int) { p.queue = append(p.queue[:i], p.queue[i+1:]...) }
