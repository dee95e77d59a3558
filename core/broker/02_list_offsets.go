// ListOffsets (2), versions 1-11: isolation levels (KIP-98, version 2), leader epochs (KIP-320, 4), OFFSET_NOT_AVAILABLE (KIP-207,
// 5), the record with the largest timestamp (-3, KIP-734, 7), the local log's start (-4, KIP-405, 8), the last tiered offset
// (-5, KIP-1005, 9), a timeout (KIP-1075, 10), the first offset to be tiered (-6, KIP-1023, 11).
//
// To a client there is one tier: -4 answers the log start, -5 and -6 answer that there is no such offset.

package broker

import (
	"math"
	"time"

	"weir/core/env"
	"weir/core/partition"
	"weir/core/record"
	"weir/core/stream"
	"weir/core/task"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Special timestamps of ListOffsets.
const (
	timestampLatest          = -1
	timestampEarliest        = -2
	timestampMax             = -3 // from version 7
	timestampEarliestLocal   = -4 // from version 8
	timestampLatestTiered    = -5 // from version 9
	timestampEarliestPending = -6 // from version 11

	listOffsetsTimeouts = 10 // the version from which the request has a timeout

	// lookupsMax bounds the lookups by timestamp that are under way for one request: each reads blocks of the object store,
	// and opens a batch. listHeavyParts is from how many partitions on an answer that waits for them is counted as memory,
	// listPartBytes about what each takes.
	lookupsMax     = 32
	listHeavyParts = 1000
	listPartBytes  = 80

	// openBytesMax bounds what a batch may decompress to when a timestamp is looked up in it: the
	// most that Produce takes, in a request as large as socket.request.max.bytes can be.
	openBytesMax = decompressedRatioMax * 256 << 20
)

// specialSince says from which version a special timestamp may be asked.
func specialSince(timestamp int64) int16 {
	switch timestamp {
	case timestampMax:
		return 7
	case timestampEarliestLocal:
		return 8
	case timestampLatestTiered:
		return 9
	case timestampEarliestPending:
		return 11
	}
	if timestamp < 0 && timestamp != timestampLatest && timestamp != timestampEarliest {
		return math.MaxInt16 // in no version
	}
	return 0
}

// listing is a ListOffsets request under way.
type listing struct {
	plane     *dataPlane
	exchange  exchange
	response  *kmsg.ListOffsetsResponse
	isolation partition.Isolation
	// understood is false if the request has an isolation level that Kafka does not know.
	understood bool
	open       int
	lookups    []*kmsg.ListOffsetsResponseTopicPartition // nil once done
	waiting    []*lookup                                 // in the order of the request
	flying     int
	starting   bool
	lent       *heldAnswer // counts a heavy answer while lookups are under way
	timer      task.Timer
	ended      bool
}

// listOffsets answers a ListOffsets request. Lookups by timestamp read a batch
// and open it off the loop; all others answer at once.
func (d *dataPlane) listOffsets(x exchange, r *kmsg.ListOffsetsRequest) {
	l := &listing{plane: d, exchange: x, response: r.ResponseKind().(*kmsg.ListOffsetsResponse), isolation: isolationOf(r.IsolationLevel), understood: knownIsolation(r.IsolationLevel), open: 1}
	asked := newOnceEach()
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			q := &r.Topics[i].Partitions[j]
			asked.add(r.Topics[i].Topic, q.Partition, q.Timestamp).epoch = q.CurrentLeaderEpoch
		}
	}
	for i := range asked.topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = asked.topics[i].name
		t.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(asked.topics[i].partitions))
		for j := range t.Partitions {
			q, out := &asked.topics[i].partitions[j], &t.Partitions[j]
			out.Default()
			out.Partition = q.index
			l.find(t.Topic, q, out)
		}
		l.response.Topics = append(l.response.Topics, t)
	}
	x.releaseFrame()
	x.onGone(l.end)
	if l.open > 1 {
		timeout := listOffsetsTimeoutBefore
		if r.Version >= listOffsetsTimeouts && r.TimeoutMillis > 0 {
			timeout = time.Duration(r.TimeoutMillis) * time.Millisecond
		}
		d.loop.Reset(&l.timer, timeout, l.giveUp)
		if n := len(asked.seen); n > listHeavyParts {
			l.lent = d.held.add(x, int64(n)*listPartBytes, d.loop.Now())
		}
	}
	l.start()
	l.done()
}

// find answers one partition, at once or when a lookup is done.
func (l *listing) find(topic string, q *askedPartition, out *kmsg.ListOffsetsResponseTopicPartition) {
	switch {
	case !l.understood:
		out.ErrorCode = int16(wire.UnknownServerError)
		return
	case q.repeated:
		out.ErrorCode = int16(wire.InvalidRequest)
		return
	}
	if since := specialSince(q.offset); l.response.Version < since {
		out.ErrorCode = int16(wire.UnsupportedVersion)
		return
	}
	p, code := l.plane.partitions.ByName(topic, q.index)
	if code == wire.None {
		code = p.Serves()
	}
	if code == wire.None && l.response.Version >= 4 {
		code = p.CheckEpoch(q.epoch)
	}
	if code != wire.None {
		out.ErrorCode = int16(code)
		return
	}
	switch q.offset {
	case timestampLatest:
		out.Offset, out.LeaderEpoch = p.ReadableEnd(l.isolation), p.LeaderEpoch()
	case timestampEarliest, timestampEarliestLocal:
		out.Offset, out.LeaderEpoch = p.LogStart(), p.EpochAt(p.LogStart())
	case timestampLatestTiered, timestampEarliestPending:
		// To a client there is one tier: nothing is tiered, nothing is pending.
	case timestampMax:
		l.search(p, -1, out)
	default:
		l.search(p, max(q.offset, 0), out)
	}
}

// search finds the first record at or after a timestamp, or with -1 the first
// that has the largest.
func (l *listing) search(p *partition.Partition, timestamp int64, out *kmsg.ListOffsetsResponseTopicPartition) {
	if p.LogStart() >= p.HighWatermark() {
		return
	}
	l.open++
	l.lookups = append(l.lookups, out)
	l.waiting = append(l.waiting, &lookup{listing: l, partition: p, timestamp: timestamp, index: len(l.lookups) - 1, best: noRecord})
}

// start begins as many lookups as may be under way. One may end at once.
func (l *listing) start() {
	if l.starting {
		return
	}
	l.starting = true
	for !l.ended && l.flying < lookupsMax && len(l.waiting) > 0 {
		k := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.flying++
		k.search(k.partition.LogStart())
	}
	l.starting = false
}

// lookup is one partition's search for a record. A batch that the search finds may hold
// no such record above the log start, since its largest timestamp may stem from one below:
// then it goes on behind that batch. If the log start moves meanwhile, it starts again.
type lookup struct {
	listing   *listing
	partition *partition.Partition
	timestamp int64 // -1: the largest
	index     int   // in listing.lookups
	logStart  int64 // when the search began
	best      foundRecord
}

// noRecord is what a lookup answers that found nothing.
var noRecord = foundRecord{offset: offsetNotKnown, timestamp: -1, epoch: -1}

func (k *lookup) search(from int64) {
	if code := k.partition.Serves(); code != wire.None {
		k.end(code)
		return
	}
	if from <= k.partition.LogStart() {
		k.logStart, k.best = k.partition.LogStart(), noRecord
	}
	k.partition.FindTimestamp(from, k.timestamp, func(got stream.Fetched) {
		switch {
		case k.listing.ended:
			got.Release()
		case got.Err == nil && len(got.Batches) > 0:
			k.open(got)
		case k.partition.LogStart() > k.logStart:
			got.Release()
			k.search(k.partition.LogStart())
		case got.Err != nil:
			got.Release()
			k.end(wire.KafkaStorageError)
		default:
			got.Release()
			k.end(wire.None)
		}
	})
}

// open looks for the record inside the found batch, off the loop.
func (k *lookup) open(got stream.Fetched) {
	var found foundRecord
	least := k.partition.LogStart()
	k.listing.plane.env.Compute.Submit(&env.Compute{
		Work: func() { found = findRecord(got.Batches[0], k.timestamp, least) },
		Done: func(*env.Compute) {
			got.Release()
			if !k.listing.ended {
				k.opened(found)
			}
		},
	})
}

func (k *lookup) opened(found foundRecord) {
	switch {
	case found.err != nil:
		k.end(wire.CorruptMessage)
	case k.partition.LogStart() > k.logStart:
		k.search(k.partition.LogStart())
	case k.timestamp >= 0 && found.timestamp < k.timestamp:
		k.search(found.end)
	case k.timestamp < 0 && found.base < k.logStart:
		k.best = found
		k.search(found.end) // what lies below the log start may have had the largest
	default:
		if k.best.offset < 0 || found.timestamp > k.best.timestamp {
			k.best = found
		}
		k.end(wire.None)
	}
}

// end answers with the best record, or the code if it failed.
func (k *lookup) end(code wire.Code) {
	out := k.listing.lookups[k.index]
	switch {
	case code != wire.None:
		out.ErrorCode = int16(code)
	case k.best.offset < k.partition.ReadableEnd(k.listing.isolation): // as in Kafka, there is else no such record
		out.Offset, out.Timestamp, out.LeaderEpoch = k.best.offset, k.best.timestamp, k.best.epoch
	}
	k.listing.found(k.index)
}

func (l *listing) found(lookup int) {
	if !l.ended {
		l.lookups[lookup] = nil
		l.flying--
		l.done()
		l.start()
	}
}

type foundRecord struct {
	offset, timestamp int64
	epoch             int32
	base, end         int64 // of its batch
	err               error
}

// findRecord finds the first record of a batch, not below the offset least, that
// is at or after timestamp; with -1 (or if the batch's header promised too much)
// the first with the largest timestamp.
func findRecord(batch []byte, timestamp, least int64) foundRecord {
	h, err := record.ReadHeader(batch)
	best := foundRecord{offset: offsetNotKnown, timestamp: -1, epoch: h.LeaderEpoch, base: h.BaseOffset, end: h.NextOffset(), err: err}
	if err != nil {
		return best
	}
	best.err = record.Scan(batch, openBytesMax, func(r record.Entry) bool {
		if r.Offset < least || timestamp < 0 && r.Timestamp < record.NoTimestamp {
			return true
		}
		if best.offset < 0 || r.Timestamp > best.timestamp {
			best.offset, best.timestamp = r.Offset, r.Timestamp
		}
		return timestamp < 0 || r.Timestamp < timestamp
	})
	return best
}

func (l *listing) done() {
	if l.open--; l.open > 0 || l.ended {
		return
	}
	l.finish()
}

func (l *listing) finish() {
	l.end()
	l.exchange.replyMessage(l.response)
}

// end lets go of what was kept for the lookups.
func (l *listing) end() {
	l.ended, l.waiting = true, nil
	l.plane.loop.Stop(&l.timer)
	if l.lent != nil {
		l.plane.held.done(l.lent)
		l.lent = nil
	}
}

// giveUp answers what is known when the time is over.
func (l *listing) giveUp() {
	for _, out := range l.lookups {
		if out != nil {
			out.ErrorCode = int16(wire.RequestTimedOut)
		}
	}
	l.finish()
}
