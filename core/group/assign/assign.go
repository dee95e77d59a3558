package assign

import (
	"cmp"
	"slices"
	"strings"
)

// Group is what an assignor works on. Topics are named by their index.
type Group struct {
	// Partitions has the number of partitions of each topic.
	Partitions []int32
	// Subscriptions are the distinct sets of topics, each ascending, that members subscribe to.
	Subscriptions [][]int32
	// Members may come in any order, but no id twice. They are not changed.
	Members []Member
}

// Member is one member of a group.
type Member struct {
	ID           string
	InstanceID   string // empty: a dynamic member
	Subscription int    // an index into Group.Subscriptions
	// Holds is the member's present target, ascending by topic. What is no longer there, or not
	// subscribed to, is ignored.
	Holds []Partitions
}

// Partitions are partitions of one topic, ascending.
type Partitions struct {
	Topic      int32
	Partitions []int32
}

// Assignor assigns each partition of each subscribed topic to one of its subscribers. The result has one element for
// each member, in the order of Group.Members, ascending by topic.
type Assignor func(*Group) [][]Partitions

// Names lists the names of the assignors, the default first.
var Names = []string{"uniform", "range"}

// Find returns the assignor of a name, or nil.
func Find(name string) Assignor {
	switch name {
	case "uniform":
		return Uniform
	case "range":
		return Range
	}
	return nil
}

// Range assigns contiguous ranges. Static members come first, by instance id, then dynamic ones by member id, so that
// a static member that comes back under a new id gets what it had.
func Range(g *Group) [][]Partitions {
	out := make([][]Partitions, len(g.Members))
	subscribers := subscribersOf(g, ordered(g, staticFirst))
	for topic, members := range subscribers {
		first, left := int32(0), int32(len(members))
		for _, m := range members {
			// The first ones get the partitions that are left over.
			count := (g.Partitions[topic] - first + left - 1) / left
			for p := first; p < first+count; p++ {
				out[m] = put(out[m], int32(topic), p)
			}
			first, left = first+count, left-1
		}
	}
	return out
}

func staticFirst(a, b *Member) int {
	if isStatic := a.InstanceID != ""; isStatic != (b.InstanceID != "") {
		if isStatic {
			return -1
		}
		return 1
	}
	return cmp.Or(strings.Compare(a.InstanceID, b.InstanceID), byID(a, b))
}

func byID(a, b *Member) int { return strings.Compare(a.ID, b.ID) }

// ordered returns the indices of the members in the order of less.
func ordered(g *Group, compare func(a, b *Member) int) []int32 {
	order := make([]int32, len(g.Members))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return compare(&g.Members[a], &g.Members[b]) })
	return order
}

// subscribersOf lists for each topic the members that subscribe to it, in the given order. Topics of the same
// subscriptions share one list.
func subscribersOf(g *Group, order []int32) [][]int32 {
	rank := make([]int32, len(order))
	bySubscription := make([][]int32, len(g.Subscriptions))
	for i, m := range order {
		rank[m] = int32(i)
		s := g.Members[m].Subscription
		bySubscription[s] = append(bySubscription[s], m)
	}
	lists := make([][]int32, len(g.Partitions))
	merged := make([]bool, len(g.Partitions))
	for s, topics := range g.Subscriptions {
		if len(bySubscription[s]) == 0 {
			continue
		}
		for _, topic := range topics {
			if lists[topic] == nil {
				lists[topic] = bySubscription[s]
				continue
			}
			lists[topic], merged[topic] = slices.Concat(lists[topic], bySubscription[s]), true
		}
	}
	for topic := range lists {
		if merged[topic] {
			slices.SortStableFunc(lists[topic], func(a, b int32) int { return cmp.Compare(rank[a], rank[b]) })
		}
	}
	return lists
}

// put appends a partition; topics and partitions come ascending.
func put(to []Partitions, topic, partition int32) []Partitions {
	if n := len(to); n > 0 && to[n-1].Topic == topic {
		to[n-1].Partitions = append(to[n-1].Partitions, partition)
		return to
	}
	return append(to, Partitions{Topic: topic, Partitions: []int32{partition}})
}
