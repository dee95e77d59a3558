// DeleteRecords (21), versions 0-2 (KIP-107). The new log start is a record in the cluster's metadata, for which the request
// waits five seconds at least; the object store is cleaned later.

package broker

import (
	"strings"
	"time"

	"weir/core/partition"
	"weir/core/task"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// deletionWaitMin is how long the deletion itself may take whatever timeout a client gives: in Kafka the timeout bounds
// only the wait for replicas.
const deletionWaitMin = 5 * time.Second

// deleteToHighWatermark asks DeleteRecords for everything that is durable.
const deleteToHighWatermark = -1

// deleting is a DeleteRecords request under way.
type deleting struct {
	plane    *dataPlane
	exchange exchange
	response *kmsg.DeleteRecordsResponse
	open     int
	timer    task.Timer
	pending  []*kmsg.DeleteRecordsResponseTopicPartition
	ended    bool
}

// deleteRecords raises the log start of partitions and answers with it.
func (d *dataPlane) deleteRecords(x exchange, r *kmsg.DeleteRecordsRequest) {
	l := &deleting{plane: d, exchange: x, response: r.ResponseKind().(*kmsg.DeleteRecordsResponse), open: 1}
	places := newOnceEach()
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			q := &r.Topics[i].Partitions[j]
			places.add(r.Topics[i].Topic, q.Partition, q.Offset)
		}
	}
	for _, t := range places.topics {
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = t.name
		out.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(t.partitions))
		for j, q := range t.partitions {
			out.Partitions[j].Default()
			out.Partitions[j].Partition, out.Partitions[j].LowWatermark = q.index, offsetNotKnown
			l.delete(t.name, q.offset, &out.Partitions[j])
		}
		l.response.Topics = append(l.response.Topics, out)
	}
	x.releaseFrame()
	x.onGone(func() { l.ended = true; d.loop.Stop(&l.timer) })
	if l.open > 1 {
		d.loop.Reset(&l.timer, max(millisOf(r.TimeoutMillis), deletionWaitMin), l.giveUp)
	}
	l.done()
}

func (l *deleting) delete(topic string, offset int64, out *kmsg.DeleteRecordsResponseTopicPartition) {
	p, code := l.plane.partitions.ByName(topic, out.Partition)
	if code == wire.None {
		offset, code = deletionPoint(p, offset)
	}
	if code != wire.None {
		out.ErrorCode = int16(code)
		return
	}
	l.open++
	l.pending = append(l.pending, out)
	l.plane.trim(p.Stream, offset, func(err error) {
		if l.ended {
			return
		}
		if err != nil {
			out.ErrorCode = int16(codeOf(err, wire.KafkaStorageError))
		} else {
			out.LowWatermark = max(offset, p.LogStart())
		}
		l.done()
	})
}

// deletionPoint checks the offset before which records shall go.
func deletionPoint(p *partition.Partition, offset int64) (int64, wire.Code) {
	if !strings.Contains(p.Config().CleanupPolicy, "delete") {
		return 0, wire.PolicyViolation
	}
	if offset == deleteToHighWatermark {
		return p.HighWatermark(), wire.None
	}
	if offset < 0 || offset > p.HighWatermark() {
		return 0, wire.OffsetOutOfRange
	}
	return offset, wire.None
}

func (l *deleting) done() {
	if l.open--; l.open == 0 && !l.ended {
		l.finish()
	}
}

func (l *deleting) finish() {
	l.ended = true
	l.plane.loop.Stop(&l.timer)
	l.exchange.replyMessage(l.response)
}

// giveUp answers REQUEST_TIMED_OUT for what is still open; it may yet happen.
func (l *deleting) giveUp() {
	for _, out := range l.pending {
		if out.ErrorCode == 0 && out.LowWatermark < 0 {
			out.ErrorCode = int16(wire.RequestTimedOut)
		}
	}
	l.finish()
}
