// FindCoordinator (10), versions 0-6: coordinators of transactions (KIP-98, version 1), many keys (KIP-699, 4), TRANSACTION_ABORTABLE
// (KIP-890, 5), coordinators of share groups (KIP-932, 6).
//
// Difference from Kafka: there are no coordinators of share groups. They are never available.

package broker

import (
	"encoding/base64"
	"strconv"
	"strings"

	"weir/core/coordinator"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	findCoordinatorMany  = 4
	findCoordinatorShare = 6
)

// Types of a coordinator's key.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
	shareCoordinator       = 2
)

// findCoordinator names the brokers that coordinate groups and transactions: the leaders of the partitions that the keys
// fall on.
func (b *Broker) findCoordinator(x exchange, r *kmsg.FindCoordinatorRequest) {
	x.releaseFrame()
	out := r.ResponseKind().(*kmsg.FindCoordinatorResponse)
	if r.Version < findCoordinatorMany {
		c := b.coordinatorOf(x, r, r.CoordinatorKey)
		if c.ErrorMessage == nil || *c.ErrorMessage == "" {
			c.ErrorMessage = kmsg.StringPtr(codeText(c.ErrorCode))
		}
		out.ErrorCode, out.ErrorMessage, out.NodeID, out.Host, out.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
	} else {
		for _, key := range r.CoordinatorKeys {
			out.Coordinators = append(out.Coordinators, b.coordinatorOf(x, r, key))
		}
	}
	x.replyMessage(out)
}

func (b *Broker) coordinatorOf(x exchange, r *kmsg.FindCoordinatorRequest, key string) kmsg.FindCoordinatorResponseCoordinator {
	out := kmsg.NewFindCoordinatorResponseCoordinator()
	out.Key, out.NodeID, out.Port, out.ErrorMessage = key, -1, -1, kmsg.StringPtr("")
	topic := offsetsTopic
	switch r.CoordinatorType {
	case groupCoordinator:
	case transactionCoordinator:
		topic = transactionTopic
	case shareCoordinator:
		out.ErrorCode = wire.CoordinatorNotAvailable
		if r.Version < findCoordinatorShare || !isSharePartition(key) {
			out.ErrorCode = wire.InvalidRequest
		}
		return out
	default:
		out.ErrorCode, out.ErrorMessage = wire.InvalidRequest, kmsg.StringPtr("Unknown coordinator type.")
		return out
	}
	node, ok := b.leaderOfKey(topic, key)
	if !ok {
		out.ErrorCode = wire.CoordinatorNotAvailable
		return out
	}
	e, ok := endpoint(node, x.listener())
	if !ok || node.Fenced {
		out.ErrorCode = wire.CoordinatorNotAvailable
		return out
	}
	out.NodeID, out.Host, out.Port = int32(node.ID), e.Host, e.Port
	return out
}

// codeText is what the versions before 4 say beside a code, even beside none.
func codeText(code int16) string {
	switch code {
	case wire.None:
		return "NONE"
	case wire.CoordinatorNotAvailable:
		return "The coordinator is not available."
	}
	return "The request is invalid."
}

// isSharePartition reports whether a key has the form group:topic id:partition.
func isSharePartition(key string) bool {
	head, partition, ok := cutLast(key)
	if _, err := strconv.ParseUint(partition, 10, 31); !ok || err != nil {
		return false
	}
	group, topic, ok := cutLast(head)
	id, err := base64.RawURLEncoding.DecodeString(topic)
	return ok && group != "" && err == nil && len(id) == len(metadata.TopicID{})
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// leaderOfKey finds who leads the partition of a key. A topic that is not there is created.
func (b *Broker) leaderOfKey(topic, key string) (*metadata.Broker, bool) {
	t, ok := b.image.Topic(topic)
	if !ok || len(t.Partitions) == 0 {
		b.createInternalTopic(topic)
		return nil, false
	}
	return b.image.Broker(t.Partitions[coordinator.PartitionOf(key, len(t.Partitions))].Leader)
}
