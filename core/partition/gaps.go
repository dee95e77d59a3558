package partition

import (
	"slices"

	"weir/core/metadata"
	"weir/core/record"
)

// gapsMax bounds the gaps of one partition; beyond it the oldest is forgotten.
const gapsMax = 256

// gap is a batch that was refused or given up before it was appended, the first such of
// its producer's epoch. The state takes any sequence from a producer that it does not know;
// but what follows the batch must not stand in its place, or its retry would come out of
// order for ever. Kafka does not close this gap.
type gap struct {
	producer int64
	epoch    int16
	sequence int32
}

// gaps are those of one partition, the oldest first, one for each producer.
type gaps []gap

// note remembers a batch that is not appended.
func (s *gaps) note(h *record.Header) {
	all := *s
	i := all.find(h.ProducerID)
	switch {
	case i >= 0 && all[i].epoch >= h.ProducerEpoch:
		return
	case i >= 0:
		all = slices.Delete(all, i, i+1)
	case len(all) == gapsMax:
		all = slices.Delete(all, 0, 1)
	}
	*s = append(all, gap{h.ProducerID, h.ProducerEpoch, h.BaseSequence})
}

func (s gaps) find(producer int64) int {
	return slices.IndexFunc(s, func(g gap) bool { return g.producer == producer })
}

// noteGap remembers a client's batch that is not appended, if nothing else would. What coordinators append is in no
// sequence: a batch that waited for their marker to come first would wait for ever.
func (p *Partition) noteGap(a *Append) {
	h := &a.Header
	if a.Origin == OriginClient && h.Idempotent() && p.state.find(h.ProducerID) == nil {
		p.gaps.note(h)
	}
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
			p.gaps.note(h)
		}
		return
	}
	early := t.early[index]
	early.note(h)
	if t.early == nil {
		t.early = make(map[int32]gaps)
	}
	t.early[index] = early
}

// takeEarly moves what was noted before the partition was open. A producer that turns out to be known
// needs no gap.
func (p *Partition) takeEarly() {
	p.gaps = slices.DeleteFunc(p.topic.early[p.Index], func(g gap) bool { return p.state.find(g.producer) != nil })
	delete(p.topic.early, p.Index)
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
