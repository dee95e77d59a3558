package broker

import (
	"weir/core/metadata"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchPartsOf lists the partitions that a request asks for, each once.
func fetchPartsOf(r *kmsg.FetchRequest, byID bool) []fetchPart {
	n := 0
	for i := range r.Topics {
		n += len(r.Topics[i].Partitions)
	}
	parts := make([]fetchPart, 0, n)
	add := appendOnce(&parts, len(r.Topics) > 1)
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			q := &t.Partitions[j]
			p := fetchPart{
				fetchKey: keyOf(t.Topic, t.TopicID, q.Partition, byID), offset: q.FetchOffset, maxBytes: q.PartitionMaxBytes,
				leaderEpoch: fetchUnknownEpoch, lastFetchedEpoch: fetchUnknownEpoch,
			}
			if r.Version >= fetchEpochs {
				p.leaderEpoch = q.CurrentLeaderEpoch
			}
			if r.Version >= fetchLastEpochs {
				p.lastFetchedEpoch = q.LastFetchedEpoch
			}
			add(p)
		}
	}
	return parts
}

// appendOnce returns what appends a partition to parts. One that is there already is replaced in its place, as in Kafka.
// While the indexes of one topic ascend, nothing is looked up.
func appendOnce(parts *[]fetchPart, topics bool) func(fetchPart) {
	var places map[partKey]int
	var names topicNumbers
	keyOf := func(p *fetchPart) partKey { return partKey{name: names.of(p.name), id: p.id, index: p.index} }
	return func(p fetchPart) {
		n := len(*parts)
		if places == nil && !topics && (n == 0 || p.index > (*parts)[n-1].index) {
			*parts = append(*parts, p)
			return
		}
		if places == nil {
			places = make(map[partKey]int, cap(*parts))
			for i := range *parts {
				places[keyOf(&(*parts)[i])] = i
			}
		}
		key := keyOf(&p)
		if i, ok := places[key]; ok {
			(*parts)[i] = p
			return
		}
		places[key] = n
		*parts = append(*parts, p)
	}
}

// replicaOf is the number of the broker that fetches; clients have negative ones.
func replicaOf(r *kmsg.FetchRequest) int32 {
	if r.Version >= fetchReplicaState {
		return r.ReplicaState.ID
	}
	return r.ReplicaID
}

func keyOf(name string, id [16]byte, index int32, byID bool) fetchKey {
	if byID {
		return fetchKey{id: id, index: index}
	}
	return fetchKey{name: name, index: index}
}

func forgottenOf(r *kmsg.FetchRequest, byID bool) (keys []fetchKey) {
	for i := range r.ForgottenTopics {
		t := &r.ForgottenTopics[i]
		if len(t.Topic) > metadata.TopicNameBytesMax {
			continue // in no session
		}
		for _, index := range t.Partitions {
			keys = append(keys, keyOf(t.Topic, t.TopicID, index, byID))
		}
	}
	return keys
}
