package wal

import (
	"fmt"

	"weir/core/env"
	"weir/core/task"
)

// Create makes the log of one broker epoch on the disk; an existing name is env.ErrExist (R5). done gets
// the log once its superblock is durable. It has no room for appends then: growth comes in the
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
	id := identity{epoch: brokerEpoch, nonce: e.Rand.Uint64("wal nonce", uint64(brokerEpoch), 0)}
	l := newLog(loop, e, config, name, id, blockBytes, summary, failed)
	d := newDevice(l)
	l.medium = d
	d.create(func(err error) {
		if err != nil {
			done(nil, err)
			return
		}
		l.start()
		done(l, nil)
	})
}
