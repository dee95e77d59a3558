package partition

import (
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/record"
	"weir/core/task"
)

const (
	// gapsMax bounds the gaps of one partition; beyond it the oldest is forgotten.
	gapsMax = 256
	// earlyGapsMax bounds those of all partitions that are not open here, likewise: clients may send to any
	// broker, for any partition, as whichever producer they like.
	earlyGapsMax = 1 << 16
)

// gap is a batch that was refused or given up before it was appended, the first such of
// its producer's epoch. The state takes any sequence from a producer that it does not know;
// but what follows the batch must not stand in its place, or its retry would come out of
// order for ever. Kafka does not close this gap.
//
// A gap is forgotten once it is as old as a producer that expires. A producer that was refused here and went on at
// the leader is known when the partition opens here, unless it expired there: later than this, so that what it sends
// next waits for nothing.
type gap struct {
	producer int64
	epoch    int16
	sequence int32
	noted    env.Time
}

// gaps are those of one partition, the oldest first, one for each producer.
type gaps []gap

// note remembers a batch that is not appended; false: the gap was known.
func (s *gaps) note(h *record.Header, now env.Time) bool {
	all := *s
	i := all.find(h.ProducerID)
	switch {
	case i >= 0 && all[i].epoch >= h.ProducerEpoch:
		return false
	case i >= 0:
		all = slices.Delete(all, i, i+1)
	case len(all) == gapsMax:
		all = slices.Delete(all, 0, 1)
	}
	*s = append(all, gap{h.ProducerID, h.ProducerEpoch, h.BaseSequence, now})
	return true
}

// expire forgets gaps of at least the given age; 0: none.
func (s *gaps) expire(now env.Time, after time.Duration) {
	if after > 0 {
		*s = slices.DeleteFunc(*s, func(g gap) bool { return now.Sub(g.noted) >= after })
	}
}

func (s gaps) find(producer int64) int {
	return slices.IndexFunc(s, func(g gap) bool { return g.producer == producer })
}

// noteGap remembers a client's batch that is not appended, if nothing else would. What coordinators append is in no
// sequence: a batch that waited for their marker to come first would wait for ever.
func (p *Partition) noteGap(a *Append) {
	h := &a.Header
	if a.Origin == OriginClient && h.Idempotent() && p.state.find(h.ProducerID) == nil {
		p.gaps.note(h, p.manager.loop.Now())
	}
}

// earlyGaps are those of partitions that are not open here, for when they are moved here.
type earlyGaps struct {
	byPartition map[partitionID]gaps
	noted       task.Queue[earlyGap] // one for each gap, the oldest first, and some that are gone
}

type partitionID struct {
	topic metadata.TopicID
	index int32
}

type earlyGap struct {
	partition partitionID
	noted     env.Time
}

func (e *earlyGaps) note(id partitionID, h *record.Header, now env.Time) {
	of := e.byPartition[id]
	if !of.note(h, now) {
		return
	}
	e.byPartition[id] = of
	e.noted.Push(earlyGap{id, now})
	if e.noted.Len() > earlyGapsMax {
		e.forgetOldest()
	}
}

// forgetOldest forgets the oldest gap of the partition that was noted first.
func (e *earlyGaps) forgetOldest() {
	id := e.noted.Pop().partition
	if of := e.byPartition[id]; len(of) > 1 {
		e.byPartition[id] = slices.Delete(of, 0, 1)
		return
	}
	delete(e.byPartition, id)
}

func (e *earlyGaps) expire(now env.Time, after time.Duration) {
	for after > 0 && e.noted.Len() > 0 && now.Sub(e.noted.Front().noted) >= after {
		id := e.noted.Pop().partition
		of := e.byPartition[id]
		if of.expire(now, after); len(of) > 0 {
			e.byPartition[id] = of
			continue
		}
		delete(e.byPartition, id)
	}
}

// take gives up what was noted of a partition.
func (e *earlyGaps) take(id partitionID, now env.Time, after time.Duration) gaps {
	of := e.byPartition[id]
	delete(e.byPartition, id)
	of.expire(now, after)
	return of
}

// Refused notes a batch that was refused because its partition is not open here, or the broker's lease has ended: what its producer
// sent behind it may come once it is open, or moved here, or once the lease is renewed.
func (m *Manager) Refused(topic metadata.TopicID, name string, index int32, h *record.Header) {
	t := m.byID[topic]
	if t == nil {
		t = m.byName[name]
	}
	if t == nil || !h.Idempotent() || index < 0 || int(index) >= len(t.partitions) {
		return
	}
	if p := t.partitions[index]; p != nil {
		if p.state.find(h.ProducerID) == nil {
			p.gaps.note(h, m.loop.Now())
		}
		return
	}
	m.early.note(partitionID{t.id, index}, h, m.loop.Now())
}

// takeEarly moves what was noted before the partition was open. A producer that turns out to be known
// needs no gap.
func (p *Partition) takeEarly() {
	m := p.manager
	early := m.early.take(partitionID{p.topic.id, p.Index}, m.loop.Now(), m.options.ProducerIDExpiration)
	p.gaps = slices.DeleteFunc(early, func(g gap) bool { return p.state.find(g.producer) != nil })
}

// behindGap reports whether a batch must wait for one that was not appended. The gap is
// closed by that batch, or by a new epoch of its producer.
func (p *Partition) behindGap(h *record.Header) bool {
	i := p.gaps.find(h.ProducerID)
	if i < 0 {
		return false
	}
	g := p.gaps[i]
	if h.ProducerEpoch < g.epoch || h.ProducerEpoch == g.epoch && h.BaseSequence != g.sequence {
		p.manager.heldBack.Hit()
		return true
	}
	p.gaps = slices.Delete(p.gaps, i, i+1)
	return false
}
