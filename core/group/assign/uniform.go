package assign

import (
	"cmp"
	"slices"
)

// passesMax bounds the passes over all topics that balance a group whose members subscribe to different topics. Nearly
// all groups need one or two; a group that needs more stays valid, and somewhat uneven.
const passesMax = 64

const nobody = -1

// Uniform spreads the partitions evenly over the members and moves as few as possible.
func Uniform(g *Group) [][]Partitions {
	u := newUniform(g)
	u.keep()
	u.handOut()
	for pass := 0; pass < passesMax && u.balance(); pass++ {
	}
	return u.result()
}

// uniform is the work of Uniform. Its members are those of the group, by id.
type uniform struct {
	g           *Group
	order       []int32   // by id
	subscribers [][]int32 // of each topic
	owners      [][]int32 // of each topic's partitions, or nobody
	load        []int32   // partitions of each member
	rank        []int32   // of each member in order, to break ties
	least, most heap
	// Scratch of balanceTopic: the partitions of the topic that each member has, as lists in next.
	head, next []int32
}

func newUniform(g *Group) *uniform {
	u := &uniform{g: g, order: ordered(g, byID)}
	u.subscribers = subscribersOf(g, u.order)
	u.owners = make([][]int32, len(g.Partitions))
	largest := int32(0)
	for topic, count := range g.Partitions {
		u.owners[topic] = slices.Repeat([]int32{nobody}, int(count))
		largest = max(largest, count)
	}
	u.load = make([]int32, len(g.Members))
	u.rank = make([]int32, len(g.Members))
	for i, m := range u.order {
		u.rank[m] = int32(i)
	}
	u.head = slices.Repeat([]int32{nobody}, len(g.Members))
	u.next = make([]int32, largest)
	u.least, u.most = newHeap(len(g.Members), u.lighter), newHeap(len(g.Members), u.heavier)
	return u
}

// keep lets each member keep what it holds and may hold.
func (u *uniform) keep() {
	for _, m := range u.order {
		member := &u.g.Members[m]
		topics := u.g.Subscriptions[member.Subscription]
		for _, held := range member.Holds {
			if _, subscribed := slices.BinarySearch(topics, held.Topic); !subscribed {
				continue
			}
			owners := u.owners[held.Topic]
			for _, p := range held.Partitions {
				if p >= 0 && int(p) < len(owners) && owners[p] == nobody {
					u.give(m, held.Topic, p)
				}
			}
		}
	}
}

func (u *uniform) give(m, topic, p int32) {
	u.owners[topic][p] = m
	u.load[m]++
}

// handOut gives each partition that nobody has to the subscriber with the fewest. Topics with few subscribers come
// first: those with many can even out what is left.
func (u *uniform) handOut() {
	topics := make([]int32, 0, len(u.owners))
	for topic, owners := range u.owners {
		if len(u.subscribers[topic]) > 0 && slices.Contains(owners, nobody) {
			topics = append(topics, int32(topic))
		}
	}
	slices.SortStableFunc(topics, func(a, b int32) int { return cmp.Compare(len(u.subscribers[a]), len(u.subscribers[b])) })
	for _, topic := range topics {
		u.least.fill(u.subscribers[topic])
		for p, owner := range u.owners[topic] {
			if owner == nobody {
				m := u.least.top()
				u.give(m, topic, int32(p))
				u.least.moved(m)
			}
		}
	}
}

func (u *uniform) lighter(a, b int32) bool {
	return u.load[a] < u.load[b] || u.load[a] == u.load[b] && u.rank[a] < u.rank[b]
}

// heavier breaks ties the other way round, so that the extra partitions stay with the first members.
func (u *uniform) heavier(a, b int32) bool {
	return u.load[a] > u.load[b] || u.load[a] == u.load[b] && u.rank[a] > u.rank[b]
}

// balance moves partitions until no topic has one whose move would even out two members, as far as one pass gets. It
// reports whether any moved.
func (u *uniform) balance() (moved bool) {
	for topic := range u.owners {
		if u.uneven(u.subscribers[topic]) && u.balanceTopic(int32(topic)) {
			moved = true
		}
	}
	return moved
}

// uneven says that some member has at least two partitions more than another.
func (u *uniform) uneven(members []int32) bool {
	if len(members) == 0 {
		return false
	}
	low, high := u.load[members[0]], u.load[members[0]]
	for _, m := range members {
		low, high = min(low, u.load[m]), max(high, u.load[m])
	}
	return high-low >= 2
}

// balanceTopic moves partitions of one topic from its owner with the most partitions to its subscriber with the fewest
// while they differ by at least two.
func (u *uniform) balanceTopic(topic int32) (moved bool) {
	holders := u.listHeld(topic)
	u.least.fill(u.subscribers[topic])
	u.most.fill(holders)
	for u.most.len() > 0 && u.load[u.most.top()] >= u.load[u.least.top()]+2 {
		from, to := u.most.top(), u.least.top()
		p := u.head[from]
		u.head[from] = u.next[p]
		u.load[from]--
		u.give(to, topic, p)
		moved = true
		u.least.moved(to)
		u.least.moved(from)
		// The receiver has no more than anyone who gave: it need not be among those that give.
		if u.head[from] == nobody {
			u.most.pop()
		} else {
			u.most.moved(from)
		}
	}
	for _, m := range holders {
		u.head[m] = nobody
	}
	return moved
}

// listHeld lists the topic's owners, and in head and next what each has of it, the last partition first.
func (u *uniform) listHeld(topic int32) (holders []int32) {
	for p, m := range u.owners[topic] {
		if u.head[m] == nobody {
			holders = append(holders, m)
		}
		u.next[p] = u.head[m]
		u.head[m] = int32(p)
	}
	return holders
}

func (u *uniform) result() [][]Partitions {
	out := make([][]Partitions, len(u.g.Members))
	for topic, owners := range u.owners {
		for p, m := range owners {
			if m != nobody {
				out[m] = put(out[m], int32(topic), int32(p))
			}
		}
	}
	return out
}
