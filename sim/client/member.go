package client

import (
	"fmt"
	"time"

	"weir/core/wire"
	"weir/sim/checker"
	"weir/sim/event"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// MemberOptions configure a member of a consumer group.
type MemberOptions struct {
	// Topics are those that it subscribes to; all members of a group subscribe to the same.
	Topics []*Topic
	// Group is the id of its group, Retention after what time offsets may expire. 0: never.
	Group     string
	Retention time.Duration
	// Consumer makes it speak the protocol of KIP-848; Mixed says that others of its group do not speak the same.
	Consumer, Mixed bool
	// Cooperative makes it keep its partitions while the group rebalances (KIP-429).
	Cooperative bool
	// Static gives it a group.instance.id.
	Static bool
	// Session, Rebalance and Heartbeat are its timeouts and interval. With Consumer the broker says how often it wants heartbeats.
	Session, Rebalance, Heartbeat time.Duration
	// Pause is the mean time between two fetches.
	Pause time.Duration
	// Committed makes it read committed records only; Unstable has it fetch offsets without waiting for open transactions.
	Committed, Unstable bool
	// Choosy makes each incarnation of an eager member offer some of the group's protocols only. Expression subscribes
	// by a regular expression that matches the topics (KIP-848).
	Choosy     bool
	Expression string
	// Reserved is for how long the coordinator keeps the seat of a static member that leaves for a while (KIP-848). 0: the
	// history does not tell who else may get its partitions.
	Reserved time.Duration
	// Leave, Die and Freeze are how many heartbeats in a thousand are not sent: the member leaves the group, or is
	// started anew without leaving, or does nothing until its session is over, and then goes on.
	Leave, Die, Freeze int64
	// Slow is how many revocations in a thousand take a while, in which the member goes on with the partition (KIP-848).
	Slow int64
	// Mute is how many joins in a thousand are not followed by a SyncGroup, only by heartbeats. Quit is how many lost
	// connections in a thousand end the member for good, without a word.
	Mute, Quit int64
	// Large is how many commits in a thousand have metadata that are too large, Old how many have the oldest epoch
	// with which the member may commit (KIP-1251).
	Large, Old int64
	// Lag is how far below the newest version of each request it may speak, in thousandths of
	// the range that both sides have. 0: always the newest. At most 1000.
	Lag int64
}

// Member is a member of a consumer group. It reads what it is assigned, from the committed offset on, and commits.
type Member struct {
	session // to the coordinator
	options MemberOptions
	groupView
	reader *memberReader
	pipe   *Pipe // commits in transactions; nil: it commits itself

	id         string
	generation int32 // or member epoch
	phase      memberPhase
	members    []kmsg.JoinGroupResponseMember // for the leader to assign partitions to
	protocol   string
	busy       bool
	beat       event.Time // when the next heartbeat is due
	rest       event.Time // until then it does nothing
	zombie     bool       // it commits as soon as its rest is over
	leaving    bool
	reported   bool // the coordinator knows what it owns (KIP-848)
	full       bool // an answer may be lost: the next heartbeat says all, and is told all (KIP-848)
	interval   time.Duration
	ending     bool
	standIn    bool
	starts     int
	offers     []string // protocols that the incarnation supports
	mute       bool     // it does not ask for its assignment
	gone       bool     // it never comes back
	taken      int64    // call of the last heartbeat that was taken (KIP-848)
	reserved   []int    // ownerships, plus one, that wait for the return of a static member
}

type memberPhase uint8

const (
	outside memberPhase = iota
	joined              // and not synced
	stable
)

// memberPart is a member's view of a partition.
type memberPart struct {
	*Partition
	owned     bool
	ownership int        // in the history, plus one; it tells one time of ownership from another
	position  int64      // of the next fetch; -1: the committed offset is not known
	done      int64      // offset that is committed
	reset     bool       // it begins at the log start
	records   int64      // between done and position
	revoked   event.Time // when it is given up; 0: it is not
	since     int32      // an epoch at or after that of the assignment; -1: not known, an answer was lost
	anew      bool       // there was no committed offset, and one may have expired
}

// NewMember makes a member; Start starts it.
func NewMember(c *Cluster, client int, options MemberOptions) *Member {
	m := &Member{options: options, interval: options.Heartbeat}
	m.groupView = groupView{name: options.Group, history: c.Group(options.Group, options.Retention)}
	m.history.Mixed = m.history.Mixed || options.Mixed || options.Consumer
	m.initAs(c, client, "member", m)
	m.lag = options.Lag
	if options.Consumer {
		m.floors = map[int16]int16{keyOffsetCommit: 9, keyOffsetFetch: 9}
		if options.Expression != "" {
			m.floors[keyConsumerBeat] = 1
		}
	} else if options.Static { // the first versions with an instance id
		m.floors = map[int16]int16{keyOffsetCommit: 7, keyJoinGroup: 5, keyHeartbeat: 3, keyLeaveGroup: 3, keySyncGroup: 3}
	}
	for _, t := range options.Topics {
		for _, p := range t.Partitions {
			m.parts = append(m.parts, &memberPart{Partition: p, position: -1})
		}
	}
	m.reader = newMemberReader(m)
	m.restart()
	return m
}

// Keys of the requests of groups.
const (
	keyOffsetCommit = 8
	keyOffsetFetch  = 9
	keyJoinGroup    = 11
	keyHeartbeat    = 12
	keyLeaveGroup   = 13
	keySyncGroup    = 14
	keyConsumerBeat = 68
)

const (
	memberTick    = 20 * time.Millisecond
	memberRestMax = 2 * time.Second
	joinPatience  = 5 * time.Second // beyond the rebalance timeout
)

// Start connects and begins.
func (m *Member) Start() {
	m.connect()
	m.reader.connect()
	m.Queue.Call(m.draws.Duration(0, time.Second), m.tick)
}

// End stops what disturbs the group.
func (m *Member) End() {
	m.ending = true
	if m.leaving {
		m.restart() // whether it left is not known, and it has given up its partitions
	}
	m.rest, m.zombie, m.leaving = min(m.rest, m.Queue.Now()), false, false
}

// Stop ends the client, without a word to the coordinator.
func (m *Member) Stop() {
	m.stop()
	m.reader.stop()
}

// Settled reports whether the member has its place in the group, and has committed all that there is to read.
func (m *Member) Settled() bool {
	if m.standIn || m.gone {
		return true
	}
	if m.phase != stable || m.pipe != nil && m.pipe.open() {
		return false
	}
	if m.pipe != nil && (m.pipe.transactor.standIn || m.pipe.transactor.refusals > 0) {
		return true // it cannot write
	}
	for _, p := range m.parts {
		if p.owned && (p.position < p.high || p.done < p.position) {
			return false
		}
	}
	return true
}

// Unsettled says which partitions of the members' groups do not have one owner; empty: all have.
func Unsettled(members []*Member) string {
	owners, without := map[string]int{}, map[*checker.Group]bool{} // groups that the broker does not serve
	for _, m := range members {
		without[m.history] = without[m.history] || m.standIn
		for _, p := range m.parts {
			if p.owned {
				owners[m.options.Group+"/"+p.History.Name]++
			}
		}
	}
	for _, m := range members {
		if without[m.history] {
			continue
		}
		if !m.Settled() {
			return fmt.Sprintf("client %d in group %s", m.client, m.options.Group)
		}
		for _, p := range m.parts {
			if n := owners[m.options.Group+"/"+p.History.Name]; n != 1 {
				return fmt.Sprintf("%s in group %s, which has %d owners", p.History.Name, m.options.Group, n)
			}
		}
	}
	return ""
}

// called is the member in the history: a static one keeps its name.
func (m *Member) called() string {
	if m.options.Static {
		return fmt.Sprintf("instance-%d", m.client)
	}
	return m.id
}

func (m *Member) instance() *string {
	if m.options.Static {
		return kmsg.StringPtr(fmt.Sprintf("instance-%d", m.client))
	}
	return nil
}

// restart makes a new incarnation of the member.
func (m *Member) restart() {
	m.drop()
	m.starts++
	m.id, m.generation, m.phase, m.reported, m.mute = "", 0, outside, false, false
	m.offer()
	if m.options.Consumer {
		m.id = fmt.Sprintf("member-%d-%d", m.client, m.starts) // clients choose it (version 1)
	}
}

// drop gives up all partitions.
func (m *Member) drop() {
	for _, p := range m.parts {
		p.owned = false
	}
}

// own takes a partition: its committed offset has to be fetched.
func (m *Member) own(p *memberPart) {
	p.owned, p.position, p.done, p.reset, p.records, p.since, p.revoked = true, -1, -1, false, 0, m.generation, 0
	now := m.Stamp()
	m.history.Owned = append(m.history.Owned, checker.Ownership{Client: int32(m.client), Member: m.called(), Epoch: m.generation, Partition: p.History.Name, From: now, To: now})
	p.ownership = len(m.history.Owned)
}

// confirm notes that the coordinator took a request of a member that owned its partitions when it was called.
func (m *Member) confirm(call int64) {
	for _, p := range m.parts {
		if p.owned {
			if o := &m.history.Owned[p.ownership-1]; o.From < call {
				o.To = max(o.To, call)
			}
		}
	}
}

func (m *Member) sessionUp() {
	m.busy, m.full, m.mute = false, true, false // a coordinator that was loaded does not know who owes a SyncGroup
	if !m.speaks(keyJoinGroup) || m.options.Consumer && !m.speaks(keyConsumerBeat) {
		m.standIn = true
		return
	}
	if m.starts > 0 && m.losses > 0 && !m.gone && !m.ending && m.draws.PerMille(m.options.Quit) {
		m.gone = true
		m.restart()
		m.Queue.Hit("client: a member is gone for good")
	}
	for _, p := range m.parts {
		p.since = -1
	}
	m.busy = true
	m.learn(m.options.Topics, func(known bool) {
		if !known {
			m.after(100*time.Millisecond, m.sessionUp)
			return
		}
		m.findCoordinator(m.options.Group, 0, func() {
			m.busy = false
			m.step()
		})
	})
}

func (m *Member) tick() {
	if m.stopped || m.standIn || m.gone {
		return
	}
	m.step()
	m.Queue.Call(memberTick, m.tick)
}

// call sends a request to the coordinator; its answer, or its loss, ends what is under way.
func (m *Member) call(limit time.Duration, r kmsg.Request, done func(kmsg.Response)) {
	m.busy = true
	m.requestWithin(limit, r, func(response kmsg.Response, err error) {
		m.busy = false
		if err == nil {
			done(response)
		}
	})
}

// step does what comes next.
func (m *Member) step() {
	now := m.Queue.Now()
	if !m.up || m.busy || m.stopped || m.standIn || m.gone || now < m.rest {
		return
	}
	switch {
	case m.leaving:
		m.leave()
	case m.giveUp():
		m.step()
	case m.zombie && m.phase == stable:
		m.zombie = false
		m.commit(m.step)
	case m.phase == outside && m.options.Consumer:
		m.consumerBeat()
	case m.phase == outside:
		m.join()
	case m.phase == joined && !m.mute:
		m.sync()
	case now >= m.beat || m.options.Consumer && !m.reported:
		m.heartbeat()
	case m.phase == joined:
	case m.unlocated():
		m.locate()
	default:
		m.commitDue()
	}
}

// heartbeat sends one, or does something worse.
func (m *Member) heartbeat() {
	m.beat = m.Queue.Now().Add(m.draws.Duration(m.interval/2, m.interval))
	if !m.ending {
		switch draw := m.draws.Below(1000); {
		case draw < m.options.Leave:
			m.leaving = true
			m.step()
			return
		case draw < m.options.Leave+m.options.Die:
			m.die()
			return
		case draw < m.options.Leave+m.options.Die+m.options.Freeze:
			m.zombie = true
			m.rest = m.Queue.Now().Add(m.draws.Duration(m.options.Session, 2*m.options.Session))
			return
		}
	}
	if m.options.Consumer {
		m.consumerBeat()
		return
	}
	r := kmsg.NewPtrHeartbeatRequest()
	r.Group, r.Generation, r.MemberID, r.InstanceID = m.options.Group, m.generation, m.id, m.instance()
	call := m.Stamp()
	m.call(requestTimeout, r, func(response kmsg.Response) {
		switch code := response.(*kmsg.HeartbeatResponse).ErrorCode; code {
		case 0: // also the answer of a coordinator that is loading, as in Kafka: it confirms nothing
			m.step()
		case wire.RebalanceInProgress:
			m.confirm(call)
			m.commit(m.rejoin)
		default:
			m.refused("Heartbeat", code)
		}
	})
}

// die starts the member anew. One of KIP-848 may come back at once, under its id (a rejoin with epoch 0).
func (m *Member) die() {
	if m.options.Consumer && m.draws.PerMille(500) {
		m.drop()
		m.generation, m.phase, m.reported = 0, outside, false
		m.pause()
		return
	}
	m.restart()
	m.rest = m.Queue.Now().Add(m.draws.Duration(0, memberRestMax))
}

// rejoin takes part in a rebalance.
func (m *Member) rejoin() {
	m.phase, m.mute = outside, false
	m.step()
}

// refused goes on after an error.
func (m *Member) refused(what string, code int16) {
	m.mute = false
	switch code {
	case wire.GroupIDNotFound, wire.UnknownMemberID, wire.FencedMemberEpoch:
		m.drop()
		if m.phase, m.generation, m.reported = outside, 0, false; !m.options.Consumer {
			m.id = ""
		}
	case wire.IllegalGeneration:
		m.drop()
		m.phase = outside
	case wire.FencedInstanceID, wire.UnreleasedInstanceID, wire.GroupMaxSizeReached, wire.InconsistentGroupProtocol:
		m.restart()
		m.rest = m.Queue.Now().Add(m.draws.Duration(100*time.Millisecond, memberRestMax))
	case wire.RebalanceInProgress:
		m.phase = outside
	case wire.StaleMemberEpoch:
		m.beat = m.Queue.Now() // an answer to a heartbeat tells the epoch
	case wire.NotCoordinator, wire.CoordinatorNotAvailable, wire.CoordinatorLoadInProgress:
		m.busy = true
		m.after(m.draws.Duration(10*time.Millisecond, 60*time.Millisecond), func() {
			m.findCoordinator(m.options.Group, 0, func() {
				m.busy = false
				m.step()
			})
		})
		return
	case wire.RequestTimedOut, wire.KafkaStorageError, wire.UnstableOffsetCommit, wire.NotLeaderOrFollower, wire.OffsetMetadataTooLarge:
	default:
		m.fail("protocol", "client %d: %s of group %s was answered %s", m.client, what, m.options.Group, checker.CodeName(code))
		return
	}
	m.pause()
}

// pause goes on a little later.
func (m *Member) pause() {
	m.busy = true
	m.after(m.draws.Duration(10*time.Millisecond, 60*time.Millisecond), func() {
		m.busy = false
		m.step()
	})
}

// leave leaves the group, and rests.
func (m *Member) leave() {
	var r kmsg.Request
	if m.options.Consumer {
		beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		beat.Group, beat.MemberID, beat.MemberEpoch, beat.InstanceID, beat.RebalanceTimeoutMillis = m.options.Group, m.id, -1, m.instance(), -1
		if m.options.Static {
			beat.MemberEpoch = -2
		}
		r = beat
	} else {
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group, leave.MemberID = m.options.Group, m.id
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID, member.InstanceID = m.id, m.instance()
		leave.Members = append(leave.Members, member)
		r = leave
	}
	var seats []int
	for _, p := range m.parts {
		if p.owned && p.revoked == 0 && p.since >= 0 { // what it is to give back it gives back by leaving
			seats = append(seats, p.ownership)
		}
	}
	m.drop() // before it is sent
	call := m.Stamp()
	m.call(requestTimeout, r, func(response kmsg.Response) {
		if v, ok := response.(*kmsg.ConsumerGroupHeartbeatResponse); ok && v.ErrorCode == 0 && m.options.Static {
			m.reserve(seats, call)
		}
		m.leaving = false
		m.restart()
		m.rest = m.Queue.Now().Add(m.draws.Duration(0, memberRestMax))
	})
}

// reserve notes that the partitions of a static member that left for a while are nobody else's until its session is over,
// which its last heartbeat began.
func (m *Member) reserve(seats []int, call int64) {
	if m.options.Reserved == 0 {
		return
	}
	m.reserved = seats
	for _, i := range seats {
		if o := &m.history.Owned[i-1]; o.From < call {
			o.To = max(o.To, m.taken+int64(m.options.Reserved))
		}
	}
}

// takeSeat ends what was reserved: the member comes back, and may be told to give up partitions.
func (m *Member) takeSeat() {
	now := m.Stamp()
	for _, i := range m.reserved {
		o := &m.history.Owned[i-1]
		o.To = min(o.To, now)
	}
	m.reserved = nil
}

func (m *Member) unlocated() bool {
	for _, p := range m.parts {
		if p.owned && p.position < 0 && !p.reset {
			return true
		}
	}
	return false
}

// locate fetches the committed offsets of partitions whose position is not known.
func (m *Member) locate() {
	if m.pipe != nil && m.pipe.open() {
		return // its transaction may still commit offsets
	}
	var parts []*memberPart
	asked := map[*memberPart]int{}
	for _, p := range m.parts {
		if p.owned && p.position < 0 && !p.reset {
			parts = append(parts, p)
			asked[p] = p.ownership
		}
	}
	r := offsetFetch(m.options.Group, parts, !m.options.Unstable)
	if m.options.Consumer {
		r.Groups[0].MemberID, r.Groups[0].MemberEpoch = kmsg.StringPtr(m.id), m.generation
	}
	call := m.Stamp()
	m.call(requestTimeout, r, func(response kmsg.Response) {
		v := response.(*kmsg.OffsetFetchResponse)
		worst := eachOffset(v, func(got fetchedOffset) {
			p := m.find(got.topic, got.id, got.Partition)
			if p == nil {
				m.fail("protocol", "client %d was told the offset of %s-%d, for which it did not ask", m.client, got.topic, got.Partition)
				return
			}
			m.history.Fetches = append(m.history.Fetches, offsetFetched(m.client, p, &got.OffsetFetchResponseGroupTopicPartition, call, m.Cluster, v.Version >= stableFrom && !m.options.Unstable))
			if p.owned && asked[p] == p.ownership {
				p.position, p.done, p.reset = got.Offset, got.Offset, got.Offset < 0
				p.anew = p.reset && m.options.Retention > 0
			}
		})
		if worst != 0 {
			m.refused("OffsetFetch", worst)
			return
		}
		m.step()
	})
}
