package partition

import "weir/core/record"

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

// noteGap remembers a batch that is not appended, if nothing else would.
func (p *Partition) noteGap(h *record.Header) {
	if !h.Idempotent() || p.state.find(h.ProducerID) != nil {
		return
	}
	i := p.gapOf(h)
	switch {
	case i >= 0 && p.gaps[i].epoch >= h.ProducerEpoch:
		return
	case i >= 0:
		p.gaps = append(p.gaps[:i], p.gaps[i+1:]...)
	case len(p.gaps) == gapsMax:
		p.gaps = append(p.gaps[:0], p.gaps[1:]...)
	}
	p.gaps = append(p.gaps, gap{h.ProducerID, h.ProducerEpoch, h.BaseSequence})
}

// behindGap reports whether a batch must wait for one that was not appended. The gap is
// closed by that batch, or by a new epoch of its producer.
func (p *Partition) behindGap(h *record.Header) bool {
	i := p.gapOf(h)
	if i < 0 {
		return false
	}
	g := p.gaps[i]
	if h.ProducerEpoch < g.epoch || h.ProducerEpoch == g.epoch && h.BaseSequence != g.sequence {
		p.manager.heldBack.Hit()
		return true
	}
	p.gaps = append(p.gaps[:i], p.gaps[i+1:]...)
	return false
}

func (p *Partition) gapOf(h *record.Header) int {
	for i := range p.gaps {
		if p.gaps[i].producer == h.ProducerID {
			return i
		}
	}
	return -1
}
