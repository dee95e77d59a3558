package client

import (
	"strconv"
	"strings"

	"weir/sim/checker"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsetFetch asks for the committed offsets of partitions, in the fields of every version.
func offsetFetch(name string, parts []*memberPart, stable bool) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group, r.RequireStable = name, stable
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = name
	for _, p := range parts {
		if n := len(group.Topics); n == 0 || group.Topics[n-1].Topic != p.Topic.Name {
			topic, old := kmsg.NewOffsetFetchRequestGroupTopic(), kmsg.NewOffsetFetchRequestTopic()
			topic.Topic, topic.TopicID, old.Topic = p.Topic.Name, p.Topic.ID, p.Topic.Name
			group.Topics, r.Topics = append(group.Topics, topic), append(r.Topics, old)
		}
		last := len(group.Topics) - 1
		group.Topics[last].Partitions = append(group.Topics[last].Partitions, p.Index)
		r.Topics[last].Partitions = append(r.Topics[last].Partitions, p.Index)
	}
	r.Groups = append(r.Groups, group)
	return r
}

// fetchedOffset is what an OffsetFetch says of one partition.
type fetchedOffset struct {
	topic string // empty: only the id is known
	id    [16]byte
	kmsg.OffsetFetchResponseGroupTopicPartition
}

// eachOffset calls take for each partition that has no error, and returns an error of the others, or of all.
func eachOffset(v *kmsg.OffsetFetchResponse, take func(fetchedOffset)) (worst int16) {
	worst = v.ErrorCode
	for _, t := range v.Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				worst = p.ErrorCode
				continue
			}
			got := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			got.Partition, got.Offset, got.LeaderEpoch, got.Metadata = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata
			take(fetchedOffset{topic: t.Topic, OffsetFetchResponseGroupTopicPartition: got})
		}
	}
	for _, g := range v.Groups {
		if g.ErrorCode != 0 {
			worst = g.ErrorCode
			continue
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					worst = p.ErrorCode
					continue
				}
				take(fetchedOffset{t.Topic, t.TopicID, p})
			}
		}
	}
	return worst
}

// stableFrom is the first version of OffsetFetch that may wait for open transactions.
const stableFrom = 7

// offsetFetched is the record of one: the metadata are the number of the commit.
func offsetFetched(client int, p *memberPart, got *kmsg.OffsetFetchResponseGroupTopicPartition, call int64, c *Cluster, stable bool) checker.OffsetFetch {
	number := 0
	if got.Metadata != nil && *got.Metadata != "" {
		n, err := strconv.Atoi(strings.TrimSpace(*got.Metadata))
		if number = n; err != nil {
			number = -1
		}
	}
	return checker.OffsetFetch{
		Client: int32(client), Partition: p.History.Name, Offset: got.Offset, Number: int32(number), Stable: stable, Call: call, Return: c.Stamp(),
	}
}
