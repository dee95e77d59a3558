package partition

import "weir/core/wire"

// block notes that p has appends for which the stream had no room.
func (m *Manager) block(p *Partition) {
	if p.blocked {
		return
	}
	p.blocked = true
	m.blocked.Push(p)
	m.armQueueCheck()
}

// space tries the blocked partitions again, in the order in which they blocked,
// until the stream is full once more. A partition that cannot empty its queue
// keeps its turn, so that a large batch is not starved by small ones.
func (m *Manager) space() {
	for m.blocked.Len() > 0 {
		p := *m.blocked.Front()
		if p.closed == wire.None && !p.retry() {
			return
		}
		m.blocked.Pop()
		p.blocked = false
	}
	m.loop.Stop(&m.queueTimer)
}

func (m *Manager) armQueueCheck() {
	if !m.queueTimer.Pending() && !m.stopped {
		m.loop.Reset(&m.queueTimer, queueCheckInterval, m.checkQueues)
	}
}

// checkQueues answers the appends that have waited too long.
func (m *Manager) checkQueues() {
	now := m.loop.Now()
	for p := range m.blocked.All() {
		p.expireQueue(now)
	}
	if m.blocked.Len() > 0 {
		m.armQueueCheck()
	}
}
