package broker

import (
	"strings"
	"time"

	"weir/core/wire"

	"weir/core/partition"
	"weir/core/task"

	"github.com/twmb/franz-go/pkg/kmsg"
)

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
	l.response.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(r.Topics))
	for i := range r.Topics {
		t := &l.response.Topics[i]
		t.Default()
		t.Topic = r.Topics[i].Topic
		t.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(r.Topics[i].Partitions))
		for j := range t.Partitions {
			q, out := &r.Topics[i].Partitions[j], &t.Partitions[j]
			out.Default()
			out.Partition, out.LowWatermark = q.Partition, offsetNotKnown
			l.delete(t.Topic, q.Offset, out)
		}
	}
	x.releaseFrame()
	x.onGone(func() { l.ended = true; d.loop.Stop(&l.timer) })
	if l.open > 1 {
		d.loop.Reset(&l.timer, time.Duration(max(r.TimeoutMillis, 0))*time.Millisecond, l.giveUp)
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
