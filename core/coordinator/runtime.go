package coordinator

import (
	"math"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// Options are what a Runtime needs. All are required unless a zero is named.
type Options struct {
	// Loop runs the runtime.
	Loop *task.Loop
	// Env gives clock and random numbers.
	Env env.Env
	// Telemetry takes marks, metrics and log lines. Nil: none.
	Telemetry *telemetry.Registry
	// Topic is the internal topic.
	Topic string
	// Image says how many partitions the topic has, and who leads them. It is read only.
	Image Image
	// Broker is this broker.
	Broker metadata.BrokerID
	// Partition returns an open partition of the topic that this broker leads; nil: there is none.
	Partition func(index int32) Log
	// Leased reports whether this broker may answer for its partitions now (R9). Nil: always.
	Leased func() bool
	// NewMachine makes the empty state of a shard. Before Serve it must not use the shard, but for Hold.
	NewMachine func(*Shard) Machine
	// Trim raises the log start of a partition of the topic, and calls done once.
	Trim func(index int32, logStart int64, done func(error))
	// CleanBytesMin is how much is appended at least before a shard writes its state anew; zero:
	// DefaultCleanBytesMin. Lower writes more; higher makes loading longer.
	CleanBytesMin int64
	// Memory counts what the machines hold. Nil: it is counted for this runtime alone, and not bounded.
	Memory *Memory
}

// DefaultCleanBytesMin lets the 50 partitions of a topic hold 200 MB, which load in some seconds.
const DefaultCleanBytesMin = 4 << 20

// operatorsInterval is the shortest time between two log lines of one kind.
const operatorsInterval = time.Minute

// Image is what a Runtime needs of a *metadata.Image.
type Image interface {
	Topic(name string) (*metadata.Topic, bool)
}

// Runtime runs the shards of one internal topic on this broker. It is called on the loop only.
type Runtime struct {
	options Options
	shards  []*Shard // by partition; nil: not open here
	stopped bool
	yielded task.Queue[*Shard] // whose next read waits for a turn of the loop: one a turn
	resume  task.Timer

	operators        *telemetry.Limiter
	refused, cleaned *telemetry.Mark
	failed           env.Counter
	loadTime         env.Histogram
}

// New returns a runtime without shards: call ImageChanged.
func New(o Options) *Runtime {
	if o.Telemetry == nil {
		o.Telemetry = telemetry.New(nil, nil)
	}
	if o.CleanBytesMin == 0 {
		o.CleanBytesMin = DefaultCleanBytesMin
	}
	if o.Memory == nil {
		o.Memory = unbounded()
	}
	return &Runtime{
		options: o, operators: telemetry.NewLimiter(operatorsInterval),
		refused:  o.Telemetry.Mark("coordinator: a write was refused"),
		cleaned:  o.Telemetry.Mark("coordinator: a log was written anew and cut"),
		failed:   o.Telemetry.Counter("weir_coordinator_failed_total", "Partitions of internal topics whose coordinator stopped since it could not understand its log"),
		loadTime: o.Telemetry.Histogram("weir_coordinator_load_nanoseconds", "From the opening of a partition of an internal topic until its coordinator serves."),
	}
}

// ImageChanged opens shards on partitions that opened, and closes those whose partitions closed. It is called
// after the partition manager has seen the image.
func (r *Runtime) ImageChanged() {
	if r.stopped {
		return
	}
	topic, ok := r.options.Image.Topic(r.options.Topic)
	if !ok {
		r.closeAll(wire.NotCoordinator)
		return
	}
	for len(r.shards) < len(topic.Partitions) {
		r.shards = append(r.shards, nil)
	}
	for i := range topic.Partitions {
		index := topic.Partitions[i].Index
		r.refresh(index, r.options.Partition(index))
	}
}

func (r *Runtime) refresh(index int32, log Log) {
	s := r.shards[index]
	if s != nil && s.log != log {
		s.close(wire.NotCoordinator)
		r.shards[index], s = nil, nil
	}
	if s == nil && log != nil {
		r.shards[index] = newShard(r, index, log)
	}
}

func (r *Runtime) armResume() {
	if r.yielded.Len() > 0 && !r.resume.Pending() {
		r.options.Loop.Reset(&r.resume, 0, r.resumeOne)
	}
}

// resumeOne lets the shard go on that waits longest.
func (r *Runtime) resumeOne() {
	s := r.yielded.Pop()
	r.armResume()
	s.following = false
	s.readNext()
}

// Partitions is how many partitions the topic has; zero: it does not exist yet.
func (r *Runtime) Partitions() int {
	topic, ok := r.options.Image.Topic(r.options.Topic)
	if !ok {
		return 0
	}
	return len(topic.Partitions)
}

// Find returns the shard that serves a key. The code is NOT_COORDINATOR if this broker does not lead its partition, and
// COORDINATOR_LOAD_IN_PROGRESS if it does, and the shard does not serve yet.
func (r *Runtime) Find(key string) (*Shard, wire.Code) {
	topic, ok := r.options.Image.Topic(r.options.Topic)
	if !ok || len(topic.Partitions) == 0 || r.stopped {
		return nil, wire.NotCoordinator
	}
	index := PartitionOf(key, len(topic.Partitions))
	if topic.Partitions[index].Leader != r.options.Broker || !r.leased() {
		return nil, wire.NotCoordinator
	}
	if int(index) >= len(r.shards) || r.shards[index] == nil {
		return nil, wire.CoordinatorLoadInProgress
	}
	switch s := r.shards[index]; s.phase {
	case serving:
		return s, wire.None
	case loading:
		return nil, wire.CoordinatorLoadInProgress
	}
	return nil, wire.NotCoordinator
}

func (r *Runtime) leased() bool { return r.options.Leased == nil || r.options.Leased() }

// Each calls f for every shard that serves, by partition.
func (r *Runtime) Each(f func(*Shard)) {
	for _, s := range r.shards {
		if s != nil && s.serves() {
			f(s)
		}
	}
}

// Loading reports whether a shard of this broker does not serve yet.
func (r *Runtime) Loading() bool {
	for _, s := range r.shards {
		if s != nil && s.phase == loading {
			return true
		}
	}
	return false
}

// AwaitApplied calls done once everything of a partition below end, which is committed, is applied; with
// NOT_COORDINATOR if its shard closes before, or there is none. A marker's writer must wait so: who reads
// after its answer sees its effect.
func (r *Runtime) AwaitApplied(index int32, end int64, done func(wire.Code)) {
	if int(index) >= len(r.shards) || r.shards[index] == nil || r.shards[index].phase == closed {
		done(wire.NotCoordinator)
		return
	}
	s := r.shards[index]
	s.awaits.Push(pendingWrite{end: end, done: done})
	s.completeWrites()
	s.follow()
}

// Close closes all shards. What waits is answered NOT_COORDINATOR.
func (r *Runtime) Close() {
	r.stopped = true
	r.closeAll(wire.NotCoordinator)
}

func (r *Runtime) closeAll(code wire.Code) {
	for i, s := range r.shards {
		if s != nil {
			s.close(code)
			r.shards[i] = nil
		}
	}
}

// PartitionOf returns the partition that holds a key among so many, as Kafka chooses it: by the absolute hash of Java's
// String. The same number of partitions must be used for as long as the topic lives.
func PartitionOf(key string, partitions int) int32 {
	h := hash(key)
	if h == math.MinInt32 {
		return 0
	}
	return max(h, -h) % int32(partitions)
}

// hash is String.hashCode of Java, over UTF-16.
func hash(key string) int32 {
	var h uint32
	for _, r := range key {
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + uint32(0xd800+r>>10)
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + uint32(r)
	}
	return int32(h)
}
