package broker

import (
	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const deleteTopicsByID = 6

// deleteTopics deletes topics by name or id.
func (b *Broker) deleteTopics(x exchange, r *kmsg.DeleteTopicsRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.DeleteTopicsResponse)
	asked := r.Topics
	if r.Version < deleteTopicsByID {
		asked = make([]kmsg.DeleteTopicsRequestTopic, len(r.TopicNames))
		for i := range r.TopicNames {
			asked[i].Topic = &r.TopicNames[i]
		}
	}
	ids, places := b.validateDeletions(r.Version, asked, out)
	w := b.newWait(x, func() {
		if r.Version < deleteTopicsByID {
			out.Topics = answeredOnce(out.Topics)
		}
		x.replyMessage(out)
	})
	if len(ids) > 0 {
		for _, i := range places {
			out.Topics[i].ErrorCode = wire.RequestTimedOut
		}
		w.add()
		b.controller.DeleteTopics(ids, func(results []controller.TopicResult) {
			if w.ended {
				return
			}
			for i := range results {
				t := &out.Topics[places[i]]
				t.ErrorCode, t.ErrorMessage = refusal(results[i].Err)
			}
			w.done()
		})
	}
	b.settleUnknown(w, out.Topics)
	w.ready(millisOf(r.TimeoutMillis))
}

// settleUnknown holds the answer that a topic is unknown back until that cannot be undone: an earlier try of
// the same request may have deleted it.
func (b *Broker) settleUnknown(w *wait, topics []kmsg.DeleteTopicsResponseTopic) {
	var unknown []*kmsg.DeleteTopicsResponseTopic
	var answers []kmsg.DeleteTopicsResponseTopic
	for i := range topics {
		if t := &topics[i]; t.ErrorCode == wire.UnknownTopicOrPartition || t.ErrorCode == wire.UnknownTopicID {
			unknown, answers = append(unknown, t), append(answers, *t)
			t.ErrorCode, t.ErrorMessage = wire.RequestTimedOut, nil
		}
	}
	if len(unknown) == 0 {
		return
	}
	w.add()
	b.controller.Settle(func() {
		if w.ended {
			return
		}
		for i, t := range unknown {
			*t = answers[i]
		}
		w.done()
	})
}

// validateDeletions fills the answer and returns the ids to delete with their places.
func (b *Broker) validateDeletions(version int16, asked []kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponse) (ids []metadata.TopicID, places []int) {
	out.Topics = make([]kmsg.DeleteTopicsResponseTopic, len(asked))
	seen := make(map[metadata.TopicID]int, len(asked))
	for i := range asked {
		t := &out.Topics[i]
		t.Topic, t.TopicID = asked[i].Topic, asked[i].TopicID
		topic, err := b.topicToDelete(version, &asked[i])
		if err == nil {
			t.Topic, t.TopicID = kmsg.StringPtr(topic.Name), topic.ID
			seen[topic.ID]++
		}
		t.ErrorCode, t.ErrorMessage = refusal(err)
	}
	for i := range out.Topics {
		t := &out.Topics[i]
		switch {
		case t.ErrorCode != 0:
		case seen[t.TopicID] > 1:
			t.ErrorCode, t.ErrorMessage = wire.InvalidRequest, kmsg.StringPtr("Duplicate topic name or id.")
		default:
			ids, places = append(ids, t.TopicID), append(places, i)
		}
	}
	return ids, places
}

// answeredOnce leaves one answer for each name. As in Kafka, one for a name that was repeated is INVALID_REQUEST.
func answeredOnce(topics []kmsg.DeleteTopicsResponseTopic) []kmsg.DeleteTopicsResponseTopic {
	once, seen := topics[:0], make(map[string]int, len(topics))
	for _, t := range topics {
		if first, repeated := seen[*t.Topic]; repeated {
			once[first].ErrorCode = wire.InvalidRequest
			continue
		}
		seen[*t.Topic] = len(once)
		once = append(once, t)
	}
	return once
}

func (b *Broker) topicToDelete(version int16, q *kmsg.DeleteTopicsRequestTopic) (*metadata.Topic, error) {
	byID := !isZero(q.TopicID)
	if !b.config.DeleteTopics {
		if version < 3 {
			return nil, &controller.Error{Code: wire.InvalidRequest, Message: "Topic deletion is disabled."}
		}
		return nil, &controller.Error{Code: wire.TopicDeletionDisabled, Message: "Topic deletion is disabled."}
	}
	if byID == (q.Topic != nil) {
		return nil, &controller.Error{Code: wire.InvalidRequest, Message: "Exactly one of topic name and topic id must be set."}
	}
	if byID {
		if t, ok := b.image.TopicByID(q.TopicID); ok {
			return t, nil
		}
		return nil, &controller.Error{Code: wire.UnknownTopicID, Message: "This server does not host this topic ID."}
	}
	if t, ok := b.image.Topic(*q.Topic); ok {
		return t, nil
	}
	return nil, &controller.Error{Code: wire.UnknownTopicOrPartition, Message: "This server does not host this topic-partition."}
}
