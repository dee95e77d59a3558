// Metadata (3), versions 0-13: racks and the controller (version 1), the cluster id (KIP-78, 2), whether topics may be created
// (4), offline replicas (KIP-112, 5), leader epochs (KIP-320, 7), authorized operations (KIP-430, 8; those of the cluster until
// 10, then KIP-700), topic ids in the response (KIP-516, 10) and in the request (12), a top-level error (KIP-1102, 13).
//
// Differences from Kafka: a topic that is created by the request is in its response, where Kafka answers
// UNKNOWN_TOPIC_OR_PARTITION and is asked again; a topic with neither name nor id gets INVALID_REQUEST, where Kafka fails
// with UNKNOWN_SERVER_ERROR. All operations are authorized: there are no ACLs.

package broker

import (
	"slices"
	"time"

	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	metadataTopicIDs       = 10 // ids in the answer
	metadataTopicIDRequest = 12 // ids in the request
	// autoCreateWaitMax bounds how long an answer waits for topics to be made. The
	// client asks again anyway.
	autoCreateWaitMax = 5 * time.Second
)

// describing is a Metadata request under way.
type describing struct {
	broker   *Broker
	exchange exchange
	request  *kmsg.MetadataRequest
	response *kmsg.MetadataResponse
	// failed has why topics were not made that should have been, as far as clients are told.
	failed map[string]int16
}

// metadata describes brokers and topics, and makes topics that are asked for and
// not there, if client and configuration allow it.
func (b *Broker) metadata(x exchange, r *kmsg.MetadataRequest) {
	x.releaseFrame()
	d := &describing{broker: b, exchange: x, request: r, response: r.ResponseKind().(*kmsg.MetadataResponse)}
	if d.hasEarlyIDs() {
		d.refuse()
		return
	}
	missing := d.missing()
	if len(missing) == 0 {
		d.answer()
		return
	}
	w := b.newWait(x, d.answer)
	w.add()
	b.controller.CreateTopics(missing, false, func(results []controller.TopicResult) {
		d.noteFailed(results)
		w.done()
	})
	w.ready(autoCreateWaitMax)
}

// noteFailed keeps the results that clients are told of, for all that is asked for beside them.
func (d *describing) noteFailed(results []controller.TopicResult) {
	d.failed = make(map[string]int16, len(results))
	for i := range results {
		if code, _ := refusal(results[i].Err); code == wire.InvalidTopic || code == wire.PolicyViolation {
			d.failed[results[i].Name] = code
		}
	}
}

// hasEarlyIDs reports whether a topic is asked for by id in a version that has the field but does not serve it.
func (d *describing) hasEarlyIDs() bool {
	return d.request.Version < metadataTopicIDRequest && slices.ContainsFunc(d.request.Topics, func(t kmsg.MetadataRequestTopic) bool {
		return t.Topic == nil || !isZero(t.TopicID)
	})
}

// refuse answers INVALID_REQUEST for every topic, and nothing else.
func (d *describing) refuse() {
	for i := range d.request.Topics {
		name := d.request.Topics[i].Topic
		if name == nil {
			name = kmsg.StringPtr("")
		}
		d.fail(name, d.request.Topics[i].TopicID, wire.InvalidRequest)
	}
	d.response.ControllerID = -1
	d.exchange.replyMessage(d.response)
}

// byID reports whether topics are asked for by id: then those by name are left out, as in Kafka.
func (d *describing) byID() bool {
	return slices.ContainsFunc(d.request.Topics, func(t kmsg.MetadataRequestTopic) bool { return !isZero(t.TopicID) })
}

// allTopics reports whether the request is for every topic: null, but in version 0
// none.
func (d *describing) allTopics() bool {
	if d.request.Version == 0 {
		return len(d.request.Topics) == 0
	}
	return d.request.Topics == nil
}

// missing lists the topics to be made: as many of those that are not there as one request may make.
func (d *describing) missing() (missing []controller.NewTopic) {
	b, r := d.broker, d.request
	if !b.config.AutoCreateTopics || (r.Version >= 4 && !r.AllowAutoTopicCreation) || d.allTopics() || d.byID() {
		return nil
	}
	seen := make(map[string]bool)
	left := newPartitionsMax
	for i := range r.Topics {
		name := r.Topics[i].Topic
		if name == nil || !isZero(r.Topics[i].TopicID) || seen[*name] || isInternal(*name) || *name == clusterMetadataTopic || !validTopicName(*name) {
			continue
		}
		seen[*name] = true
		n := controller.NewTopic{Name: *name, Partitions: -1, ReplicationFactor: -1}
		if _, ok := b.image.Topic(*name); !ok && b.partitionsOf(&n) <= left {
			left -= b.partitionsOf(&n)
			missing = append(missing, n)
		}
	}
	return missing
}

func (d *describing) answer() {
	b, out := d.broker, d.response
	out.ControllerID = b.controllerID()
	if id := b.image.ClusterID(); id != "" {
		out.ClusterID = &id
	}
	if d.request.IncludeClusterAuthorizedOperations {
		out.AuthorizedOperations = clusterOperations
	}
	for _, r := range b.image.Brokers() {
		if e, ok := endpoint(r, d.exchange.listener()); ok && !r.Fenced {
			one := kmsg.NewMetadataResponseBroker()
			one.NodeID, one.Host, one.Port, one.Rack = int32(r.ID), e.Host, e.Port, rackOf(r)
			out.Brokers = append(out.Brokers, one)
		}
	}
	if d.allTopics() {
		topics := b.image.Topics()
		out.Topics = make([]kmsg.MetadataResponseTopic, 0, len(topics))
		for _, t := range topics {
			d.add(t)
		}
	} else {
		d.answerAsked()
	}
	d.exchange.replyMessage(out)
}

// answerAsked describes each topic asked for once, as Kafka does.
func (d *describing) answerAsked() {
	type asked struct {
		name string
		id   [16]byte
	}
	topics := d.request.Topics
	d.response.Topics = make([]kmsg.MetadataResponseTopic, 0, len(topics))
	seen, byID := make(map[asked]bool, len(topics)), d.byID()
	for i := range topics {
		if byID && isZero(topics[i].TopicID) {
			continue
		}
		key := asked{id: topics[i].TopicID}
		if topics[i].Topic != nil {
			key.name = *topics[i].Topic
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		d.answerOne(&topics[i])
	}
}

func (d *describing) answerOne(q *kmsg.MetadataRequestTopic) {
	byID := !isZero(q.TopicID)
	if !byID && q.Topic == nil {
		d.fail(kmsg.StringPtr(""), q.TopicID, wire.InvalidRequest)
		return
	}
	if byID {
		if t, ok := d.broker.image.TopicByID(q.TopicID); ok {
			d.add(t)
		} else {
			d.fail(nil, q.TopicID, wire.UnknownTopicID)
		}
		return
	}
	if t, ok := d.broker.image.Topic(*q.Topic); ok {
		d.add(t)
		return
	}
	d.fail(q.Topic, q.TopicID, d.whyMissing(*q.Topic))
}

// whyMissing is the code for a topic that is not there.
func (d *describing) whyMissing(name string) int16 {
	if !validTopicName(name) {
		return wire.InvalidTopic
	}
	if code, ok := d.failed[name]; ok {
		return code
	}
	return wire.UnknownTopicOrPartition
}

func (d *describing) fail(name *string, id [16]byte, code int16) {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.ErrorCode = name, id, code
	d.response.Topics = append(d.response.Topics, t)
}

func (d *describing) add(t *metadata.Topic) {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID, out.IsInternal = kmsg.StringPtr(t.Name), t.ID, isInternal(t.Name)
	if d.request.IncludeTopicAuthorizedOperations {
		out.AuthorizedOperations = topicOperations
	}
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	replicas := make([]int32, 0, len(t.Partitions)*max(int(t.ReplicationFactor), 1)) // one slice for all
	for i := range t.Partitions {
		p, q := &t.Partitions[i], &out.Partitions[i]
		q.Default()
		s := d.broker.stateOf(p, d.exchange.listener())
		q.Partition, q.LeaderEpoch, q.Leader, q.ErrorCode = p.Index, p.LeaderEpoch, s.leader, s.code
		first, isr := len(replicas), 0
		replicas, isr = d.broker.image.Replicas(replicas, t, p)
		q.Replicas, q.ISR, q.OfflineReplicas = shownReplicas(replicas[first:], isr, s)
	}
	d.response.Topics = append(d.response.Topics, out)
}

// shownReplicas are a partition's replicas, those in sync, and those that cannot be reached: all, where clients cannot
// reach the leader.
func shownReplicas(replicas []int32, isr int, s leadership) (all, inSync, offline []int32) {
	all = slices.Clip(replicas)
	if s.leader < 0 && s.code != wire.LeaderNotAvailable {
		isr = 0
	}
	return all, slices.Clip(all[:isr]), slices.Clip(all[isr:])
}

// leadership is what clients are told of a partition's leader.
type leadership struct {
	leader int32 // -1: none
	code   int16
}

// stateOf says who leads a partition. A leader that is fenced or not reachable by
// the client's listener is none.
func (b *Broker) stateOf(p *metadata.Partition, listener string) leadership {
	leader, ok := b.image.Broker(p.Leader)
	if !ok || leader.Fenced {
		return leadership{-1, wire.LeaderNotAvailable}
	}
	if _, ok := endpoint(leader, listener); !ok {
		return leadership{-1, wire.ListenerNotFound}
	}
	return leadership{int32(p.Leader), 0}
}
