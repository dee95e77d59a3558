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

// AwaitJoin gives a classic member its rebalance timeout to join again, unless it has been given it already.
func (m *Member) AwaitJoin(now env.Time) {
	if m.deadlines.join == 0 {
		m.deadlines.join = now.Add(m.rebalanceTimeout())
	}
}

// Joined begins the wait for the SyncGroup of a classic member that has joined, and Synced ends it.
func (m *Member) Joined(now env.Time) {
	m.deadlines.join, m.deadlines.sync = 0, now.Add(m.rebalanceTimeout())
}

// Synced ends what Joined began.
func (m *Member) Synced() { m.deadlines.sync = 0 }

func (m *Member) rebalanceTimeout() time.Duration {
	return time.Duration(max(m.RebalanceTimeoutMillis, 0)) * time.Millisecond
}

// first is the earliest deadline that runs.
func (d *deadlines) first() env.Time {
	first := d.session
	for _, other := range []env.Time{d.revoked, d.join, d.sync} {
		if other != 0 {
			first = min(first, other)
		}
	}
	return first
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
			d.revoked = now.Add(m.rebalanceTimeout())
		}
		first := d.first()
		if first <= now {
			expired = append(expired, m)
			continue
		}
		if next == 0 || first < next {
			next = first
		}
	}
	return expired, next
}
