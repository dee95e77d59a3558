package consumer

import (
	"time"

	"weir/core/config"
	"weir/core/env"
)

// Heard renews a member's session. It is called when the answer to a heartbeat leaves.
func (g *Group) Heard(member string, now env.Time, c *config.ConsumerGroup) {
	if m := g.Member(member); m != nil {
		m.deadlines.session = now.Add(m.sessionTimeout(c))
	}
}

func (m *Member) sessionTimeout(c *config.ConsumerGroup) time.Duration {
	if m.Classic != nil {
		return time.Duration(m.Classic.SessionTimeoutMillis) * time.Millisecond
	}
	return c.SessionTimeout
}

// Expired returns the members whose session or rebalance timeout is over, and when the next one is. Timeouts that do not run
// yet begin to: those of members that were loaded, and of members that were told to give partitions back. next is 0 if
// nothing can expire. It looks at every member.
func (g *Group) Expired(now env.Time, c *config.ConsumerGroup) (expired []*Member, next env.Time) {
	for _, m := range g.members {
		d := &m.deadlines
		if d.session == 0 {
			d.session = now.Add(m.sessionTimeout(c))
		}
		if d.revoked == 0 && m.State == Unrevoked && m.Classic == nil && m.Epoch != epochStaticLeft {
			d.revoked = now.Add(time.Duration(max(m.RebalanceTimeoutMillis, 0)) * time.Millisecond)
		}
		if d.session <= now || d.revoked != 0 && d.revoked <= now {
			expired = append(expired, m)
			continue
		}
		first := d.session
		if d.revoked != 0 {
			first = min(first, d.revoked)
		}
		if next == 0 || first < next {
			next = first
		}
	}
	return expired, next
}
