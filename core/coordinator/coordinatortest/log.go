// Package coordinatortest has a partition in memory, for tests of what runs on core/coordinator. It may
// call what core/coordinator may.
package coordinatortest

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"weir/core/coordinator"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"
)

// Log is a partition whose test says when batches become durable. Its zero value is empty. It checks no producer.
type Log struct {
	// Held keeps batches from becoming durable until Durable is called.
	Held bool
	// Refuse answers the next appends with this code.
	Refuse wire.Code
	// BytesMax is the largest batch that it takes; zero: any.
	BytesMax int
	// Batches are what it holds from the start on.
	Batches [][]byte
	// ReadErr fails reads.
	ReadErr error

	start, end, durable int64
	closed              wire.Code
	watches             []*partition.Watch
	pending             []*partition.Append
}

var _ coordinator.Log = (*Log)(nil)

// Append implements coordinator.Log.
func (l *Log) Append(a *partition.Append) {
	switch {
	case l.closed != wire.None:
		a.Code = l.closed
	case l.Refuse != wire.None:
		a.Code = l.Refuse
	case len(a.Data) > l.BatchBytesMax():
		a.Code = wire.MessageTooLarge
	default:
		a.BaseOffset = l.append(a.Data)
		l.pending = append(l.pending, a)
		if !l.Held {
			l.Durable()
		}
		return
	}
	a.Done(a)
}

// VerifyWrite implements coordinator.Log: nothing is verified here.
func (l *Log) VerifyWrite(int64, int16) partition.Verification { return 0 }

// Answered implements coordinator.Log.
func (l *Log) Answered(int64, partition.Verification, bool) {}

// BatchBytesMax implements coordinator.Log.
func (l *Log) BatchBytesMax() int { return cmp.Or(l.BytesMax, math.MaxInt) }

func (l *Log) append(data []byte) (base int64) {
	b := append([]byte(nil), data...)
	record.Patch(b, l.end, 0)
	h, _ := record.ReadHeader(b)
	base, l.end = l.end, h.NextOffset()
	l.Batches = append(l.Batches, b)
	return base
}

// AppendMarker appends the end of a transaction, durable.
func (l *Log) AppendMarker(producerID int64, epoch int16, commit bool) {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	b := record.Builder{Transactional: true, Control: true, ProducerID: producerID, ProducerEpoch: epoch, BaseSequence: -1}
	l.append(b.AppendBatch(nil, []record.Record{{Key: key, Value: make([]byte, 6)}}))
	l.Durable()
}

// AppendRecord appends a record that a test made, durable; of a transaction if producerID is not negative.
func (l *Log) AppendRecord(producerID int64, key, value []byte) {
	b := record.Builder{Transactional: producerID >= 0, ProducerID: max(producerID, -1), BaseSequence: -1}
	if producerID < 0 {
		b.ProducerEpoch = -1
	}
	l.append(b.AppendBatch(nil, []record.Record{{Key: key, Value: value}}))
	l.Durable()
}

// Durable makes everything durable that was appended, and answers it.
func (l *Log) Durable() {
	l.durable = l.end
	l.acknowledge(len(l.pending))
}

// DurableFirst makes only the first of what was appended durable, so many batches, and answers them.
func (l *Log) DurableFirst(batches int) {
	if batches = min(batches, len(l.pending)); batches == 0 {
		return
	}
	last := l.pending[batches-1]
	l.durable = last.BaseOffset + int64(last.Header.LastOffsetDelta) + 1
	l.acknowledge(batches)
}

func (l *Log) acknowledge(batches int) {
	pending := l.pending[:batches]
	l.pending = slices.Clone(l.pending[batches:])
	for _, a := range pending {
		a.Done(a)
	}
	l.wake()
}

// Lose drops what is not durable, and closes the partition.
func (l *Log) Lose() {
	for len(l.Batches) > 0 {
		h, _ := record.ReadHeader(l.Batches[len(l.Batches)-1])
		if h.BaseOffset < l.durable {
			break
		}
		l.Batches = l.Batches[:len(l.Batches)-1]
	}
	l.end = l.durable
	l.Close()
}

// Close closes the partition, and answers what waits with an unknown outcome.
func (l *Log) Close() {
	l.closed = wire.NotLeaderOrFollower
	pending := l.pending
	l.pending = nil
	for _, a := range pending {
		a.Code = l.closed
		a.Done(a)
	}
	l.wake()
}

// Reopen returns a partition that holds what is durable in this one, as after a restart or a move.
func (l *Log) Reopen() *Log { return l.At(l.durable) }

// At returns a partition that holds what this one does below an offset between two batches.
func (l *Log) At(end int64) *Log {
	n := &Log{start: l.start, end: end, durable: end}
	for _, b := range l.Batches {
		if h, _ := record.ReadHeader(b); h.BaseOffset < end {
			n.Batches = append(n.Batches, b)
		}
	}
	return n
}

// Trim raises the log start; whole batches go.
func (l *Log) Trim(start int64) {
	l.start = max(l.start, start)
	for len(l.Batches) > 0 {
		if h, _ := record.ReadHeader(l.Batches[0]); h.NextOffset() > l.start {
			return
		}
		l.Batches = l.Batches[1:]
	}
}

func (l *Log) wake() {
	for _, w := range l.watches {
		w.Moved()
	}
}

// Read implements coordinator.Log.
func (l *Log) Read(offset int64, maxBytes int, _ partition.Isolation, done func(stream.Fetched)) {
	f := stream.Fetched{Err: l.ReadErr}
	if offset < l.start {
		f.Err = stream.ErrTrimmed
	}
	first, _ := slices.BinarySearchFunc(l.Batches, offset, func(b []byte, offset int64) int {
		h, _ := record.ReadHeader(b)
		return cmp.Compare(h.NextOffset(), offset+1)
	})
	for _, b := range l.Batches[first:] {
		h, _ := record.ReadHeader(b)
		if f.Err != nil || h.BaseOffset >= l.durable || f.Bytes > 0 && f.Bytes+h.Bytes > maxBytes {
			break
		}
		f.Batches, f.Bytes = append(f.Batches, b), f.Bytes+h.Bytes
	}
	done(f)
}

// Watch implements coordinator.Log.
func (l *Log) Watch(w *partition.Watch, _ partition.Isolation) { l.watches = append(l.watches, w) }

// LogStart implements coordinator.Log.
func (l *Log) LogStart() int64 { return l.start }

// HighWatermark implements coordinator.Log.
func (l *Log) HighWatermark() int64 { return l.durable }

// LogEnd implements coordinator.Log.
func (l *Log) LogEnd() int64 { return l.end }

// LastStable implements coordinator.Log: the first record of a transaction without a marker, or what is durable.
func (l *Log) LastStable() int64 {
	open := map[int64]int64{}
	for _, b := range l.Batches {
		h, _ := record.ReadHeader(b)
		switch _, known := open[h.ProducerID]; {
		case !h.Transactional() || h.BaseOffset >= l.durable:
		case h.Control():
			delete(open, h.ProducerID)
		case !known:
			open[h.ProducerID] = h.BaseOffset
		}
	}
	first := l.durable
	for _, producer := range slices.Sorted(maps.Keys(open)) {
		first = min(first, open[producer])
	}
	return first
}

// Closed implements coordinator.Log.
func (l *Log) Closed() wire.Code { return l.closed }

// Cluster is an internal topic of partitions in memory, with a runtime on it. Set Logs before Open.
type Cluster struct {
	Loop    *task.Loop
	Clock   *Clock
	Logs    []*Log
	Runtime *coordinator.Runtime
	Memory  *coordinator.Memory // not bounded at first
}

// Clock is a clock that its test moves.
type Clock struct {
	At   env.Time
	Wake env.Time // as it was asked for last
}

// Now implements env.Clock.
func (c *Clock) Now() env.Time { return c.At }

// WallMillis implements env.Clock.
func (c *Clock) WallMillis() int64 { return 1_700_000_000_000 + int64(c.At)/1e6 }

// WakeAt implements env.Clock.
func (c *Clock) WakeAt(at env.Time) { c.Wake = at }

// image has the one topic.
type image struct{ topic metadata.Topic }

func (im *image) Topic(name string) (*metadata.Topic, bool) { return &im.topic, name == im.topic.Name }

// Open makes a cluster of so many partitions and a runtime whose shards serve once Turn has run.
func Open(topic string, logs []*Log, clock *Clock, machine func(*coordinator.Shard) coordinator.Machine) *Cluster {
	return OpenOn(task.NewLoop(clock), topic, logs, clock, machine)
}

// OpenOn is Open on a loop that the machines' maker has too.
func OpenOn(loop *task.Loop, topic string, logs []*Log, clock *Clock, machine func(*coordinator.Shard) coordinator.Machine) *Cluster {
	c := &Cluster{Clock: clock, Loop: loop, Logs: logs, Memory: coordinator.NewMemory(math.MaxInt64, nil)}
	im := &image{topic: metadata.Topic{Name: topic}}
	for i := range logs {
		im.topic.Partitions = append(im.topic.Partitions, metadata.Partition{Index: int32(i), Leader: 1})
	}
	c.Runtime = coordinator.New(coordinator.Options{
		Loop: c.Loop, Env: env.Env{Clock: clock, Rand: fixed{}}, Topic: topic, Image: im, Broker: 1,
		Partition: func(i int32) coordinator.Log {
			if c.Logs[i] == nil || c.Logs[i].closed != wire.None {
				return nil
			}
			return c.Logs[i]
		},
		NewMachine: machine, CleanBytesMin: 4 << 10, Memory: c.Memory,
		Trim: func(i int32, start int64, done func(error)) {
			c.Logs[i].Trim(start)
			done(nil)
		},
	})
	c.Loop.Post(c.Runtime.ImageChanged)
	c.Turn()
	return c
}

// turnsMax is how many turns of the loop follow each other at most without a step of the clock.
const turnsMax = 100_000

// Turn runs what was posted and the timers that are due, as many turns of the loop as that takes.
func (c *Cluster) Turn() {
	for range turnsMax {
		wake := c.Clock.Wake
		c.Clock.Wake = math.MaxInt64
		c.Loop.Turn(nil)
		if c.Clock.Wake == math.MaxInt64 { // nothing was asked for anew
			c.Clock.Wake = wake
			return
		}
		if c.Clock.Wake > c.Clock.At {
			return
		}
	}
}

// fixed is a source of numbers that are all the same.
type fixed struct{}

func (fixed) Uint64(string, uint64, uint64) uint64 { return 7 }
