package client

import (
	"weir/core/wire"
	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// currentEpoch is a partition's leader epoch, as the session learned it; -1 unknown.
func (s *session) currentEpoch(p *Partition) int32 {
	if epoch, known := s.epochs[p]; known && s.whole() {
		return epoch
	}
	return -1
}

// relearn asks for the leaders again, after an answer that the epoch is not theirs.
func (k *Consumer) relearn() {
	k.learn(k.options.Topics, func(bool) {})
}

// Versions from which a request carries the leader epoch that the client
// knows.
const (
	fetchEpochsFrom     = 9
	fetchLastEpochsFrom = 12
	listEpochsFrom      = 4
	endEpochsFrom       = 2
)

// askEpoch asks where an epoch ends, or sends a leader epoch that is wrong.
func (k *Consumer) askEpoch(p *consumerPart) {
	current := k.currentEpoch(p.Partition)
	if current < 0 {
		k.next()
		return
	}
	wrong, want := current+1<<20, int16(wire.UnknownLeaderEpoch)
	if current > 0 && k.draws.PerMille(500) {
		wrong, want = int32(k.draws.Below(int64(current))), wire.FencedLeaderEpoch
	}
	switch k.draws.Below(6) {
	case 0:
		k.epochEnd(p.Partition, wrong, 0, func(version, code int16, _ int32, _ int64) {
			k.refused(p, "OffsetForLeaderEpoch", version >= endEpochsFrom, wrong, code, want)
		})
	case 1:
		k.listAtEpoch(p, wrong, want)
	case 2:
		k.fetchAtEpoch(p, wrong, want)
	case 3:
		k.fetchAfterEpoch(p, int32(k.draws.Between(0, int64(current))))
	default:
		k.askEnd(p, int32(k.draws.Between(0, int64(current)+1)))
	}
}

// askEnd asks where an epoch ends, and records the answer.
func (k *Consumer) askEnd(p *consumerPart, asked int32) {
	call := k.Stamp()
	k.epochEnd(p.Partition, k.currentEpoch(p.Partition), asked, func(version, code int16, epoch int32, end int64) {
		if code == 0 {
			if version == 0 && end >= 0 {
				epoch = asked // not told
			}
			p.History.Ends = append(p.History.Ends, checker.EpochEnd{Client: int32(k.client), Call: call, Return: k.Stamp(), Asked: asked, Epoch: epoch, End: end})
		}
		k.next()
	})
}

// refused: a request with a wrong leader epoch is not served.
func (k *Consumer) refused(p *consumerPart, what string, told bool, epoch int32, code, want int16) {
	other := code == wire.FencedLeaderEpoch || code == wire.UnknownLeaderEpoch
	if told && (code == 0 || other && code != want) {
		k.fail("epoch", "%s: %s of client %d with leader epoch %d, where it is %d, was answered %s, not %s",
			p.History.Name, what, k.client, epoch, k.currentEpoch(p.Partition), checker.CodeName(code), checker.CodeName(want))
	}
	k.next()
}

func (s *session) epochEnd(p *Partition, current, asked int32, done func(version, code int16, epoch int32, end int64)) {
	r := kmsg.NewPtrOffsetForLeaderEpochRequest()
	r.ReplicaID = -1
	part := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	part.Partition, part.CurrentLeaderEpoch, part.LeaderEpoch = p.Index, current, asked
	topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
	topic.Topic, topic.Partitions = p.Topic.Name, append(topic.Partitions, part)
	r.Topics = append(r.Topics, topic)
	s.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.OffsetForLeaderEpochResponse)
		if len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			s.fail("protocol", "the end of an epoch of one partition answered with %d topics", len(v.Topics))
			return
		}
		got := &v.Topics[0].Partitions[0]
		done(v.Version, got.ErrorCode, got.LeaderEpoch, got.EndOffset)
	})
}

func (k *Consumer) listAtEpoch(p *consumerPart, epoch int32, want int16) {
	r := listRequest(p.Partition, -1, epoch)
	k.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.ListOffsetsResponse)
		if len(v.Topics) == 1 && len(v.Topics[0].Partitions) == 1 {
			k.refused(p, "ListOffsets", v.Version >= listEpochsFrom, epoch, v.Topics[0].Partitions[0].ErrorCode, want)
		}
	})
}

func (k *Consumer) fetchAtEpoch(p *consumerPart, epoch int32, want int16) {
	k.fetchOnce(p, func(part *kmsg.FetchRequestTopicPartition) { part.CurrentLeaderEpoch = epoch }, func(version int16, got *kmsg.FetchResponseTopicPartition) {
		k.refused(p, "Fetch", version >= fetchEpochsFrom, epoch, got.ErrorCode, want)
	})
}

// fetchAfterEpoch claims to have read an epoch up to the reader's offset: if the epoch
// ended before, the answer says where.
func (k *Consumer) fetchAfterEpoch(p *consumerPart, last int32) {
	call := k.Stamp()
	k.fetchOnce(p, func(part *kmsg.FetchRequestTopicPartition) { part.LastFetchedEpoch = last }, func(version int16, got *kmsg.FetchResponseTopicPartition) {
		if d := &got.DivergingEpoch; version >= fetchLastEpochsFrom && got.ErrorCode == 0 && d.EndOffset >= 0 {
			p.History.Ends = append(p.History.Ends, checker.EpochEnd{Client: int32(k.client), Call: call, Return: k.Stamp(), Asked: last, Epoch: d.Epoch, End: d.EndOffset})
		}
		k.next()
	})
}

// fetchOnce fetches from one partition, outside of the reader's session and progress.
func (k *Consumer) fetchOnce(p *consumerPart, change func(*kmsg.FetchRequestTopicPartition), done func(version int16, got *kmsg.FetchResponseTopicPartition)) {
	r := kmsg.NewPtrFetchRequest()
	r.MaxBytes, r.SessionEpoch = 1000, -1
	change(addFetch(r, p.Partition, p.offset, 1000))
	k.request(r, func(response kmsg.Response, err error) {
		if err != nil {
			return
		}
		v := response.(*kmsg.FetchResponse)
		if len(v.Topics) != 1 || len(v.Topics[0].Partitions) != 1 {
			k.next()
			return
		}
		done(v.Version, &v.Topics[0].Partitions[0])
	})
}
