package client

import (
	"weir/core/wire"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// followHints takes the leaders that an answer names beside its refusals (KIP-951), unless more recent ones are known.
func (s *session) followHints(response kmsg.Response) {
	switch v := response.(type) {
	case *kmsg.ProduceResponse:
		for i := range v.Brokers {
			b := &v.Brokers[i]
			s.routes.brokers[b.NodeID] = hostPort(b.Host, b.Port)
		}
		for i := range v.Topics {
			t := &v.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				s.followHint(t.Topic, t.TopicID, p.Partition, p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch)
			}
		}
	case *kmsg.FetchResponse:
		for i := range v.Brokers {
			b := &v.Brokers[i]
			s.routes.brokers[b.NodeID] = hostPort(b.Host, b.Port)
		}
		for i := range v.Topics {
			t := &v.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				s.followHint(t.Topic, t.TopicID, p.Partition, p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch)
			}
		}
	}
}

func (s *session) followHint(topic string, id [16]byte, index int32, code int16, leader, epoch int32) {
	if code != wire.NotLeaderOrFollower && code != wire.FencedLeaderEpoch || leader < 0 || s.routes.brokers[leader] == "" {
		return
	}
	for _, t := range s.topics {
		if t.Name != topic && (topic != "" || t.ID != id) || int(index) >= len(t.Partitions) {
			continue
		}
		part := t.Partitions[index]
		if known, ok := s.epochs[part]; ok && epoch <= known {
			return
		}
		s.Queue.Hit("client: a refusal named the new leader")
		s.routes.leaders[partitionKey{t.Name, index}], s.epochs[part] = leader, epoch
	}
}
