package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

type timer = task.Timer

// Create makes the log of one broker epoch; an existing name is env.ErrExist (R5). done gets the
// log once its superblock is durable. It has no room for appends then: growth comes in the
// background, and may have to wait for room on the device, while the caller can already recover
// and remove older logs. failed is called at most once, when the device failed: nothing is
// acknowledged after it, and the incarnation must end. summary may be nil: then no summaries are
// written.
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

// writeHead writes superblock 0 and an empty superblock 1.
func (l *Log) writeHead(done func(*Log, error)) {
	slab := l.env.Memory.Alloc(headBytes)
	data := slab.Data[:headBytes]
	super := l.super
	l.env.WAL.Write(&env.DiskWrite{
		File: l.file, Data: data, Durable: true,
		Prepare: func() { clear(data[blockBytes:]); super.encode(data[:blockBytes]) },
		Done: func(op *env.DiskWrite) {
			slab.Release()
			l.headWritten(op, done)
		},
	})
}

func (l *Log) headWritten(op *env.DiskWrite, done func(*Log, error)) {
	if op.Err != nil {
		l.env.WAL.Close(l.file)
		done(nil, fmt.Errorf("write the head of wal file %q: %w", l.name, op.Err))
		return
	}
	l.growth.begin(l)
	l.supers.slab = l.env.Memory.Alloc(blockBytes)
	l.supers.saved = l.super.content()
	l.loop.OnTurnEnd(l.flush)
	done(l, nil)
}
