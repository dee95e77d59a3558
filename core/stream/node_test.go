package stream

import (
	"fmt"
	"slices"

	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wal"
)

// owner is the partition above one stream.
type owner struct {
	history  *history
	stream   *Stream
	durable  int64
	told     int
	trimmed  int64
	released int

	checkpointed func() // nil: nobody counts
}

func (o *owner) Durable(highWatermark int64) {
	if highWatermark <= o.durable || highWatermark != o.stream.HighWatermark() {
		panic("the high watermark does not move forward")
	}
	o.durable, o.history.acked = highWatermark, highWatermark
	o.told++
}

func (o *owner) Checkpoint(dst []byte) []byte {
	sum, ok := o.history.sumAt(o.durable)
	if !ok || o.durable != o.stream.HighWatermark() {
		panic("a checkpoint that is not as of the high watermark")
	}
	if o.checkpointed != nil {
		o.checkpointed()
	}
	return append(dst, encodeState(o.durable, sum)...)
}

func (o *owner) Summary(dst []byte) []byte {
	sum, _ := o.history.sumAt(o.stream.End())
	return append(dst, encodeState(o.stream.End(), sum)...)
}

func (o *owner) String() string { return fmt.Sprintf("topic-%d", o.stream.id) }

func (o *owner) Trimmed(logStart int64) { o.trimmed = logStart }

// node is one incarnation: an engine, its log, its open streams.
type node struct {
	w      *world
	c      *cluster
	e      *Engine
	log    *wal.Log
	owners map[metadata.StreamID]*owner
	failed error
}

// boot starts the next incarnation: recover, create, take over, open.
func boot(w *world, c *cluster, o Options, config wal.Config) *node {
	w.store.ended = false
	w.t.Helper()
	c.epoch++
	n := &node{w: w, c: c, owners: map[metadata.StreamID]*owner{}}
	o.Loop, o.Env, o.Telemetry, o.Image, o.Controller = w.loop, w.env(), w.marks, c, c
	o.Epoch, o.Cluster, o.NewState = c.epoch, "cluster", newTestState
	o.Compaction.Disabled = o.Compaction.Interval == 0 // its timer would never let a world come to rest
	if c.ships.lag {
		o.Shipping = c
	}
	if o.Failed == nil {
		o.Failed = func(err error) { w.t.Fatalf("the engine failed: %v", err) }
	}
	n.e = NewEngine(o)
	ends, err := n.recover()
	if err != nil {
		w.t.Fatalf("recovery of epoch %d failed: %v", c.epoch, err)
	}
	n.createLog(config)
	c.takeOver(ends)
	c.bringBack()
	w.turn(n.e.ImageChanged)
	for _, id := range c.sorted() {
		n.open(id)
	}
	return n
}

func logName(epoch metadata.BrokerEpoch) string { return fmt.Sprintf("wal-%016x", int64(epoch)) }

func (n *node) recover() (all []metadata.RangeEnd, failure error) {
	into := &replayer{c: n.c, e: n.e, states: map[metadata.StreamID]*testState{}}
	for epoch := metadata.BrokerEpoch(1); epoch < n.c.epoch; epoch++ {
		if _, object := n.c.slots[epoch]; n.w.disk.files[logName(epoch)] == nil && !object {
			continue
		}
		soon := n.recoverEnds(epoch)
		before := len(all)
		ended := false
		n.w.turn(func() {
			n.e.RecoverLog(n.c.logName(epoch), epoch, into, func(ends []metadata.RangeEnd, err error) {
				all, failure, ended = append(all, ends...), err, true
			})
		})
		n.w.until("the end of recovery", func() bool { return ended })
		if failure != nil {
			return nil, failure
		}
		if soon != nil {
			soon.check(all[before:], into)
		}
	}
	n.c.checkEnds(all)
	return all, nil
}

// foundSoon is what the newest summary of a log and what follows it say.
type foundSoon struct {
	replayer
	ends []metadata.RangeEnd
}

// recoverEnds finds the ends of a log before it is read; nil: it does not say them.
func (n *node) recoverEnds(epoch metadata.BrokerEpoch) *foundSoon {
	f := &foundSoon{replayer: replayer{c: n.c, e: n.e, states: map[metadata.StreamID]*testState{}}}
	ended, failed := false, false
	n.w.turn(func() {
		n.e.RecoverEnds(n.c.logName(epoch), epoch, f, func(ends []metadata.RangeEnd, err error) {
			f.ends, failed, ended = slices.Clone(ends), err != nil, true
		})
	})
	n.w.until("the end of a log", func() bool { return ended })
	if failed {
		return nil
	}
	n.c.soon++
	return f
}

// check holds what was found soon against what all of the log says: ends, and states where they do not follow from the image.
func (f *foundSoon) check(ends []metadata.RangeEnd, into *replayer) {
	if !slices.Equal(f.ends, ends) {
		f.c.w.t.Fatalf("all of the log says that its ranges end at %v, its newest summary and what follows say %v", ends, f.ends)
	}
	for _, e := range ends {
		whole, soon := into.states[e.Stream], f.states[e.Stream]
		if soon != nil {
			f.c.restored++
		}
		known := f.c.streams[e.Stream]
		switch {
		case known == nil || known.CheckpointEnd == e.End:
		case soon == nil || whole == nil || soon.end != e.End || *soon != *whole:
			f.c.w.t.Fatalf("stream %d ends at %d: all of the log gives %+v, its newest summary and what follows give %+v", e.Stream, e.End, whole, soon)
		}
	}
}

// checkEnds makes sure that nothing acknowledged is missing (I1), and forgets what was not.
func (c *cluster) checkEnds(ends []metadata.RangeEnd) {
	for _, end := range ends {
		h, ok := c.histories[end.Stream]
		if !ok {
			continue
		}
		if end.End < h.acked || end.End > h.end() {
			c.w.t.Fatalf("stream %d ends at %d, acknowledged up to %d, appended up to %d", end.Stream, end.End, h.acked, h.end())
		}
		h.cutTo(end.End)
		h.acked = end.End // recovered is durable
	}
}

// logName is the name of an epoch's log, of either kind.
func (c *cluster) logName(epoch metadata.BrokerEpoch) string {
	if _, object := c.slots[epoch]; object {
		return wal.ObjectName("cluster", int64(epoch))
	}
	return logName(epoch)
}

func (n *node) createLog(config wal.Config) {
	create := wal.Create
	if n.c.object {
		create = wal.CreateObject
		n.c.slots[n.c.epoch] = 0
		n.c.changed()
	}
	n.w.turn(func() {
		create(n.w.loop, n.w.env(), config, n.c.logName(n.c.epoch), int64(n.c.epoch), n.e, func(err error) { n.failed = err }, func(l *wal.Log, err error) {
			if err != nil {
				n.w.t.Fatal(err)
			}
			n.log = l
		})
	})
	n.w.until("a log", func() bool { return n.log != nil })
	n.w.until("the log's first growth", func() bool { return len(n.w.pending) == 0 })
	n.e.UseLog(n.log)
}

func (n *node) open(id metadata.StreamID) *owner {
	s := n.c.streams[id]
	o := &owner{history: n.c.histories[id]}
	o.stream = n.e.Open(id, s.Ranges[len(s.Ranges)-1].LeaderEpoch, o)
	o.durable = o.stream.HighWatermark()
	n.owners[id] = o
	return o
}

// moveAway gives a stream to another broker.
func (n *node) moveAway(o *owner) {
	id := o.stream.id
	n.c.moveAway(id, o.stream.End())
	n.w.turn(func() {
		n.e.StreamsChanged([]metadata.StreamID{id})
		n.e.Close(id)
	})
	delete(n.owners, id)
}

// bringBack opens what other brokers gave back.
func (n *node) bringBack() {
	back := n.c.bringBack()
	n.w.turn(func() { n.e.StreamsChanged(back) })
	n.w.turn(n.e.ImageShipped)
	for _, id := range back {
		n.open(id)
	}
}

// create makes a stream and opens it.
func (n *node) create(id metadata.StreamID) *owner {
	n.c.create(id)
	return n.open(id)
}

// batchOf makes a batch of some records, its values of the given size in all.
func batchOf(records, bytes int, timestamp int64, seed uint64) []byte {
	list := make([]record.Record, records)
	for i := range list {
		value := make([]byte, max(bytes/records, 1))
		for j := range value {
			seed ^= seed << 13
			seed ^= seed >> 7
			seed ^= seed << 17
			value[j] = byte(seed)
		}
		list[i] = record.Record{Timestamp: timestamp, Value: value}
	}
	return record.AppendBatch(nil, list)
}

// append appends a batch within a turn; false: there was no room.
func (o *owner) append(n *node, records, bytes int, timestamp int64) (ok bool) {
	data := batchOf(records, bytes, timestamp, uint64(len(o.history.ends))*7919+uint64(o.stream.id)+1)
	n.w.turn(func() { ok = o.put(data, records, timestamp) })
	return ok
}

func (o *owner) put(data []byte, records int, timestamp int64) bool {
	h, _ := record.ReadHeader(data)
	frame := slices.Clone(data)
	base, ok := o.stream.Append(Batch{
		Data: frame, Offsets: int32(records), MaxTimestamp: timestamp, LogAppendTime: -1,
		Release: func() { clear(frame); o.released++ },
	})
	if !ok {
		return false
	}
	if base != o.history.end() {
		panic(fmt.Sprintf("offset %d was given, %d is next", base, o.history.end()))
	}
	sum, _ := o.history.sumAt(base)
	record.Patch(data, base, o.stream.leaderEpoch)
	o.history.batches = append(o.history.batches, data)
	o.history.ends = append(o.history.ends, base+int64(records))
	o.history.sums = append(o.history.sums, nextSum(sum, h.CRC))
	return true
}

// read reads and compares with the history; it returns the offset after what came.
func (o *owner) read(n *node, offset int64, maxBytes int) (next int64, err error) {
	ended := false
	n.w.turn(func() {
		o.stream.Read(offset, maxBytes, func(f Fetched) {
			ended = true
			next, err = o.check(n, offset, f), f.Err
			f.Release()
		})
	})
	n.w.until(fmt.Sprintf("a read at %d", offset), func() bool { return ended })
	return next, err
}

func (o *owner) check(n *node, offset int64, f Fetched) int64 {
	bytes := 0
	for _, got := range f.Batches {
		i := o.history.at(offset)
		if i == len(o.history.batches) || !slices.Equal(got, o.history.batches[i]) {
			n.w.t.Fatalf("stream %d: the batch read at offset %d is not what was appended", o.stream.id, offset)
		}
		offset = o.history.ends[i]
		bytes += len(got)
	}
	if bytes != f.Bytes || offset > o.history.acked {
		n.w.t.Fatalf("stream %d: read %d bytes up to offset %d, says %d bytes, acknowledged %d", o.stream.id, bytes, offset, f.Bytes, o.history.acked)
	}
	return offset
}

// readAll reads everything that may be read.
func (o *owner) readAll(n *node, maxBytes int) {
	n.w.t.Helper()
	for at := o.stream.LogStart(); at < o.stream.HighWatermark(); {
		next, err := o.read(n, at, maxBytes)
		if err != nil || next == at {
			n.w.t.Fatalf("stream %d: read at %d of [%d, %d): up to %d, %v", o.stream.id, at, o.stream.LogStart(), o.stream.HighWatermark(), next, err)
		}
		at = next
	}
}

// shutdown stops the node in good order and proves that nothing leaks.
func (n *node) shutdown() {
	n.w.t.Helper()
	n.w.turn(func() {
		for _, id := range n.c.sorted() {
			n.e.Close(id)
		}
	})
	done := false
	n.w.turn(func() { n.e.Shutdown(func() { done = true }) })
	n.w.until("the end of the shutdown", func() bool { return done })
	if n.w.memory.live != 0 {
		n.w.t.Fatalf("%d slabs of %d bytes leak", n.w.memory.live, n.w.memory.bytes)
	}
}
