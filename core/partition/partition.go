package partition

import (
	"strconv"

	"weir/core/clean"
	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"
)

// Log is the stream under a partition: *stream.Stream, or a test's fake.
type Log interface {
	Append(b stream.Batch) (baseOffset int64, ok bool)
	LogStart() int64
	HighWatermark() int64
	End() int64
	Read(offset int64, maxBytes int, done func(stream.Fetched))
	ReadStable(offset, end int64, maxBytes int, done func(stream.Fetched))
	FindTimestamp(from, ts int64, done func(stream.Fetched))
	Bytes() int64
	RetentionPoint(minTimestamp, maxBytes int64) int64
	CleanPlan(limit, now int64, c *clean.Config) clean.Plan
	Clean(stream.Cleaning)
}

// Partition is one partition on its leader. It is called on the loop only.
type Partition struct {
	Topic   metadata.TopicID
	Name    string // of the topic
	Index   int32
	Stream  metadata.StreamID
	manager *Manager
	epoch   int32
	log     Log
	topic   *topic
	state   *State
	epochs  epochCache

	handover     *Handover           // nil: none is under way
	queue        task.Queue[*Append] // waiting for room in the stream
	acks         task.Queue[*Append] // appended, not durable
	duplicates   []*Append           // repeat a batch in acks
	gaps         gaps
	verified     verifications
	watches      []*Watch
	takenBytes   int64     // appended since it opened
	durableBytes int64     // since it opened
	servedBytes  int64     // to readers, since it opened
	loadTaken    Load      // as of the last Manager.TakeLoad
	expired      env.Time  // when a full state was last searched for expired producers; 0: never
	closed       wire.Code // set when it is closed
	blocked      bool      // in manager.blocked
	failing      failing
	recoding     *recoding // of the head of the queue; nil: none
}

// Append is one batch to append. The sender fills the first group of fields; the
// partition answers with the second.
type Append struct {
	Origin Origin
	// TransactionVersion is that of a marker (KIP-1228): from 2 on its epoch is above that of its transaction.
	TransactionVersion int8
	Header             record.Header
	// Data is the batch and nothing else, lent until Release runs. The partition may
	// change its header.
	Data []byte
	// Facts is what [record.Validate] returned, and Invalid its error.
	Facts   record.Facts
	Invalid error
	// RecordErrorsMax is how many records RecordErrors lists at most; zero: none.
	RecordErrorsMax int
	// Deadline is when an append that still waits for room is given up.
	Deadline env.Time
	// Verification allows the first batch of a transaction here; see [Partition.Verify]. Zero: there is none.
	Verification Verification
	// Release runs exactly once: the payload was copied, or never will be.
	Release func()
	// Done hears the answer, exactly once, maybe before Append returns.
	Done func(*Append)

	Code          wire.Code
	Detail        string        // for people, with Code
	RecordErrors  []RecordError // the first records to blame, with Code
	BaseOffset    int64
	LogAppendTime int64 // -1: the records keep their own time
	LogStart      int64
	end           int64
	recoded       bool
}

// String names the partition as Kafka's tools do.
func (p *Partition) String() string { return p.Name + "-" + strconv.Itoa(int(p.Index)) }

// LeaderEpoch is the partition's leader epoch.
func (p *Partition) LeaderEpoch() int32 { return p.epoch }

// Isolation is what a reader wants to see, as in Fetch and ListOffsets.
type Isolation uint8

const (
	// ReadUncommitted sees all that is durable.
	ReadUncommitted Isolation = iota
	// ReadCommitted sees what is below the last stable offset, with the aborted transactions there.
	ReadCommitted
)

// HighWatermark is the end of what is durable.
func (p *Partition) HighWatermark() int64 { return p.log.HighWatermark() }

// ReadableEnd is the end of what a reader may see.
func (p *Partition) ReadableEnd(i Isolation) int64 {
	if i == ReadCommitted {
		return p.LastStable()
	}
	return p.HighWatermark()
}

// LogEnd is the end of what was appended, durable or not.
func (p *Partition) LogEnd() int64 { return p.log.End() }

// LastStable is the last stable offset: the first offset of a transaction whose marker is not durable, or the high
// watermark if there is none. It is never below the log start.
func (p *Partition) LastStable() int64 {
	if len(p.state.open) == 0 {
		return p.log.HighWatermark()
	}
	return max(min(p.state.open[0].first, p.log.HighWatermark()), p.log.LogStart())
}

// LogStart is the first offset that may be read.
func (p *Partition) LogStart() int64 { return p.log.LogStart() }

// Bytes is the size of the log.
func (p *Partition) Bytes() int64 { return p.log.Bytes() }

// Read reads batches from the one that holds offset on, as far as the isolation lets see: maxBytes of
// them, or the first if it is larger. There are none at or above ReadableEnd as it is at the call. To
// ReadCommitted it names the aborted transactions of what it read. What done gets it must release.
func (p *Partition) Read(offset int64, maxBytes int, i Isolation, done func(stream.Fetched)) {
	end := p.ReadableEnd(i)
	switch {
	case offset >= end:
		done(stream.Fetched{})
	case i == ReadCommitted:
		p.log.ReadStable(offset, end, maxBytes, done)
	default:
		p.log.Read(offset, maxBytes, done)
	}
}

// FindTimestamp reads the first batch whose max timestamp is at or after millis, of those between from
// and the high watermark; -1 asks for the batch with the largest. There may be none. What done gets it
// must release.
func (p *Partition) FindTimestamp(from, millis int64, done func(stream.Fetched)) {
	p.log.FindTimestamp(from, millis, done)
}

// Config is the topic's effective configuration.
func (p *Partition) Config() *config.Topic { return &p.topic.config }

// Closed is the code to answer with once the partition is closed; None before.
func (p *Partition) Closed() wire.Code { return p.closed }

// CheckEpoch fences a client's leader epoch (KIP-320); -1 asks for no check.
func (p *Partition) CheckEpoch(epoch int32) wire.Code {
	switch {
	case epoch == UndefinedEpoch || epoch == p.epoch:
		return wire.None
	case epoch < p.epoch:
		return wire.FencedLeaderEpoch
	}
	return wire.UnknownLeaderEpoch
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch not above the asked
// one, and where it ends; UndefinedEpoch and UndefinedOffset if that is unknown.
func (p *Partition) EpochEnd(epoch int32) (int32, int64) {
	return p.epochs.endOf(epoch, p.LogStart(), p.HighWatermark())
}

// EpochAt returns the leader epoch in which an offset was (or would be) written.
func (p *Partition) EpochAt(offset int64) int32 { return p.epochs.at(offset) }

// Append validates the batch, gives it its offsets and hands it to the stream.
// The answer comes once it is durable; a duplicate's, once the original is.
func (p *Partition) Append(a *Append) {
	if p.closed != wire.None {
		a.refuse(p.closed, "the partition is closed here")
		return
	}
	p.queue.Push(a)
	if p.queue.Len() == 1 && p.handover == nil {
		p.pump()
	}
}

// pump appends from the head of the queue, and waits for room where it must.
func (p *Partition) pump() {
	if !p.retry() {
		p.manager.block(p)
	}
}

// try appends or answers a; false means that the stream has no room.
func (p *Partition) try(a *Append) bool {
	if a.Origin == OriginClient && !p.manager.leased() { // it waited: its request came under a lease
		p.manager.unleased.Hit()
		p.noteGap(a)
		a.refuse(wire.NotLeaderOrFollower, "the broker's lease ended while the batch waited; it is not in the log")
		return true
	}
	if code, detail := p.validate(a); code != wire.None {
		a.refuse(code, detail)
		return true
	}
	if p.recordsRefused(a) {
		p.refuseRecords(a)
		return true
	}
	a.LogAppendTime = -1
	if p.topic.config.LogAppendTime {
		a.LogAppendTime = p.manager.env.Clock.WallMillis()
	} else {
		a.setCreateTime()
	}
	earlier, code, detail := p.checkProducer(a)
	switch {
	case code != wire.None:
		a.refuse(code, detail)
		return true
	case earlier.found:
		p.repeat(a, earlier.batch)
		return true
	}
	if _, recodes := p.target(a); recodes {
		p.recode(a)
		return true
	}
	return p.append(a)
}

// checkProducer finds the batch that a repeats, or what forbids it to be appended.
func (p *Partition) checkProducer(a *Append) (duplicate, wire.Code, string) {
	h := &a.Header
	switch {
	case !h.Idempotent():
		code, detail := p.state.checkEpochless(h)
		return duplicate{}, code, detail
	case h.Control():
		return p.checkMarker(a)
	case a.Origin == OriginClient:
		if earlier := p.state.duplicateOf(h); earlier.found {
			return earlier, wire.None, ""
		}
	}
	code, detail := p.checkVerification(a)
	if code == wire.None {
		code, detail = p.state.check(h, a.Origin)
	}
	if code == wire.None && a.Origin != OriginReplica {
		code, detail = p.checkPlace(a)
	}
	return duplicate{}, code, detail
}

// checkPlace checks that the producer may be remembered, and that nothing of it is missing before a client's batch.
func (p *Partition) checkPlace(a *Append) (wire.Code, string) {
	if !p.admits(a.Header.ProducerID, a.Origin) {
		p.noteGap(a)
		return wire.PolicyViolation, "this broker knows as many producers as it may; see producer.id.expiration.ms"
	}
	if a.Origin == OriginClient && p.behindGap(&a.Header) {
		return wire.OutOfOrderSequence, "a batch of this producer before it was given up, and has to come first"
	}
	return wire.None, ""
}

func (p *Partition) append(a *Append) bool {
	maxTimestamp := a.Facts.MaxTimestamp
	if a.LogAppendTime >= 0 {
		maxTimestamp = a.LogAppendTime
	}
	marker, _ := markerOf(&a.Header, a.Data) // checkMarker has read it without an error
	if a.Origin != OriginReplica && !p.endForgotten(&a.Header) {
		return false
	}
	base, ok := p.log.Append(stream.Batch{
		Data:          a.Data,
		Offsets:       a.Header.LastOffsetDelta + 1,
		MaxTimestamp:  maxTimestamp,
		LogAppendTime: a.LogAppendTime,
		Release:       a.Release,
	})
	if !ok {
		return false
	}
	a.BaseOffset, a.end = base, base+int64(a.Header.LastOffsetDelta)+1
	if a.Header.Transactional() {
		p.void(a)
	}
	p.state.appended(&a.Header, marker, base, maxTimestamp, p.takenBytes, p.manager.loop.Now())
	p.takenBytes += int64(a.Header.Bytes)
	p.acks.Push(a)
	return true
}

// repeat answers a duplicate like its original, once that is durable.
func (p *Partition) repeat(a *Append, original sequenceRange) {
	p.manager.duplicate.Hit()
	a.BaseOffset, a.end = original.offset, original.end()
	if a.LogAppendTime >= 0 {
		a.LogAppendTime = original.timestamp
	}
	a.Release()
	if a.end <= p.HighWatermark() {
		p.acknowledge(a)
		return
	}
	p.duplicates = append(p.duplicates, a)
	p.manager.waiting.Hit()
}

// acknowledge answers an append that is durable. Without a lease a client is told nothing (R9). A coordinator hears what is true of
// its log also then, or its next write would not know of this one: whoever recovers the log finds it (R8).
func (p *Partition) acknowledge(a *Append) {
	if a.Origin == OriginClient && !p.manager.leased() {
		a.fail(wire.NotLeaderOrFollower, "the broker's lease ended before the batch was durable; it may be in the log or not")
		return
	}
	a.Code, a.LogStart = wire.None, p.LogStart()
	a.Done(a)
}

// refuse answers an append that the stream did not take.
func (a *Append) refuse(code wire.Code, detail string) {
	a.Release()
	a.fail(code, detail)
}

func (a *Append) fail(code wire.Code, detail string) {
	a.Code, a.Detail, a.BaseOffset, a.LogAppendTime, a.LogStart = code, detail, -1, -1, -1
	a.Done(a)
}

// retry tries the queue in order; false means that the stream has no room. A batch that is being compressed anew holds up those
// behind it, and goes on by itself; a handover holds up all.
func (p *Partition) retry() bool {
	for p.queue.Len() > 0 && p.recoding == nil && p.handover == nil {
		a := *p.queue.Front()
		if !p.try(a) {
			return false
		}
		if p.recoding == nil {
			p.queue.Pop()
		}
	}
	return true
}

// expireQueue gives up the appends at the head of the queue whose time is over.
// Those behind a living one wait for it: their order must not change.
func (p *Partition) expireQueue(now env.Time) {
	for p.queue.Len() > 0 && p.recoding == nil && (*p.queue.Front()).Deadline <= now {
		a := p.queue.Pop()
		p.noteGap(a)
		a.refuse(wire.RequestTimedOut, "the log had no room in time")
	}
}

// Durable implements stream.Owner.
func (p *Partition) Durable(highWatermark int64) {
	p.state.advance(highWatermark)
	for p.acks.Len() > 0 && (*p.acks.Front()).end <= highWatermark {
		a := p.acks.Pop()
		p.durableBytes += int64(a.Header.Bytes)
		p.acknowledge(a)
	}
	if len(p.duplicates) > 0 {
		p.acknowledgeDuplicates(highWatermark)
	}
	p.stepHandover()
	p.wake()
}

func (p *Partition) acknowledgeDuplicates(highWatermark int64) {
	waiting := p.duplicates
	p.duplicates = nil
	for _, a := range waiting {
		if a.end <= highWatermark {
			p.acknowledge(a)
		} else {
			p.duplicates = append(p.duplicates, a)
		}
	}
}

// Checkpoint implements stream.Owner: the state exactly as of the high watermark.
func (p *Partition) Checkpoint(dst []byte) []byte { return p.state.AppendCheckpoint(dst) }

// Summary implements stream.Owner: the state exactly as of everything appended.
func (p *Partition) Summary(dst []byte) []byte { return p.state.AppendSummary(dst, p.log.End()) }

// Trimmed implements stream.Owner. Producers outlive their records, as in Kafka.
func (p *Partition) Trimmed(int64) {}

// close answers everything that waits. Appends that the stream took may still
// become durable: their senders cannot know.
func (p *Partition) close(code wire.Code) {
	p.closed = code
	p.state.leave()
	const detail = "the partition was closed here"
	for p.acks.Len() > 0 {
		p.acks.Pop().fail(code, detail)
	}
	for _, a := range p.duplicates {
		a.fail(code, detail)
	}
	p.duplicates = nil
	if r := p.recoding; r != nil { // its frame is lent
		p.recoding, r.dropped = nil, true
		p.queue.Pop().fail(code, detail)
	}
	for p.queue.Len() > 0 {
		p.queue.Pop().refuse(code, detail)
	}
	p.dropWatches()
}
