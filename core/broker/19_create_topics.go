// CreateTopics (19), versions 2-7: counts of -1 for the broker's defaults (KIP-464, version 4), configurations in the response
// (KIP-525, 5), quotas (KIP-599, 6), topic ids (KIP-516, 7).
//
// Differences from Kafka: a request that is only validated gets no topic id; with a timeout of 0 or less the topic is
// created, where chance decides in Kafka; a replication factor above 1 is refused with INVALID_REPLICATION_FACTOR.
// There are no quotas.

package broker

import (
	"weir/core/config"
	"weir/core/controller"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newPartitionsMax bounds the partitions that one request makes, as in Kafka.
const newPartitionsMax = 10_000

// createTopics makes topics. Each is validated alone; what passes goes to the
// controller together.
func (b *Broker) createTopics(x exchange, r *kmsg.CreateTopicsRequest) {
	b.whenCurrent(x, r.TimeoutMillis, func() { b.createTopicsNow(x, r) }, func(code int16, message *string) {
		out := r.ResponseKind().(*kmsg.CreateTopicsResponse)
		for i := range r.Topics {
			t := kmsg.NewCreateTopicsResponseTopic()
			t.Topic, t.ErrorCode, t.ErrorMessage = r.Topics[i].Topic, code, message
			out.Topics = append(out.Topics, t)
		}
		x.replyMessage(out)
	})
}

func (b *Broker) createTopicsNow(x exchange, r *kmsg.CreateTopicsRequest) {
	out := r.ResponseKind().(*kmsg.CreateTopicsResponse)
	accepted, places := b.validateNewTopics(r, out)
	w := b.newWait(x, func() { x.replyMessage(out) })
	if len(accepted) > 0 {
		for _, i := range places {
			out.Topics[i].ErrorCode = wire.RequestTimedOut
		}
		w.add()
		b.controller.CreateTopics(accepted, r.ValidateOnly, func(results []controller.TopicResult) {
			if w.ended {
				return
			}
			defaults := describedDefaults[kmsg.CreateTopicsResponseTopicConfig]{of: b.settings.DescribeTopic(nil)}
			for i := range results {
				b.describeNew(&out.Topics[places[i]], r, &accepted[i], &results[i], &defaults)
			}
			w.done()
		})
	}
	w.ready(millisOf(r.TimeoutMillis))
}

// validateNewTopics fills the answer with a place for each name, and returns what may
// be asked of the controller with its places.
func (b *Broker) validateNewTopics(r *kmsg.CreateTopicsRequest, out *kmsg.CreateTopicsResponse) (accepted []controller.NewTopic, places []int) {
	times := make(map[string]int, len(r.Topics))
	for i := range r.Topics {
		times[r.Topics[i].Topic]++
	}
	partitions := 0
	for i := range r.Topics {
		q := &r.Topics[i]
		if times[q.Topic] < 0 {
			continue // answered already
		}
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic = q.Topic
		if r.Version >= 5 {
			t.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // not null beside an error, as in Kafka
		}
		n, err := b.newTopic(q)
		if times[q.Topic] > 1 {
			err = &controller.Error{Code: wire.InvalidRequest, Message: "Duplicate topic name."}
		}
		times[q.Topic] = -1
		if err == nil {
			if partitions += b.partitionsOf(&n); partitions > newPartitionsMax {
				err = &controller.Error{Code: wire.PolicyViolation, Message: "Excessively large number of partitions per request."}
			}
		}
		if t.ErrorCode, t.ErrorMessage = refusal(err); err == nil {
			accepted, places = append(accepted, n), append(places, len(out.Topics))
		}
		out.Topics = append(out.Topics, t)
	}
	return accepted, places
}

// partitionsOf is how many partitions a new topic has if it is made.
func (b *Broker) partitionsOf(n *controller.NewTopic) int {
	if n.Partitions == -1 && len(n.Assignment) == 0 {
		return int(b.config.NumPartitions)
	}
	return max(int(n.Partitions), len(n.Assignment), 1)
}

// newTopic checks what can be checked without the controller.
func (b *Broker) newTopic(q *kmsg.CreateTopicsRequestTopic) (controller.NewTopic, error) {
	n := controller.NewTopic{Name: q.Topic, Partitions: q.NumPartitions, ReplicationFactor: q.ReplicationFactor}
	if q.Topic == clusterMetadataTopic {
		return n, &controller.Error{Code: wire.InvalidRequest, Message: "The topic __cluster_metadata is the cluster's own."}
	}
	if !validTopicName(q.Topic) {
		return n, &controller.Error{Code: wire.InvalidTopic, Message: "Topic name is invalid: it must be 1 to 249 letters, digits, '.', '_' or '-', and not '.' or '..'"}
	}
	if len(q.ReplicaAssignment) > 0 {
		if q.NumPartitions != -1 || q.ReplicationFactor != -1 {
			return n, &controller.Error{Code: wire.InvalidRequest, Message: "Both numPartitions or replicationFactor and replicasAssignments were set. Both cannot be used at the same time."}
		}
		var err error
		if n.Assignment, err = assignmentOf(q.ReplicaAssignment); err != nil {
			return n, err
		}
	}
	overrides := make([]config.Override, len(q.Configs))
	for i, c := range q.Configs {
		if c.Value == nil {
			return n, &controller.Error{Code: wire.InvalidConfig, Message: "Null value not supported for topic configs: " + c.Name}
		}
		overrides[i] = config.Override{Key: c.Name, Value: *c.Value}
	}
	overrides, err := b.settings.NewTopic(overrides)
	if err != nil {
		return n, configRefusal(err)
	}
	for _, o := range overrides {
		n.Configs = append(n.Configs, metadata.Config(o))
	}
	return n, nil
}

// assignmentOf orders a manual assignment by partition: 0 to n-1, each once.
func assignmentOf(in []kmsg.CreateTopicsRequestTopicReplicaAssignment) ([][]int32, error) {
	out := make([][]int32, len(in))
	for _, a := range in {
		if a.Partition < 0 || int(a.Partition) >= len(in) || out[a.Partition] != nil || len(a.Replicas) == 0 {
			return nil, &controller.Error{Code: wire.InvalidReplicaAssignment, Message: "partitions should be a consecutive 0-based integer sequence, each with replicas"}
		}
		out[a.Partition] = a.Replicas
	}
	return out, nil
}

// describeNew answers for one topic as the controller made it, or would.
func (b *Broker) describeNew(t *kmsg.CreateTopicsResponseTopic, r *kmsg.CreateTopicsRequest, n *controller.NewTopic, result *controller.TopicResult,
	defaults *describedDefaults[kmsg.CreateTopicsResponseTopicConfig],
) {
	t.ErrorCode, t.ErrorMessage = refusal(result.Err)
	if result.Err != nil {
		return
	}
	t.NumPartitions, t.ReplicationFactor = n.Partitions, n.ReplicationFactor
	switch {
	case len(n.Assignment) > 0:
		t.NumPartitions, t.ReplicationFactor = int32(len(n.Assignment)), int16(len(n.Assignment[0]))
	default:
		if t.NumPartitions < 0 {
			t.NumPartitions = b.config.NumPartitions
		}
		if t.ReplicationFactor < 0 {
			t.ReplicationFactor = b.config.DefaultReplicationFactor
		}
	}
	overrides := n.Configs
	if result.Topic != nil {
		t.NumPartitions, overrides = int32(len(result.Topic.Partitions)), result.Topic.Configs
		if !r.ValidateOnly {
			t.TopicID = result.Topic.ID
		}
	}
	if r.Version < 5 {
		return
	}
	t.Configs = defaults.described(b.settings.DescribeTopic(config.Overrides(overrides)), func(e *config.Entry) kmsg.CreateTopicsResponseTopicConfig {
		out := kmsg.NewCreateTopicsResponseTopicConfig()
		out.Name, out.Value, out.ReadOnly, out.Source, out.IsSensitive = e.Key, e.Value, e.ReadOnly, int8(e.Source), e.Sensitive()
		return out
	})
}
