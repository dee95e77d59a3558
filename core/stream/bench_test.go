package stream

import (
	"fmt"
	"testing"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/wal"
)

// quickWorld completes what the log writes at the end of each turn, and does nothing off the loop, so that what
// is measured is the loop's own work. The payload's copy and sum are not in it.
type quickWorld struct {
	*world
	writes []env.Event
}

type quickDisk struct {
	*disk
	w *quickWorld
}

func (d *quickDisk) Write(o *env.DiskWrite) { d.w.writes = append(d.w.writes, o) }

// quickStore takes what is put, and keeps nothing but its name.
type quickStore struct {
	*store
	w    *quickWorld
	last string
}

func (s *quickStore) Put(o *env.PutObject) {
	if o.Key == s.last {
		o.Outcome = env.OutcomeRefused
	}
	s.last = o.Key
	s.w.writes = append(s.w.writes, o)
}

func (s *quickStore) Delete(o *env.DeleteObject) { s.w.writes = append(s.w.writes, o) }

type quickCompute struct{ w *quickWorld }

func (c quickCompute) Submit(o *env.Compute) { c.w.writes = append(c.w.writes, o) }

func (w *quickWorld) complete() {
	w.now += 1000
	for len(w.writes) > 0 {
		o := w.writes[0]
		w.writes = w.writes[:copy(w.writes, w.writes[1:])]
		w.loop.Turn([]env.Event{o})
	}
}

// plainMemory recycles nothing and poisons nothing.
type plainMemory struct{ free []*env.Slab }

func (m *plainMemory) Alloc(bytes int) *env.Slab {
	if n := len(m.free); n > 0 && len(m.free[n-1].Data) >= bytes {
		s := m.free[n-1]
		m.free = m.free[:n-1]
		s.Reset()
		return s
	}
	return env.NewSlab(m, make([]byte, bytes))
}

func (m *plainMemory) Free(s *env.Slab) { m.free = append(m.free, s) }

type quietOwner struct{ told int }

func (o *quietOwner) Durable(int64)                { o.told++ }
func (o *quietOwner) Checkpoint(dst []byte) []byte { return dst }
func (o *quietOwner) Summary(dst []byte) []byte    { return dst }
func (o *quietOwner) Trimmed(int64)                {}
func (o *quietOwner) String() string               { return "quiet" }

func benchEngine(b *testing.B, streams int, object bool) (*quickWorld, *Engine, []*Stream) {
	w := &quickWorld{world: newWorld(b)}
	c := newCluster(w.world)
	e := w.env()
	e.WAL, e.Memory = &quickDisk{w.disk, w}, &plainMemory{}
	engine := NewEngine(Options{
		Loop: w.loop, Env: e, Telemetry: w.marks, Image: c, Controller: c, NewState: newTestState,
		CacheBytes: 256 << 20, UploadInterval: 1000 * time.Hour,
	})
	var log *wal.Log
	create := wal.Create
	if object {
		e.Store, e.Compute = &quickStore{store: w.store, w: w}, quickCompute{w}
		create = wal.CreateObject
		c.slots[0] = 0
	}
	w.turn(func() {
		create(w.loop, e, wal.Config{SizeBytes: 1 << 30, LingerMax: 1}, "wal", 0, engine, func(err error) { b.Fatal(err) }, func(l *wal.Log, _ error) { log = l })
	})
	for log == nil || len(w.pending) > 0 {
		if len(w.pending) > 0 {
			w.step()
		}
		w.complete()
	}
	engine.UseLog(log)
	var opened []*Stream
	for i := range streams {
		id := 1 + i
		c.create(metadata.StreamID(id))
		opened = append(opened, engine.Open(metadata.StreamID(id), 0, &quietOwner{}))
	}
	return w, engine, opened
}

// BenchmarkAppendToDurable is one batch from Append to the owner's ear, as the loop sees it: 64 batches
// to 16 streams in a turn. When the log is half full it is taken as committed.
func BenchmarkAppendToDurable(b *testing.B) {
	b.Run("device", func(b *testing.B) { benchAppendToDurable(b, false) })
	b.Run("object", func(b *testing.B) { benchAppendToDurable(b, true) })
}

func benchAppendToDurable(b *testing.B, object bool) {
	w, e, streams := benchEngine(b, 16, object)
	data := record.AppendBatch(nil, []record.Record{{Value: make([]byte, 900)}})
	released := func() {}
	batch := Batch{Data: data, Offsets: 1, LogAppendTime: -1, Release: released}
	n := 0
	turn := event(func() {
		for range 64 {
			if _, ok := streams[n%len(streams)].Append(batch); !ok {
				panic("refused")
			}
			n++
		}
	})
	events := []env.Event{turn}
	b.ReportAllocs()
	for b.Loop() {
		w.loop.Turn(events)
		w.complete()
		if e.base.log.Used() > 64<<20 {
			b.StopTimer()
			for _, s := range streams {
				s.unpin(s.highWatermark)
				e.uploads.forget(s)
			}
			e.trimmer.trim()
			e.appends.cache.evict(16 << 20)
			w.loop.Turn(nil)
			w.complete()
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/batch")
}

func BenchmarkCachedRead(b *testing.B) {
	for _, batches := range []int{1, 64} {
		b.Run(fmt.Sprintf("batches=%d", batches), func(b *testing.B) {
			w, _, streams := benchEngine(b, 1, false)
			data := record.AppendBatch(nil, []record.Record{{Value: make([]byte, 900)}})
			for range 500 {
				w.turn(func() {
					for range 64 {
						streams[0].Append(Batch{Data: data, Offsets: 1, LogAppendTime: -1})
					}
				})
				w.complete()
			}
			at, got := int64(0), 0
			b.ReportAllocs()
			for b.Loop() {
				streams[0].Read(at, batches*len(data), func(f Fetched) {
					got += len(f.Batches)
					f.Release()
				})
				at = (at + int64(batches)) % (streams[0].HighWatermark() - int64(batches))
			}
			b.SetBytes(int64(batches * len(data)))
		})
	}
}
