package partition

import (
	"fmt"

	"weir/core/compress"
	"weir/core/record"
	"weir/core/task"
	"weir/core/wire"
)

// recodedBytesMax bounds the bytes of all batches that were compressed anew, or are about to be, and are not in the log yet. A
// request's budget does not count them: what a producer compressed well may become much larger.
const recodedBytesMax = 64 << 20

// recoder compresses batches as their topic's compression.type says, off the loop. It has a budget of its own; a batch that finds no
// room waits, and those behind it in its partition with it.
type recoder struct {
	held    int64
	waiting task.Queue[*recoding]
}

// recoding is one batch on its way through the recoder: the head of its partition's queue.
type recoding struct {
	partition *Partition
	append    *Append
	bytes     int64 // at most, of the result
	dropped   bool  // the append was answered meanwhile
}

// target is what a client's batch has to be compressed with, if that is not what it is.
func (p *Partition) target(a *Append) (to compress.Target, ok bool) {
	c := &p.topic.config
	to = compress.Target{Codec: compress.Codec(c.Codec), Level: c.CodecLevel}
	return to, a.Origin == OriginClient && !a.recoded && c.Recompress && to.Codec != a.Header.Codec()
}

// recode begins to compress the head of the queue anew.
func (p *Partition) recode(a *Append) {
	r := &recoding{partition: p, append: a, bytes: min(int64(a.Facts.Bytes)+record.HeaderBytes, int64(p.topic.config.MaxMessageBytes)) + record.HeaderBytes}
	p.recoding = r
	p.manager.recoder.waiting.Push(r)
	p.manager.pumpRecoder()
}

// pumpRecoder starts what has room, in order of arrival. A batch that is larger than all of it goes alone.
func (m *Manager) pumpRecoder() {
	q := &m.recoder
	for q.waiting.Len() > 0 && (q.held == 0 || q.held+(*q.waiting.Front()).bytes <= recodedBytesMax) {
		r := q.waiting.Pop()
		if r.dropped {
			r.append.Release()
			continue
		}
		q.held += r.bytes
		m.startRecoding(r)
	}
}

func (m *Manager) startRecoding(r *recoding) {
	a, c := r.append, &r.partition.topic.config
	to, limit := compress.Target{Codec: compress.Codec(c.Codec), Level: c.CodecLevel}, min(int(c.MaxMessageBytes), m.options.Engine.AppendBytesMax())
	var out []byte
	var err error
	m.compute(func() { out, err = record.Recode(a.Data, to, a.Facts.Bytes, limit) }, func() {
		a.Release() // the frame: what is appended is the result
		a.Release = func() { m.recodedGone(r) }
		r.done(out, err, limit)
	})
}

// close gives back what still waits for room; its partitions are closed.
func (q *recoder) close() {
	for q.waiting.Len() > 0 {
		q.waiting.Pop().append.Release()
	}
}

// recodedGone gives the room of a result back, in a turn of its own part: releases happen in the middle of appends.
func (m *Manager) recodedGone(r *recoding) {
	m.recoder.held -= r.bytes
	m.loop.Post(m.pumpRecoder)
}

// done goes on with the queue of the partition.
func (r *recoding) done(out []byte, err error, limit int) {
	p, a := r.partition, r.append
	if r.dropped {
		a.Release()
		return
	}
	p.recoding = nil
	if p.handover != nil {
		p.manager.recodedLate.Hit() // it waits in the queue with the others
	}
	if err != nil {
		p.queue.Pop()
		a.refuse(wire.MessageTooLarge, fmt.Sprintf("the batch, compressed as compression.type says: %v; at most %d bytes are taken", err, limit))
	} else {
		a.Data, a.recoded = out, true
		a.Header, _ = record.ReadHeader(out)
		p.manager.recodes.Hit()
	}
	p.pump()
}
