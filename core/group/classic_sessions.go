package group

import (
	"time"

	"weir/core/env"
	"weir/core/task"
	"weir/core/wire"
)

// session is the deadline of a member. A heartbeat moves the deadline only: the timer finds it when it fires.
type session struct {
	timer    task.Timer
	deadline env.Time
	fires    env.Time
}

// extend moves a deadline.
func (m *Machine) extend(s *session, by time.Duration, expire func()) {
	s.deadline = m.Loop.Now().Add(by)
	if s.timer.Pending() && s.fires <= s.deadline {
		return
	}
	m.arm(s, expire)
}

func (m *Machine) arm(s *session, expire func()) {
	s.fires = s.deadline
	m.Loop.Reset(&s.timer, s.deadline.Sub(m.Loop.Now()), func() {
		if m.Loop.Now() < s.deadline {
			m.arm(s, expire)
			return
		}
		expire()
	})
}

func (m *Machine) stop(t *task.Timer) { m.Loop.Stop(t) }

// beat begins the session of a member anew.
func (c *classic) beat(mb *member) { c.beatFor(mb, mb.sessionTimeout) }

func (c *classic) beatFor(mb *member, timeout time.Duration) {
	c.m.extend(&mb.session, timeout, func() { c.sessionExpired(mb) })
}

// sessionExpired removes a member that was silent, and the others that were as long: all sessions of a group may end together,
// as after it was loaded.
func (c *classic) sessionExpired(mb *member) {
	if c.byID[mb.id] != mb || !c.isSilent(mb) {
		return
	}
	for _, o := range c.members {
		if !c.isSilent(o) {
			continue
		}
		c.m.count.expired.Add(1)
		c.answerJoinError(o, "", wire.UnknownMemberID)
		c.answerSyncError(o, wire.UnknownMemberID)
		c.detach(o)
	}
	c.compact()
	c.removed()
}

// isSilent reports whether a member's session is over. A parked request keeps its member, but for the first join of a new
// one, whose client may have given up long ago.
func (c *classic) isSilent(mb *member) bool {
	return mb.session.deadline <= c.m.Loop.Now() && (mb.isNew || mb.join == nil && mb.sync == nil)
}

// removed goes on after a member went.
func (c *classic) removed() {
	switch c.phase {
	case phaseStable, phaseCompleting:
		c.prepareRebalance()
	case phasePreparing:
		if c.allJoined() {
			c.completeJoin(nil)
		}
	}
}
