package partition

import "weir/core/wire"

// block notes that p has appends for which the stream had no room.
func (m *Manager) block(p *Partition) {
	if p.blocked {
		return
	}
	p.blocked = true
	m.blocked.push(p)
	m.armQueueCheck()
}

// space tries the blocked partitions again, in the order in which they blocked,
// until the stream is full once more. A partition that cannot empty its queue
// keeps its turn, so that a large batch is not starved by small ones.
func (m *Manager) space() {
	for m.blocked.len() > 0 {
		p := *m.blocked.front()
		if p.closed == wire.None && !p.retry() {
			return
		}
		m.blocked.pop()
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
	for _, p := range m.blocked.items[m.blocked.head:] {
		p.expireQueue(now)
	}
	if m.blocked.len() > 0 {
		m.armQueueCheck()
	}
}
