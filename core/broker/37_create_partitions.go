// CreatePartitions (37), versions 0-3 (KIP-195): quotas (KIP-599, version 3), of which there are none.
//
// Difference from Kafka: with a timeout of 0 or less the partitions are created, where chance decides in Kafka.

package broker

import (
	"weir/core/controller"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// createPartitions adds partitions to topics, each independently. Every topic asked
// for is in the answer, once.
func (b *Broker) createPartitions(x exchange, r *kmsg.CreatePartitionsRequest) {
	b.whenCurrent(x, r.TimeoutMillis, func() { b.createPartitionsNow(x, r) }, func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.CreatePartitionsResponse)
		for i := range r.Topics {
			t := kmsg.NewCreatePartitionsResponseTopic()
			t.Topic, t.ErrorCode, t.ErrorMessage = r.Topics[i].Topic, code, message
			out.Topics = append(out.Topics, t)
		}
		x.replyMessage(out)
	})
}

func (b *Broker) createPartitionsNow(x exchange, r *kmsg.CreatePartitionsRequest) {
	out := r.ResponseKind().(*kmsg.CreatePartitionsResponse)
	times := make(map[string]int, len(r.Topics))
	for i := range r.Topics {
		times[r.Topics[i].Topic]++
	}
	w := b.newWait(x, func() { x.replyMessage(out) })
	left := newPartitionsMax
	out.Topics = make([]kmsg.CreatePartitionsResponseTopic, 0, len(times)) // never grows: answers point into it
	for i := range r.Topics {
		q := &r.Topics[i]
		if times[q.Topic] < 0 {
			continue
		}
		out.Topics = append(out.Topics, kmsg.NewCreatePartitionsResponseTopic())
		t := &out.Topics[len(out.Topics)-1]
		t.Topic = q.Topic
		if times[q.Topic] > 1 {
			t.ErrorCode, t.ErrorMessage = wire.InvalidRequest, kmsg.StringPtr("Duplicate topic in request.")
		} else {
			left -= b.growTopic(w, q, r.ValidateOnly, left, t)
		}
		times[q.Topic] = -1
	}
	w.ready(millisOf(r.TimeoutMillis))
}

// growTopic adds partitions to a topic, and returns how many: at most as many as the request has left.
func (b *Broker) growTopic(w *wait, q *kmsg.CreatePartitionsRequestTopic, validateOnly bool, left int, out *kmsg.CreatePartitionsResponseTopic) int {
	topic, ok := b.image.Topic(q.Topic)
	growth, err := 0, error(nil)
	if ok {
		growth = int(q.Count) - len(topic.Partitions)
	}
	switch {
	case !ok:
		err = &controller.Error{Code: wire.UnknownTopicOrPartition, Message: "This server does not host this topic-partition."}
	case isInternal(q.Topic):
		// Keys are assigned to partitions by their number: with another, coordinators would not find what they have stored.
		err = &controller.Error{Code: wire.InvalidRequest, Message: "The number of partitions of an internal topic cannot be changed."}
	case growth > left:
		err = &controller.Error{Code: wire.PolicyViolation, Message: "Excessively large number of partitions per request."}
	}
	if err != nil {
		if out.ErrorCode, out.ErrorMessage = refusal(err); !ok {
			out.ErrorMessage = nil // as in Kafka
		}
		return 0
	}
	var assignment [][]int32 // null and empty differ: an empty one does not fit
	if q.Assignment != nil {
		assignment = make([][]int32, 0, len(q.Assignment))
	}
	for i := range q.Assignment {
		assignment = append(assignment, q.Assignment[i].Replicas)
	}
	out.ErrorCode = wire.RequestTimedOut
	w.add()
	b.controller.CreatePartitions(q.Topic, q.Count, assignment, validateOnly, func(err error) {
		if w.ended {
			return
		}
		out.ErrorCode, out.ErrorMessage = refusal(err)
		w.done()
	})
	return max(growth, 0)
}
