package coordinator

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/env"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// Log is a partition on its leader: a *partition.Partition, or a test's.
type Log interface {
	Append(*partition.Append)
	Read(offset int64, maxBytes int, i partition.Isolation, done func(stream.Fetched))
	Watch(*partition.Watch, partition.Isolation)
	LogStart() int64
	HighWatermark() int64
	LogEnd() int64
	LastStable() int64
	VerifyWrite(producerID int64, epoch int16) partition.Verification
	Answered(producerID int64, v partition.Verification, agreed bool)
	Closed() wire.Code
	// BatchBytesMax is how large a batch may be that is appended.
	BatchBytesMax() int
}

// phase is where a shard is in its life.
type phase uint8

const (
	loading phase = iota
	serving
	closed
)

// readBytes is how much of the log is read at a time; after so much is applied the next turn of the loop goes on.
const readBytes = 256 << 10

// loadRetry is the wait between two reads that failed.
var loadRetry = task.BackOff{First: 100 * time.Millisecond, Max: 10 * time.Second}

// Shard runs a machine on one partition, as long as this broker leads it.
type Shard struct {
	// Index is the partition's.
	Index int32

	runtime *Runtime
	log     Log
	machine Machine
	watch   partition.Watch
	orders  map[string]*keyOrder
	writes  task.Queue[pendingWrite] // ascending by end
	awaits  task.Queue[pendingWrite] // ascending by end

	phase      phase
	closedWith wire.Code
	loadEnd    int64 // where the log ended when the partition opened
	opened     env.Time
	applied    int64 // everything below it is applied
	following  bool  // a read is under way, or waits for a turn or a timer
	inTurn     int   // bytes applied since a turn was given up, or nothing was left
	failures   int
	retry      task.Timer
	rewriting  task.Timer // for the next keys
	cleaning   cleaning
	held       int64 // bytes of Options.Memory
}

func newShard(r *Runtime, index int32, log Log) *Shard {
	s := &Shard{
		Index: index, runtime: r, log: log, orders: map[string]*keyOrder{},
		applied: log.LogStart(), loadEnd: log.LogEnd(), opened: r.options.Loop.Now(),
	}
	s.machine = r.options.NewMachine(s)
	s.watch.Moved = func() { s.loop().Post(s.moved) }
	log.Watch(&s.watch, partition.ReadUncommitted)
	if s.applied < log.HighWatermark() {
		s.yield() // many partitions may open at once
	} else {
		s.moved()
	}
	return s
}

func (s *Shard) loop() *task.Loop { return s.runtime.options.Loop }

// Loop is what runs the shard.
func (s *Shard) Loop() *task.Loop { return s.loop() }

// Machine is what the shard runs.
func (s *Shard) Machine() Machine { return s.machine }

// Leased reports whether the broker may answer for its partitions now: else another may already lead this one (R9).
func (s *Shard) Leased() bool { return s.runtime.leased() }

// serves reports whether operations may be begun.
func (s *Shard) serves() bool { return s.phase == serving }

// moved looks at the partition after it changed.
func (s *Shard) moved() {
	switch {
	case s.phase == closed:
	case s.log.Closed() != wire.None:
		s.close(wire.NotCoordinator)
	default:
		s.follow()
	}
}

// follow applies what is committed and not applied.
func (s *Shard) follow() {
	if s.following || s.phase == closed {
		return
	}
	s.loaded()
	if s.phase == closed {
		return
	}
	if s.applied >= s.log.HighWatermark() {
		s.inTurn = 0
		return
	}
	s.following = true
	s.log.Read(s.applied, readBytes, partition.ReadUncommitted, s.read)
}

func (s *Shard) read(f stream.Fetched) {
	defer f.Release()
	s.following = false
	if s.phase == closed {
		return
	}
	if f.Err != nil {
		s.readFailed(f.Err)
		return
	}
	s.failures = 0
	from := s.applied
	for _, batch := range f.Batches {
		if err := s.apply(batch); err != nil {
			s.fail(err)
			return
		}
	}
	telemetry.Assert(1, s.applied > from, "%s-%d: a read at offset %d, below the high watermark %d, returned nothing", s.runtime.options.Topic, s.Index, from, s.log.HighWatermark())
	s.cleaning.read(f.Bytes)
	s.completeWrites()
	if s.inTurn += f.Bytes; s.inTurn < readBytes || s.phase == closed {
		s.loop().Post(s.readNext)
		return
	}
	s.yield()
}

// yield lets the next read wait for a turn of the loop. What is posted would run in this one.
func (s *Shard) yield() {
	s.inTurn, s.following = 0, true
	s.runtime.yielded.Push(s)
	s.runtime.armResume()
}

func (s *Shard) readNext() {
	s.follow()
	s.shorten()
}

// readFailed tries again later, but for a log whose start has passed what was read: that goes on from there.
func (s *Shard) readFailed(err error) {
	if errors.Is(err, stream.ErrTrimmed) {
		s.applied = max(s.applied, s.log.LogStart())
	}
	o := &s.runtime.options
	s.runtime.operators.Warn(o.Telemetry, "read", s.loop().Now(), "a coordinator cannot read its log, and tries again: clients wait for it",
		slog.String("topic", o.Topic), slog.Int64("partition", int64(s.Index)), slog.Int64("offset", s.applied), slog.String("error", err.Error()))
	s.following = true
	draw := o.Env.Rand.Uint64("coordinator retry", uint64(s.Index), uint64(s.failures))
	s.loop().Reset(&s.retry, loadRetry.Wait(s.failures, draw), func() {
		s.following = false
		s.moved()
	})
	s.failures++
}

// apply hands a batch to the machine, record by record.
func (s *Shard) apply(batch []byte) error {
	h, err := record.ReadHeader(batch)
	if err != nil {
		return err
	}
	if h.NextOffset() <= s.applied {
		return nil
	}
	if h.Records == 0 { // what was lost (R16)
		s.applied = h.NextOffset()
		return nil
	}
	producer, epoch := int64(record.NoProducer), int16(-1)
	if h.Transactional() {
		producer, epoch = h.ProducerID, h.ProducerEpoch
	}
	var failed error
	err = record.Each(batch[:h.Bytes], batchBytesMax, func(r record.Record) bool {
		switch {
		case r.Offset < s.applied:
		case h.Control():
			failed = s.applyMarker(&h, &r)
		default:
			failed = s.machine.Apply(&Record{Offset: r.Offset, Timestamp: r.Timestamp, ProducerID: producer, ProducerEpoch: epoch, Key: r.Key, Value: r.Value})
		}
		if failed != nil {
			failed = fmt.Errorf("offset %d: %w", r.Offset, failed)
		}
		return failed == nil
	})
	if failed == nil {
		failed = err
	}
	s.applied = h.NextOffset()
	return failed
}

// batchBytesMax bounds what a batch of an internal topic may decompress to.
const batchBytesMax = 256 << 20

// loaded ends the loading once all is applied that was committed when the partition opened.
func (s *Shard) loaded() {
	if s.phase != loading || s.applied < s.loadEnd {
		return
	}
	s.phase = serving
	o := &s.runtime.options
	s.runtime.loadTime.Observe(int64(s.loop().Now().Sub(s.opened)))
	o.Telemetry.Debug("a coordinator is loaded", slog.String("topic", o.Topic), slog.Int64("partition", int64(s.Index)),
		slog.Int64("offsets", s.applied-s.log.LogStart()), slog.Duration("took", s.loop().Now().Sub(s.opened)))
	s.machine.Serve()
}

// fail stops a shard whose log cannot be understood.
func (s *Shard) fail(err error) {
	o := &s.runtime.options
	o.Telemetry.Error("a coordinator stops: it cannot understand its log. Its groups or transactional ids are not served; "+
		"if a newer release wrote the log, start that release",
		slog.String("topic", o.Topic), slog.Int64("partition", int64(s.Index)), slog.String("error", err.Error()))
	s.runtime.failed.Add(1)
	s.close(wire.NotCoordinator)
}

// close answers everything that waits, and drops the machine.
func (s *Shard) close(code wire.Code) {
	if s.phase == closed {
		return
	}
	s.phase, s.closedWith = closed, code
	s.watch.Unwatch()
	s.loop().Stop(&s.retry)
	s.loop().Stop(&s.rewriting)
	s.machine.Close(code)
	for s.writes.Len() > 0 {
		s.writes.Pop().done(code)
	}
	for s.awaits.Len() > 0 {
		s.awaits.Pop().done(code)
	}
	for _, order := range sorted(s.orders) {
		for order.waiting.Len() > 0 {
			op := order.waiting.Pop()
			s.Waited(op.Bytes)
			op.Done(code)
		}
	}
	s.orders = nil
	s.release()
}
