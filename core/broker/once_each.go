package broker

import "slices"

// onceEach gathers the partitions of a request by topic, as Kafka's handlers do: a partition that is there again replaces
// what was asked of it before, and a topic without partitions is left out.
type onceEach struct {
	topics []askedTopic
	byName topicNumbers
	seen   map[topicPartition]place
}

// topicPartition is a partition of a topic that a request's topics give a number.
type topicPartition struct {
	topic int
	index int32
}

// topicNumbers gives each topic of a request a number. A name may have 32 KiB, and hundreds of thousands of partitions, for
// each of which a map would read it: of partitions that follow one another under one name it is looked up once.
type topicNumbers struct {
	byName map[string]int
	last   string
	number int
}

func (n *topicNumbers) of(name string) int {
	if name == n.last && n.byName != nil { // the same string: compared without being read
		return n.number
	}
	if n.byName == nil {
		n.byName = map[string]int{}
	}
	number, ok := n.byName[name]
	if !ok {
		number = len(n.byName)
		n.byName[name] = number
	}
	n.last, n.number = name, number
	return number
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
	return &onceEach{seen: map[topicPartition]place{}}
}

func (o *onceEach) add(topic string, index int32, offset int64) *askedPartition {
	key := topicPartition{o.byName.of(topic), index}
	if at, ok := o.seen[key]; ok {
		p := &o.topics[at.topic].partitions[at.part]
		p.offset, p.repeated = offset, true
		return p
	}
	if key.topic == len(o.topics) {
		o.topics = append(o.topics, askedTopic{name: topic})
	}
	t := &o.topics[key.topic]
	o.seen[key] = place{key.topic, len(t.partitions)}
	t.partitions = append(t.partitions, askedPartition{index: index, offset: offset})
	return &t.partitions[len(t.partitions)-1]
}
