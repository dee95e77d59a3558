package model

import "fmt"

// The parts of rules that leases rest on.
const (
	confirmed   = "R9: a heartbeat is answered once a majority confirms the leadership"
	fromSending = "R9: the lease runs from the sending of the heartbeat"
	shortened   = "R9: the lease is shorter than the session by the drift bound"
	newWaits    = "R9: a new controller takes it that every broker got a lease at its election"
	stopsFirst  = "R10: the controller stops answering before it waits"
	waitsOut    = "R10: the fence is proposed once every lease has ended"
	lengthened  = "R10: the wait is longer than the session by the drift bound"
	ofItsTerm   = "R10: a fence counts only in its controller's term"
	registering = "R11: a registration of the same node waits likewise"
	sealWaits   = "R12: a seal does not spare the wait"
	ownSeal     = "R12: a partition leaves a living broker only by that broker's own seal"

	session  = 3 // time steps
	driftMax = 1 // by so much each of the two clocks may be off within a session, in the direction that does harm: once in a run
)

// leaseRules are all of them.
var leaseRules = []string{
	confirmed, fromSending, shortened, newWaits, stopsFirst, waitsOut, lengthened, ofItsTerm, registering, sealWaits, ownSeal,
}

// controller is what the active one, or one that believes to be, knows of the broker.
type controller struct {
	wait     uint8 // until every lease that it granted has ended, on the controllers' clock
	ending   bool  // it is going to end the broker's epoch
	register bool  // ... because a younger process of the node wants to register, and else by a fence
	proposed bool  // the end is on its way to the log
}

// Leases is a state of a broker that leads a partition, of two controllers, the second of which may depose the first at any time,
// and of the clocks. Times are as from now, so that a run may last for ever.
type Leases struct {
	behind, ahead bool // a clock has been off: the broker's, the controllers'

	sent    uint8 // age of the heartbeat that is on its way, on the broker's clock, plus one; 0: none
	granted uint8 // the same of an answer that is on its way
	lease   uint8 // for how long the broker still serves, on its clock

	second bool // has deposed the first, who may not know
	by     [2]controller
	ended  bool // the broker's epoch has, or another has sealed its partition: the next leader acknowledges
}

// searchLeases searches the model without some rules.
func searchLeases(off rules) finding {
	m := leaseModel{off}
	return search(Leases{}, m.steps, m.broken)
}

type leaseModel struct{ rules }

// takeLeases is called for each step that may come next.
type takeLeases = func(step string, to Leases)

func (m leaseModel) steps(s Leases, take takeLeases) {
	m.passes(s, take)
	m.renews(s, take)
	if !s.second {
		to := s
		to.second = true
		if m.keeps(newWaits) {
			to.by[1].wait = m.wait()
		}
		take("controller 2 is elected", to)
	}
	for i := range s.by {
		if i == 0 || s.second {
			m.answers(s, i, take)
			m.fences(s, i, take)
		}
	}
	if !s.ended && !m.keeps(ownSeal) {
		s.ended = true
		take("another broker seals the partition", s)
	}
}

// wait is for how long after a heartbeat came a lease may last, on the controllers' clock.
func (m leaseModel) wait() uint8 {
	if m.keeps(lengthened) {
		return session + driftMax
	}
	return session
}

// passes is time.
func (m leaseModel) passes(s Leases, take takeLeases) {
	take("time passes", s.after(1, 1))
	if !s.behind {
		to := s.after(0, 1)
		to.behind = true
		take("time passes, not on the broker's clock", to)
	}
	if !s.ahead {
		to := s.after(1, 2)
		to.ahead = true
		take("time passes, twice on the controllers' clock", to)
	}
}

// after is the state after so much time on the clocks. What is on its way for a session gives no lease any more: it grows no older.
func (s Leases) after(broker, controllers uint8) Leases {
	for _, age := range []*uint8{&s.sent, &s.granted} {
		if *age > 0 {
			*age = min(*age+broker, session+1)
		}
	}
	s.lease -= min(s.lease, broker)
	for i := range s.by {
		s.by[i].wait -= min(s.by[i].wait, controllers)
	}
	return s
}

// renews is what the broker does for its lease.
func (m leaseModel) renews(s Leases, take takeLeases) {
	if s.sent == 0 {
		to := s
		to.sent = 1
		take("the broker sends a heartbeat", to)
	} else {
		to := s
		to.sent = 0
		take("the heartbeat is lost", to)
	}
	if s.granted == 0 {
		return
	}
	age := s.granted - 1
	if !m.keeps(fromSending) {
		age = 0
	}
	length := uint8(session)
	if m.keeps(shortened) {
		length -= driftMax
	}
	s.granted, s.lease = 0, max(s.lease, length-min(age, length))
	take(fmt.Sprintf("the broker learns that it has a lease for %d more", s.lease), s)
}

// answers is a controller's answer to a heartbeat.
func (m leaseModel) answers(s Leases, i int, take takeLeases) {
	c := &s.by[i]
	deposed := i == 0 && s.second
	if s.sent == 0 || s.granted != 0 || s.ended && !deposed || deposed && m.keeps(confirmed) || c.ending && m.keeps(stopsFirst) {
		return
	}
	if !c.ending {
		c.wait = m.wait()
	}
	s.granted, s.sent = s.sent, 0
	take(fmt.Sprintf("controller %d answers the heartbeat", i+1), s)
}

// fences is a controller's way to the end of the epoch.
func (m leaseModel) fences(s Leases, i int, take takeLeases) {
	c := s.by[i]
	who := fmt.Sprintf("controller %d", i+1)
	switch {
	case s.ended:
	case !c.ending:
		for _, register := range []bool{false, true} {
			to := s
			to.by[i].ending, to.by[i].register = true, register
			take(fmt.Sprintf("%s is going to end the epoch (for a registration: %v)", who, register), to)
		}
	case !c.proposed:
		if c.wait == 0 || m.spares(c) {
			s.by[i].proposed = true
			take(who+" proposes the end of the epoch", s)
		}
	default:
		s.by[i].proposed, s.by[i].ending = false, false
		if i == 1 || !s.second || !m.keeps(ofItsTerm) {
			s.ended = true
		}
		take("the proposal of "+who+" comes to the log", s)
	}
}

// spares reports whether a controller does not wait for the leases that it granted.
func (m leaseModel) spares(c controller) bool {
	return !m.keeps(waitsOut) || !m.keeps(sealWaits) && !c.register || !m.keeps(registering) && c.register
}

// broken: the broker serves reads while the next leader acknowledges what it does not know of.
func (m leaseModel) broken(s Leases) string {
	if s.ended && s.lease > 0 {
		return fmt.Sprintf("the broker serves for %d more, and the next leader acknowledges", s.lease)
	}
	return ""
}
