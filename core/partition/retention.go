package partition

import (
	"strings"
)

func (m *Manager) armHousekeeping() {
	if m.options.HousekeepingInterval > 0 {
		m.loop.Reset(&m.houseTimer, m.options.HousekeepingInterval, m.housekeeping)
	}
}

// housekeeping applies retention, forgets idle producers and looks for transactions that hang.
func (m *Manager) housekeeping() {
	now, late := m.loop.Now(), 0
	expiration := m.options.ProducerIDExpiration
	m.early.expire(now, expiration)
	for _, p := range m.partitions {
		if expiration > 0 {
			p.state.expire(now, expiration)
			p.verified.expire(now, expiration)
			p.gaps.expire(now, expiration)
		}
		late += p.lateTransactions(now)
		p.retain()
	}
	m.transactionsLate.Set(int64(late))
	m.producersKnown.Set(int64(m.producers.known))
	if !m.trimFailed {
		m.retained.Now()
	}
	m.trimFailed = false
	m.armHousekeeping()
}

// retain asks for the log start that retention.ms and retention.bytes call for.
func (p *Partition) retain() {
	c := &p.topic.config
	if !strings.Contains(c.CleanupPolicy, "delete") || (c.Retention < 0 && c.RetentionBytes < 0) {
		return
	}
	oldest, most := int64(-1), int64(-1)
	if c.Retention >= 0 {
		oldest = max(p.manager.env.Clock.WallMillis()-c.Retention.Milliseconds(), 0)
	}
	if c.RetentionBytes >= 0 {
		most = c.RetentionBytes
	}
	if point := p.log.RetentionPoint(oldest, most); point > p.LogStart() {
		p.manager.retention.Hit()
		// A refusal is no harm: the next round asks again.
		p.manager.options.Trim(p.Stream, point, func(err error) { p.manager.trimFailed = p.manager.trimFailed || err != nil })
	}
}
