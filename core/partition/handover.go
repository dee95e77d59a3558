package partition

import (
	"weir/core/wire"
)

// Handover gives a partition to another leader, or to this one under a new epoch (R15): appends wait in the queue from now on,
// and once all that was appended is durable, nothing is read either, and the range can be sealed at its end. Nothing that this
// partition has acknowledged, and nothing that it might still acknowledge, lies above the seal.
type Handover struct {
	Partition  *Partition
	End        int64  // where the range ends, once Ready has run
	Checkpoint []byte // the state exactly as of End
	// Ready runs once, when the range can be sealed, unless the partition closes first.
	Ready func(*Handover)

	ready bool
}

// HandOver begins a handover, unless one is under way or the partition is closed: nil. The partition goes on once it is closed, by a record
// that seals its range, or by [Handover.Resume].
func (p *Partition) HandOver(ready func(*Handover)) *Handover {
	if p.closed != wire.None || p.handover != nil {
		return nil
	}
	h := &Handover{Partition: p, Ready: ready}
	p.handover = h
	p.stepHandover()
	return h
}

// Resume ends a handover that is certainly not going to happen: nobody has proposed its seal, or will. It ends no other one of the partition.
func (h *Handover) Resume() {
	p := h.Partition
	if p.handover != h || p.closed != wire.None {
		return
	}
	p.handover = nil
	if p.queue.Len() > 0 {
		p.pump()
	}
	p.wake()
}

// stepHandover ends the wait for what was appended.
func (p *Partition) stepHandover() {
	h := p.handover
	if h == nil || h.ready || p.acks.Len() > 0 || len(p.duplicates) > 0 || p.log.End() != p.log.HighWatermark() {
		return
	}
	h.ready = true
	h.End, h.Checkpoint = p.log.End(), p.Checkpoint(nil)
	p.manager.loop.Post(func() {
		if p.handover == h && p.closed == wire.None {
			h.Ready(h)
		}
	})
}

// HandingOver reports whether the partition serves nothing since a seal of it is under way: soon it has another leader.
func (p *Partition) HandingOver() bool {
	return p.handover != nil && p.handover.ready && p.closed == wire.None
}

// Serves says whether the partition may be read now: None, or why not. It is checked when a request comes, and again when its
// answer is made (R9, R15).
func (p *Partition) Serves() wire.Code {
	switch {
	case p.closed != wire.None:
		return p.closed
	case p.HandingOver(), !p.manager.leased():
		return wire.NotLeaderOrFollower
	}
	return wire.None
}

func (m *Manager) leased() bool { return m.options.Leased == nil || m.options.Leased() }
