package partition

import (
	"testing"
	"time"

	"weir/core/clean"
	"weir/core/config"
	"weir/core/env"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
)

// sinkLog takes everything and is durable at once.
type sinkLog struct{ end int64 }

func (l *sinkLog) Append(b stream.Batch) (int64, bool) {
	base := l.end
	l.end += int64(b.Offsets)
	b.Release()
	return base, true
}
func (l *sinkLog) LogStart() int64                                    { return 0 }
func (l *sinkLog) HighWatermark() int64                               { return l.end }
func (l *sinkLog) End() int64                                         { return l.end }
func (l *sinkLog) Read(int64, int, func(stream.Fetched))              {}
func (l *sinkLog) ReadStable(int64, int64, int, func(stream.Fetched)) {}
func (l *sinkLog) FindTimestamp(int64, int64, func(stream.Fetched))   {}
func (l *sinkLog) Bytes() int64                                       { return 0 }
func (l *sinkLog) CleanPlan(int64, int64, *clean.Config) clean.Plan   { return clean.Plan{} }

func (l *sinkLog) Clean(stream.Cleaning) {}

func (l *sinkLog) RetentionPoint(minTimestamp, maxBytes int64) (p int64) { return 0 }

// The path of a batch that belongs to no transaction, from its validation to its acknowledgement.
func BenchmarkAppend(b *testing.B) {
	for name, producer := range map[string]int64{"plain": record.NoProducer, "idempotent": 7} {
		b.Run(name, func(b *testing.B) {
			clock := &fakeClock{}
			m := newManager(Options{Loop: task.NewLoop(clock), Env: env.Env{Clock: clock}, ProducerIDExpiration: time.Hour, Engine: &fakeEngine{batchMax: 1 << 20}})
			state, _ := LoadState(nil, 0, 0)
			log := &sinkLog{}
			p := &Partition{Name: "t", manager: m, state: state, log: log, topic: &topic{config: config.Topic{
				CleanupPolicy: "delete", MaxMessageBytes: 1 << 20, RecordBytesMax: 1 << 30, TimestampBeforeMaxMillis: 1<<63 - 1, TimestampAfterMaxMillis: 3_600_000,
			}}}
			builder := record.Builder{ProducerID: producer, ProducerEpoch: -1, BaseSequence: -1}
			if producer >= 0 {
				builder.ProducerEpoch, builder.BaseSequence = 0, 0
			}
			data := builder.AppendBatch(nil, []record.Record{{Timestamp: wallZero, Value: make([]byte, 100)}})
			h, _ := record.Check(data)
			facts, _ := record.Validate(&h, data, 1<<20)
			done := func(*Append) {}
			release := func() {}
			b.ReportAllocs()
			for b.Loop() {
				a := Append{Header: h, Data: data, Facts: facts, Done: done, Release: release}
				p.Append(&a)
				p.Durable(log.end)
				if producer >= 0 {
					h.BaseSequence++
				}
			}
		})
	}
}
