// DeleteTopics (20), versions 1-6: TOPIC_DELETION_DISABLED (KIP-322, version 3), error messages and quotas (KIP-599, 5), topic
// ids (KIP-516, 6).
//
// Differences from Kafka: with a timeout of 0 or less the topic is deleted, where chance decides in Kafka. There are
// no quotas.

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
	asked := r.Topics
	if r.Version < deleteTopicsByID {
		asked = make([]kmsg.DeleteTopicsRequestTopic, len(r.TopicNames))
		for i := range r.TopicNames {
			asked[i].Topic = &r.TopicNames[i]
		}
	}
	b.whenCurrent(x, r.TimeoutMillis, func() { b.deleteTopicsNow(x, r, asked) }, func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.DeleteTopicsResponse)
		for i := range asked {
			t := kmsg.NewDeleteTopicsResponseTopic()
			t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = asked[i].Topic, asked[i].TopicID, code, message
			out.Topics = append(out.Topics, t)
		}
		x.replyMessage(out)
	})
}

func (b *Broker) deleteTopicsNow(x exchange, r *kmsg.DeleteTopicsRequest, asked []kmsg.DeleteTopicsRequestTopic) {
	out := r.ResponseKind().(*kmsg.DeleteTopicsResponse)
	ids, places := b.validateDeletions(r.Version, asked, out)
	w := b.newWait(x, func() { x.replyMessage(out) })
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
				t.TopicID = ids[i]
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
	b.controller.Settle(func(err error) {
		if w.ended {
			return
		}
		for i, t := range unknown {
			if err == nil {
				*t = answers[i]
			}
		}
		w.done()
	})
}

// deletion is one name or id of the request, and what it stands for.
type deletion struct {
	asked kmsg.DeleteTopicsRequestTopic
	topic *metadata.Topic // nil if err is not
	err   error
}

// validateDeletions fills the answer, each name and id once, and returns the ids to delete with their places.
func (b *Broker) validateDeletions(version int16, asked []kmsg.DeleteTopicsRequestTopic, out *kmsg.DeleteTopicsResponse) (ids []metadata.TopicID, places []int) {
	deletions := b.deletionsOf(version, asked)
	times := make(map[metadata.TopicID]int, len(deletions))
	for i := range deletions {
		if t := deletions[i].topic; t != nil {
			times[t.ID]++
		}
	}
	out.Topics = make([]kmsg.DeleteTopicsResponseTopic, 0, len(deletions))
	for i := range deletions {
		d := &deletions[i]
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = d.asked.Topic, d.asked.TopicID
		switch {
		case d.err != nil:
		case times[d.topic.ID] > 1:
			// By id and by name: one answer for both, and nothing is deleted, as in Kafka.
			if d.asked.Topic == nil {
				continue
			}
			t.TopicID = d.topic.ID
			d.err = &controller.Error{Code: wire.InvalidRequest, Message: "The provided topic name maps to an ID that was already supplied."}
		default:
			if !isZero(t.TopicID) {
				t.Topic = kmsg.StringPtr(d.topic.Name)
			}
			ids, places = append(ids, d.topic.ID), append(places, len(out.Topics))
		}
		t.ErrorCode, t.ErrorMessage = refusal(d.err)
		out.Topics = append(out.Topics, t)
	}
	return ids, places
}

// deletionsOf finds the topics asked for. A name or id that is there again makes one deletion, that is refused.
func (b *Broker) deletionsOf(version int16, asked []kmsg.DeleteTopicsRequestTopic) []deletion {
	type key struct {
		name string
		id   metadata.TopicID
	}
	all, seen := make([]deletion, 0, len(asked)), make(map[key]int, len(asked))
	for i := range asked {
		d := deletion{asked: asked[i]}
		d.topic, d.err = b.topicToDelete(version, &asked[i])
		k := key{id: asked[i].TopicID}
		if asked[i].Topic != nil {
			k.name = *asked[i].Topic
		}
		if first, repeated := seen[k]; repeated {
			all[first].topic = nil
			all[first].err = &controller.Error{Code: wire.InvalidRequest, Message: "Duplicate topic name or id."}
			continue
		}
		seen[k] = len(all)
		all = append(all, d)
	}
	return all
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
