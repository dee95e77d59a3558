package consumer

import (
	"bytes"
	"slices"

	"weir/core/metadata"
)

// Assignment is a set of partitions, ascending by topic id. It is never changed once it is made.
type Assignment []TopicPartitions

// TopicPartitions are partitions of one topic, ascending, at least one.
type TopicPartitions struct {
	Topic      metadata.TopicID
	Partitions []int32
	// Epochs has the member epoch at which each partition was assigned (KIP-1251). Nil in a target assignment and in what
	// a member says that it owns.
	Epochs []int32
}

func compareTopic(tp TopicPartitions, id metadata.TopicID) int {
	return bytes.Compare(tp.Topic[:], id[:])
}

// Topic finds the partitions of a topic; none: they are empty.
func (a Assignment) Topic(id metadata.TopicID) TopicPartitions {
	if i, ok := slices.BinarySearchFunc(a, id, compareTopic); ok {
		return a[i]
	}
	return TopicPartitions{Topic: id}
}

// Epoch returns the epoch at which a partition was assigned, and whether it is in the assignment.
func (a Assignment) Epoch(id metadata.TopicID, partition int32) (int32, bool) {
	tp := a.Topic(id)
	if i, ok := slices.BinarySearch(tp.Partitions, partition); ok && tp.Epochs != nil {
		return tp.Epochs[i], true
	} else if ok {
		return 0, true
	}
	return 0, false
}

// Has reports whether a partition is in the assignment.
func (a Assignment) Has(id metadata.TopicID, partition int32) bool {
	_, ok := a.Epoch(id, partition)
	return ok
}

// Each calls f for every partition.
func (a Assignment) Each(f func(id metadata.TopicID, partition int32)) {
	for i := range a {
		for _, p := range a[i].Partitions {
			f(a[i].Topic, p)
		}
	}
}

// bytes estimates the memory of a target assignment.
func (a Assignment) bytes() (n int64) {
	for i := range a {
		n += 64 + 4*int64(len(a[i].Partitions))
	}
	return n
}

// Equal compares partitions and epochs.
func (a Assignment) Equal(b Assignment) bool {
	return slices.EqualFunc(a, b, func(x, y TopicPartitions) bool {
		return x.Topic == y.Topic && slices.Equal(x.Partitions, y.Partitions) && slices.Equal(x.Epochs, y.Epochs)
	})
}

// samePartitions compares the partitions alone.
func (a Assignment) samePartitions(b Assignment) bool {
	return slices.EqualFunc(a, b, func(x, y TopicPartitions) bool {
		return x.Topic == y.Topic && slices.Equal(x.Partitions, y.Partitions)
	})
}

// intersects reports whether some partition is in both.
func (a Assignment) intersects(b Assignment) bool {
	for i := range a {
		other := b.Topic(a[i].Topic).Partitions
		for _, p := range a[i].Partitions {
			if _, both := slices.BinarySearch(other, p); both {
				return true
			}
		}
	}
	return false
}

// topicsOf lists the topics of both, ascending.
func topicsOf(a, b Assignment) []metadata.TopicID {
	ids := make([]metadata.TopicID, 0, len(a)+len(b))
	for i := range a {
		ids = append(ids, a[i].Topic)
	}
	for i := range b {
		ids = append(ids, b[i].Topic)
	}
	slices.SortStableFunc(ids, func(x, y metadata.TopicID) int { return bytes.Compare(x[:], y[:]) })
	return slices.Compact(ids)
}

// add appends a partition with an epoch, in any order of partitions; sorted restores it.
func (tp *TopicPartitions) add(partition, epoch int32) {
	tp.Partitions = append(tp.Partitions, partition)
	tp.Epochs = append(tp.Epochs, epoch)
}

// put appends what is not empty. Topics come ascending.
func (a Assignment) put(tp TopicPartitions) Assignment {
	if len(tp.Partitions) == 0 {
		return a
	}
	return append(a, tp)
}

// union joins two disjoint assignments.
func (a Assignment) union(b Assignment) (out Assignment) {
	for _, id := range topicsOf(a, b) {
		x, y := a.Topic(id), b.Topic(id)
		joined := TopicPartitions{Topic: id}
		for len(x.Partitions) > 0 || len(y.Partitions) > 0 {
			from := &x
			if len(x.Partitions) == 0 || len(y.Partitions) > 0 && y.Partitions[0] < x.Partitions[0] {
				from = &y
			}
			joined.add(from.Partitions[0], from.Epochs[0])
			from.Partitions, from.Epochs = from.Partitions[1:], from.Epochs[1:]
		}
		out = out.put(joined)
	}
	return out
}

// normalized sorts what came from outside, and drops what is there twice.
func normalized(a Assignment) Assignment {
	slices.SortStableFunc(a, func(x, y TopicPartitions) int { return bytes.Compare(x.Topic[:], y.Topic[:]) })
	var out Assignment
	for _, tp := range a {
		if n := len(out); n > 0 && out[n-1].Topic == tp.Topic { // a client may name one topic thousands of times
			out[n-1].Partitions = append(out[n-1].Partitions, tp.Partitions...)
			continue
		}
		out = out.put(TopicPartitions{Topic: tp.Topic, Partitions: slices.Clone(tp.Partitions)})
	}
	for i := range out {
		slices.Sort(out[i].Partitions)
		out[i].Partitions = slices.Compact(out[i].Partitions)
	}
	return out
}
