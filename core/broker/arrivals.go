package broker

import (
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// arrivalLimit is how long an announced partition is waited for. A move takes milliseconds where the metadata do not wait for the object
// store, else a PUT and a LIST more (R19), which are rarely slower than this. A move that fails delays those who were
// sent here by so much.
const arrivalLimit = time.Second

// arrivals are partitions whose leaders have announced that they are about to give them to this broker. Producers hear of it from the
// old leader (KIP-951), often before this broker has opened the partition, or knows of the move at all. Answered with
// NOT_LEADER_OR_FOLLOWER they wait for their backoff, a hundred times longer than the move took; so a batch for such a partition waits
// here until it is open, and those that come behind it for that partition wait too.
type arrivals struct {
	plane     *dataPlane
	announced map[metadata.StreamID]env.Time // until when they are waited for; lookups only
	order     []arrival                      // in which the announcements came: the first ends first
	waiting   []waitingBatch                 // in the order in which they came
	held      map[metadata.StreamID]bool     // that something waits for; lookups only
	timer     task.Timer
	waited    *telemetry.Mark
}

// arrival is one announcement.
type arrival struct {
	stream metadata.StreamID
	until  env.Time
}

// announcedMax bounds the announcements that are kept: more are not listened to.
const announcedMax = 100_000

func newArrivals(d *dataPlane, waited *telemetry.Mark) arrivals {
	return arrivals{plane: d, announced: map[metadata.StreamID]env.Time{}, held: map[metadata.StreamID]bool{}, waited: waited}
}

// waitingBatch is a batch that is not submitted yet.
type waitingBatch struct {
	stream  metadata.StreamID
	produce *pendingProduce
	topic   *produceTopic
	part    *producePart
}

// announce notes partitions that are about to be led here.
func (a *arrivals) announce(streams []metadata.StreamID) {
	a.forget()
	until := a.plane.loop.Now().Add(arrivalLimit)
	for _, stream := range streams {
		if len(a.order) < announcedMax && a.announced[stream] != until && a.plane.partitions.Find(stream) == nil {
			a.announced[stream] = until
			a.order = append(a.order, arrival{stream, until})
		}
	}
}

// departing ends the announcement of a partition that this broker is about to give away: it was led here meanwhile, and what comes for
// it from now on is to hear of the next leader.
func (a *arrivals) departing(stream metadata.StreamID) { delete(a.announced, stream) }

// forget drops the announcements that are over.
func (a *arrivals) forget() {
	over := 0
	for over < len(a.order) && a.order[over].until <= a.plane.loop.Now() {
		if e := a.order[over]; a.announced[e.stream] == e.until {
			delete(a.announced, e.stream)
		}
		over++
	}
	a.order = slices.Delete(a.order, 0, over)
}

// hold keeps a batch until its partition is open, if it was announced, and reports whether it does. code is what the partition was
// found with. A batch of a transaction is not kept: its coordinator has yet to be asked, together with others of its request. Nor is one
// that nobody waits for.
func (a *arrivals) hold(p *pendingProduce, t *produceTopic, part *producePart, code wire.Code) bool {
	if len(a.announced) == 0 && len(a.waiting) == 0 || part.Code != wire.None || part.Header.Transactional() || p.acks == 0 {
		return false
	}
	stream, ok := a.plane.streamOf(p.version >= produceTopicIDs, t.id, string(t.wireName), part.index)
	if !ok {
		return false
	}
	until := a.announced[stream]
	expected := until > a.plane.loop.Now() && code == wire.NotLeaderOrFollower
	if !expected && !a.held[stream] {
		return false
	}
	a.waited.Hit()
	a.held[stream] = true
	a.waiting = append(a.waiting, waitingBatch{stream, p, t, part})
	if len(a.waiting) == 1 {
		a.plane.loop.Reset(&a.timer, until.Sub(a.plane.loop.Now()), a.proceed)
	}
	return true
}

// expected reports whether a partition was announced, is waited for, and is not open yet.
func (d *dataPlane) expected(byID bool, id metadata.TopicID, topic string, index int32) bool {
	if len(d.arrivals.announced) == 0 {
		return false
	}
	stream, ok := d.streamOf(byID, id, topic, index)
	return ok && d.arrivals.announced[stream] > d.loop.Now() && d.partitions.Find(stream) == nil
}

// opened is called when partitions may have been opened.
func (a *arrivals) opened() {
	if len(a.waiting) > 0 {
		a.plane.loop.Post(a.proceed)
	}
}

// proceed submits what waits no longer.
func (a *arrivals) proceed() {
	waiting := a.waiting
	a.waiting = nil
	clear(a.held)
	a.plane.loop.Stop(&a.timer)
	for _, w := range waiting {
		w.produce.submit(w.topic, w.part)
	}
}

// close submits all that waits: nothing is waited for any more.
func (a *arrivals) close() {
	a.order = nil
	clear(a.announced)
	a.proceed()
}
