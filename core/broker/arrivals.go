package broker

import (
	"cmp"
	"slices"
	"time"

	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wire"
)

// arrivalLimit is how long an announced partition is waited for. A move takes milliseconds; one that fails delays those who were
// sent here by so much.
const arrivalLimit = 250 * time.Millisecond

// arrivals are partitions whose leaders have announced that they are about to give them to this broker. Producers hear of it from the
// old leader (KIP-951), often before this broker has opened the partition, or knows of the move at all. Answered with
// NOT_LEADER_OR_FOLLOWER they wait for their backoff, a hundred times longer than the move took; so a batch for such a partition waits
// here until it is open, and those that come behind it for that partition wait too.
type arrivals struct {
	plane     *dataPlane
	announced []arrival      // ascending by stream
	waiting   []waitingBatch // in the order in which they came
	timer     task.Timer
	waited    *telemetry.Mark
}

type arrival struct {
	stream metadata.StreamID
	until  env.Time
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
	now := a.plane.loop.Now()
	a.announced = slices.DeleteFunc(a.announced, func(e arrival) bool { return e.until <= now || slices.Contains(streams, e.stream) })
	for _, stream := range streams {
		if a.plane.partitions.Find(stream) == nil {
			a.announced = append(a.announced, arrival{stream, now.Add(arrivalLimit)})
		}
	}
	slices.SortStableFunc(a.announced, func(x, y arrival) int { return cmp.Compare(x.stream, y.stream) })
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
	behind := slices.ContainsFunc(a.waiting, func(w waitingBatch) bool { return w.stream == stream })
	until := a.untilOf(stream)
	if !behind && (until == 0 || code != wire.NotLeaderOrFollower) {
		return false
	}
	a.waited.Hit()
	a.waiting = append(a.waiting, waitingBatch{stream, p, t, part})
	if len(a.waiting) == 1 {
		a.plane.loop.Reset(&a.timer, until.Sub(a.plane.loop.Now()), a.proceed)
	}
	return true
}

// untilOf is until when batches for a stream wait; zero if they do not.
func (a *arrivals) untilOf(stream metadata.StreamID) env.Time {
	at, found := slices.BinarySearchFunc(a.announced, stream, func(e arrival, s metadata.StreamID) int { return cmp.Compare(e.stream, s) })
	if !found || a.announced[at].until <= a.plane.loop.Now() {
		return 0
	}
	return a.announced[at].until
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
	a.plane.loop.Stop(&a.timer)
	for _, w := range waiting {
		w.produce.submit(w.topic, w.part)
	}
}

// close submits all that waits: nothing is waited for any more.
func (a *arrivals) close() {
	a.announced = nil
	a.proceed()
}
