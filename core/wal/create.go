package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

type timer = task.Timer

// Create makes the log of one broker epoch; an existing name is env.ErrExist (R5). done gets the
// log once its superblock and a first stretch of zeros are durable; growth goes on in the
// background. failed is called at most once, when the device failed: nothing is acknowledged after
// it, and the incarnation must end. summary may be nil: then no summaries are written.
func Create(loop *task.Loop, e env.Env, config Config, name string, brokerEpoch int64, summary Summarizer, failed func(error), done func(*Log, error)) {
	config, err := config.resolve()
	if err == nil && (e.WAL.BlockBytes() <= 0 || blockBytes%e.WAL.BlockBytes() != 0) {
		err = fmt.Errorf("create wal: the device's blocks of %d bytes do not divide %d", e.WAL.BlockBytes(), blockBytes)
	}
	if err != nil {
		done(nil, err)
		return
	}
	l := &Log{
		loop: loop, env: e, config: config, name: name, failed: failed,
		super: superblock{
			epoch: brokerEpoch, nonce: e.Rand.Uint64("wal nonce", uint64(brokerEpoch), 0),
			region: config.SizeBytes, ahead: config.aheadBytes(), summary: noPosition,
		},
		apart:     Position(max(blockBytes, min(config.SizeBytes/4096, 256<<10))),
		threshold: blockBytes,
		summary:   summaryState{source: summary, next: Position(config.SummaryEveryBytes)},
		metrics:   newMetrics(e.Metrics),
	}
	e.WAL.Open(&env.DiskOpen{Name: name, Create: true, Exclusive: true, Direct: true, Done: func(op *env.DiskOpen) {
		if op.Err != nil {
			done(nil, fmt.Errorf("create wal file %q: %w", name, op.Err))
			return
		}
		l.file = op.File
		l.metrics.size.Set(l.super.region)
		l.writeHead(done)
	}})
}

// writeHead writes superblock 0, an empty superblock 1 and the first zeros in one go.
func (l *Log) writeHead(done func(*Log, error)) {
	first := int(min(growChunkBytes, l.config.GrowBytes, l.super.region))
	slab := l.env.Memory.Alloc(headBytes + first)
	data := slab.Data[:headBytes+first]
	super := l.super
	l.growth.slab, l.growth.zeros = slab, data[headBytes:]
	l.growth.op = env.DiskWrite{
		File: l.file, Data: data, Durable: true,
		Prepare: func() { clear(data[blockBytes:]); super.encode(data[:blockBytes]) },
		Done:    func(op *env.DiskWrite) { l.headWritten(op, done) },
	}
	l.env.WAL.Write(&l.growth.op)
}

func (l *Log) headWritten(op *env.DiskWrite, done func(*Log, error)) {
	if op.Err != nil {
		l.growth.abandon()
		l.env.WAL.Close(l.file)
		done(nil, fmt.Errorf("write the head of wal file %q: %w", l.name, op.Err))
		return
	}
	l.growth.grown = int64(len(l.growth.zeros))
	if l.growth.grown == l.super.region {
		l.growth.abandon()
	}
	l.supers.slab = l.env.Memory.Alloc(blockBytes)
	l.supers.saved = l.super.content()
	l.loop.OnTurnEnd(l.flush)
	done(l, nil)
}
