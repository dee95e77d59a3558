package broker

import "slices"

// onceEach gathers the partitions of a request by topic, as Kafka's handlers do: a partition that is there again replaces
// what was asked of it before, and a topic without partitions is left out.
type onceEach struct {
	topics []askedTopic
	byName map[string]int
	seen   map[fetchKey]place
}

type askedTopic struct {
	name       string
	partitions []askedPartition
}

// askedPartition is one partition and the offset, or time, asked for.
type askedPartition struct {
	index    int32
	epoch    int32
	offset   int64
	repeated bool
}

// distinct drops ids that are there again, in place.
func distinct(ids []string) []string {
	seen := make(map[string]bool, len(ids))
	return slices.DeleteFunc(ids, func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

func newOnceEach() *onceEach {
	return &onceEach{byName: map[string]int{}, seen: map[fetchKey]place{}}
}

func (o *onceEach) add(topic string, index int32, offset int64) *askedPartition {
	key := fetchKey{name: topic, index: index}
	if at, ok := o.seen[key]; ok {
		p := &o.topics[at.topic].partitions[at.part]
		p.offset, p.repeated = offset, true
		return p
	}
	at, ok := o.byName[topic]
	if !ok {
		at = len(o.topics)
		o.byName[topic] = at
		o.topics = append(o.topics, askedTopic{name: topic})
	}
	t := &o.topics[at]
	o.seen[key] = place{at, len(t.partitions)}
	t.partitions = append(t.partitions, askedPartition{index: index, offset: offset})
	return &t.partitions[len(t.partitions)-1]
}
